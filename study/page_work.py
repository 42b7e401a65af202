"""What else is done with the pages of a store: weights, reports, reading back. Knows no MLflow."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from study.analysis.pool import Pool, pool_of_pages
from study.errors import InputError
from study.ledger import unseal
from study.projection import Store
from study.report.page import ROLE, STATE, Shown
from study.report.weights_page import NAME, WeightsPage
from study.result import TrialResult
from study.spec import StudySpec
from study.splits import Split

WEIGHTS = "weights"
"""Shelf of all pretrainings of a store; no study has this name."""


def show_weights(store: Store, weights: WeightsPage) -> bool:
    """Bring the page of finished weights up; return whether it was written."""
    shelf = store.shelf(WEIGHTS)
    found = [page for page in store.shown(shelf) if page.tags.get(NAME) == weights.name]
    if any((page.tags[STATE], page.status) == (weights.state, "FINISHED") for page in found):
        return False
    for old in found:  # other weights of that name, or a page that was cut short
        store.remove(old)
    store.write(shelf, weights.page())
    return True


def keep_report(store: Store, name: str, folder: Path) -> None:
    """Keep the files of a report on the page of its study; InputError if there is none."""
    shelf = store.find(name)
    studies = _of(store.shown(shelf), "study") if shelf is not None else []
    if not studies:
        raise InputError(f"tracking store '{store.uri}' has no page of study '{name}'")
    store.keep(studies[0], folder, "report")


def read_pool(store: Store, name: str) -> Pool:
    """Read every trial of a study back; InputError if the store does not show it."""
    shelf = store.find(name)
    if shelf is None:
        raise InputError(f"tracking store '{store.uri}' has no experiment '{name}'")
    shown = store.shown(shelf)
    studies = _of(shown, "study")
    if not studies:
        raise InputError(f"experiment '{name}' of '{store.uri}' shows no study; launch it again")
    cells = [page for page in _of(shown, "cell") if page.closed]
    results = [result for page in cells for result in _stored(store, page)]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        split, file = (
            store.fetch(studies[0], each, place) for each in ("split.json", "study.json")
        )
        spec = StudySpec.model_validate_json(file.read_bytes())
        return pool_of_pages(spec, results, Split.load(split))


def _of(shown: list[Shown], role: str) -> list[Shown]:
    return [page for page in shown if page.tags[ROLE] == role]


def _stored(store: Store, page: Shown) -> Iterator[TrialResult]:
    with tempfile.TemporaryDirectory() as folder:
        for file in sorted(store.fetch(page, "trials", Path(folder)).glob("*.trial")):
            yield TrialResult.from_bytes(unseal(file.read_bytes(), file.name))
