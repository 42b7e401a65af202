"""What a tracking page shows of finished weights. Imports neither MLflow nor torch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modalities import sha256_of
from modalities._cards import CARD, Card
from study.pretraining.telling import read_diary
from study.report.page import ROLE, STATE, Page
from study.report.pages import LONGEST_PARAM

NAME = "olfaction.weights"
"""Tag with the name of weights."""


@dataclass(frozen=True)
class WeightsPage:
    """The page of one folder of weights.

    Attributes
    ----------
    name : str
    state : str
        Digest of everything shown: a page with this state is up to date.
    tags, params : mapping of str to str
    metrics : tuple of (name, value, step)
        Every number of every epoch.
    files : tuple of Path
    """

    name: str
    state: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: tuple[tuple[str, float, int], ...]
    files: tuple[Path, ...]

    def page(self) -> Page:
        """Return it as any store takes it."""
        tags = {ROLE: "weights", NAME: self.name, STATE: self.state, **self.tags}
        return Page(self.name, tags, self.params, self.metrics, self._copy)

    def _copy(self, folder: Path) -> None:
        for file in self.files:
            shutil.copy(file, folder)


def weights_page(card: Card, folder: Path) -> WeightsPage:
    """Read the page of finished weights from their folder."""
    diary = folder / "epochs.json"
    metrics = tuple(
        (name, value, int(epoch["epoch"]))
        for epoch in read_diary(diary)
        for name, value in epoch.items()
        if name != "epoch"
    )
    files = (folder / CARD, diary)
    state = sha256_of(b"".join(file.read_bytes() for file in files))
    tags = {"weights_sha256": card.sha256, "identity": card.identity}
    return WeightsPage(card.name, state, tags, _params(card), metrics, files)


def _params(card: Card) -> dict[str, str]:
    sections = {
        "modality": {"word": card.modality, **card.options, "started_from": card.started_from},
        "objective": {"word": card.objective, **card.objective_options},
        "training": card.training,
        "data": card.data,
    }
    return {
        f"{section}.{key}": (value if isinstance(value, str) else json.dumps(value))[:LONGEST_PARAM]
        for section, values in sections.items()
        for key, value in values.items()
    }
