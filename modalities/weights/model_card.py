"""Cards of weights: what a folder of weights holds, how it was made, and from what. No torch.

A folder of weights has two files: ``weights.pt``, the state dict of an encoder, and
``card.json``, written last, so that a folder with a card is complete.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from modalities._base import ModalityError
from modalities.store.files import replace_file, sha256_of
from modalities.weights.locate import IN_FOLDER as WEIGHTS
from modalities.weights.locate import find_weights

CARD = "card.json"
Scalar = str | int | float | bool | None
PLACE_OPTIONS = ("weights", "sha256")
"""Options that say where weights are: no part of the shape of a network."""


@dataclass(frozen=True)
class ModelCard:
    """What weights are.

    Attributes
    ----------
    name, description : str
        As in the pretraining file.
    modality, options
        Word of the modality the weights are for, and its options without `PLACE_OPTIONS`.
    started_from : str
        ``random``, or the sha256 of the weights that the training went on from.
    objective, objective_options
        The task they were trained on.
    training : mapping
        Numbers of the training, its seed included.
    data : mapping
        ``file``; ``molecules`` that were used, ``held_out`` of them, ``left_out``; ``sha256`` of
        the molecules used.
    measures : mapping of str to float or None
        On the held-out molecules, at the epoch that was kept; None where undefined.
    epochs : int
        The epoch that was kept.
    versions : mapping of str to str
        Distributions that made the weights, featurizer and task.
    sha256 : str
        Of ``weights.pt``.
    terms : str
        Licence or source of the molecules, as far as the pretraining file names them.
    created_by : str
    identity : str
        Content id of the pretraining: equal ids would give equal weights.
    """

    name: str
    description: str
    modality: str
    options: Mapping[str, Scalar]
    started_from: str
    objective: str
    objective_options: Mapping[str, Scalar]
    training: Mapping[str, Scalar]
    data: Mapping[str, Scalar]
    measures: Mapping[str, float | None]
    epochs: int
    versions: Mapping[str, str]
    sha256: str
    terms: str
    created_by: str
    identity: str

    def __post_init__(self) -> None:
        if len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise ModalityError(f"card '{self.name}': sha256 must be 64 hex digits")
        placed = [name for name in PLACE_OPTIONS if name in self.options]
        if placed:
            raise ModalityError(f"card '{self.name}': {placed} are no options of a network")

    def differences(self, options: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Return the card's options that these options contradict, with the card's values."""
        return {k: v for k, v in self.options.items() if k in options and options[k] != v}


def read_model_card(folder: Path) -> ModelCard:
    """Read the card of a folder of weights.

    Raises
    ------
    ModalityError
        There is none, it is damaged, or it lacks a field.
    """
    path = folder / CARD
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModalityError(
            f"{folder} has no {CARD}: it is no finished folder of weights; "
            "`study pretrain` makes one"
        ) from error
    except (OSError, ValueError) as error:
        raise ModalityError(f"card {path} cannot be read ({error}); make the weights again") from (
            error
        )
    return _checked(raw, path)


def _checked(raw: object, path: Path) -> ModelCard:
    """Build the card if every field is there with its kind of value, and no other."""
    known = {field.name: str(field.type) for field in fields(ModelCard)}
    if not isinstance(raw, dict):
        raise ModalityError(f"card {path} must be a mapping, not {type(raw).__name__}")
    absent, strange = sorted(known.keys() - raw), sorted(raw.keys() - known)
    if absent or strange:
        raise ModalityError(
            f"card {path} lacks {absent or 'nothing'} and has the unknown {strange or 'nothing'}; "
            "it was made by another version or changed by hand: make the weights again"
        )
    wrong = [name for name, kind in known.items() if not _is_a(raw[name], kind)]
    if wrong:
        raise ModalityError(
            f"card {path}: '{wrong[0]}' must be {known[wrong[0]]}, not {raw[wrong[0]]!r}"
        )
    return ModelCard(**raw)


def _is_a(value: object, kind: str) -> bool:
    plain = {"str": str, "int": int}.get(kind, dict)
    return isinstance(value, plain) and not isinstance(value, bool)


def has_model_card(folder: Path) -> bool:
    """Whether a folder holds finished weights."""
    return (folder / CARD).is_file()


def write_model_card(folder: Path, weights: bytes, card: ModelCard) -> None:
    """Write weights and, last, their card; each file whole or not at all.

    Raises
    ------
    ModalityError
        The card names another hash than that of these weights, or the folder cannot be written.
    """
    found = sha256_of(weights)
    if found != card.sha256:
        raise ModalityError(f"card '{card.name}' says sha256 {card.sha256}, the file has {found}")
    text = json.dumps(asdict(card), indent=2, allow_nan=False)
    try:
        replace_file(folder / WEIGHTS, weights)
        replace_file(folder / CARD, text.encode() + b"\n")
    except OSError as error:
        raise ModalityError(
            f"weights cannot be written to {folder} ({error.strerror}); give another folder"
        ) from error


def find_model_card(weights: Path) -> ModelCard | None:
    """Return the card of a weights file or folder, None where it was not made here."""
    folder = weights if weights.is_dir() else weights.parent
    named = weights.is_dir() or weights.name == WEIGHTS
    return read_model_card(folder) if named and has_model_card(folder) else None


def model_card_hint(word: str, options: Mapping[str, Any]) -> str:
    """Say what the card of a modality's weights says otherwise than its options.

    For messages about weights that do not load: empty where there is no card, or it agrees.
    """
    try:
        card = find_model_card(find_weights(str(options.get("weights"))))
    except ModalityError:  # no such weights, or a damaged card: what is wrong is said already
        return ""
    if card is None:
        return ""
    other = card.differences(options)
    if card.modality != word:
        other = {"modality": card.modality, **card.options}
    said = ", ".join(f"{name}={value}" for name, value in other.items())
    return f"; the card of these weights says {said}: write the same" if said else ""
