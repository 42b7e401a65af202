"""Model cards: content and origin of a folder of weights. No torch.

A folder of weights has two files: ``weights.pt``, the state dict of an encoder, and
``card.json``, which is written last, so that a folder with a card is complete.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from modalities._base import ModalityError
from modalities.store.files import replace_file, sha256_of
from modalities.weights.locate import WEIGHTS_FILE, find_weights

CARD = "card.json"
Scalar = str | int | float | bool | None
WEIGHT_OPTIONS = ("weights", "sha256")
"""Options that locate weights, and are not part of the architecture of a network."""


@dataclass(frozen=True)
class ModelCard:
    """Description of a file of pretrained weights.

    Attributes
    ----------
    name, description : str
        As in the pretraining file.
    modality, options
        Modality of the encoder, and its options without `WEIGHT_OPTIONS`.
    started_from : str
        ``random``, or the sha256 of the weights from which the training started.
    objective, objective_options
        Pretraining task.
    training : mapping
        Configuration of the training, including its seed.
    data : mapping
        Table and molecules: among others ``file``, ``molecules`` (how many were used),
        ``held_out`` (how many of them were held out), ``left_out``, and ``sha256`` of the
        molecules used.
    measures : mapping of str to float or None
        Held-out measures at the best epoch; None where undefined.
    epochs : int
        The best epoch, whose weights were kept.
    versions : mapping of str to str
        Versions of the distributions, the featurizer and the task.
    sha256 : str
        Sha256 of ``weights.pt``.
    terms : str
        Licence or source of the molecules, if the pretraining file states it.
    created_by : str
        Name and version of the program.
    identity : str
        Content id of the pretraining: equal ids give equal weights.
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
        invalid = [name for name in WEIGHT_OPTIONS if name in self.options]
        if invalid:
            raise ModalityError(f"card '{self.name}': {invalid} are not options of a network")

    def differences(self, options: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Return the card's options, with their values, that differ from these options."""
        return {k: v for k, v in self.options.items() if k in options and options[k] != v}


def read_model_card(folder: Path) -> ModelCard:
    """Read the card of a folder of weights.

    Raises
    ------
    ModalityError
        The folder has no card, or the card is damaged or has missing, unknown or invalid fields.
    """
    path = folder / CARD
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModalityError(
            f"{folder} has no {CARD}: it is not a finished folder of weights; "
            "`study pretrain` makes one"
        ) from error
    except (OSError, ValueError) as error:
        raise ModalityError(f"card {path} cannot be read ({error}); make the weights again") from (
            error
        )
    return _parse_model_card(raw, path)


def _parse_model_card(raw: object, path: Path) -> ModelCard:
    """Build the card after checking that it has exactly its fields, with values of their types."""
    types = {field.name: str(field.type) for field in fields(ModelCard)}
    if not isinstance(raw, dict):
        raise ModalityError(f"card {path} must be a mapping, not {type(raw).__name__}")
    missing, unknown = sorted(types.keys() - raw), sorted(raw.keys() - types)
    if missing or unknown:
        mistakes = [f"lacks {missing}"] if missing else []
        mistakes += [f"has the unknown {unknown}"] if unknown else []
        raise ModalityError(
            f"card {path} {' and '.join(mistakes)}; it was made by another version or changed by "
            "hand: make the weights again"
        )
    invalid = [name for name, annotation in types.items() if not _has_type(raw[name], annotation)]
    if invalid:
        raise ModalityError(
            f"card {path}: '{invalid[0]}' must be {types[invalid[0]]}, not {raw[invalid[0]]!r}"
        )
    return ModelCard(**raw)


def _has_type(value: object, annotation: str) -> bool:
    """Whether a JSON value fits the annotation of a field: str, int or, for all others, dict."""
    json_type = {"str": str, "int": int}.get(annotation, dict)
    return isinstance(value, json_type) and not isinstance(value, bool)


def has_model_card(folder: Path) -> bool:
    """Whether a folder has a card, and so finished weights."""
    return (folder / CARD).is_file()


def write_model_card(folder: Path, weights: bytes, card: ModelCard) -> None:
    """Write weights and then their card, each file atomically.

    Raises
    ------
    ModalityError
        The hash in the card is not that of these weights, or the folder cannot be written.
    """
    actual = sha256_of(weights)
    if actual != card.sha256:
        raise ModalityError(
            f"card '{card.name}' states sha256 {card.sha256}, but the weights have {actual}"
        )
    text = json.dumps(asdict(card), indent=2, allow_nan=False)
    try:
        replace_file(folder / WEIGHTS_FILE, weights)
        replace_file(folder / CARD, text.encode() + b"\n")
    except OSError as error:
        raise ModalityError(
            f"weights cannot be written to {folder} ({error.strerror}); give another folder"
        ) from error


def find_model_card(weights: Path) -> ModelCard | None:
    """Return the card of a weights file or folder; None if no pretraining wrote it."""
    folder = weights if weights.is_dir() else weights.parent
    can_have_card = weights.is_dir() or weights.name == WEIGHTS_FILE
    return read_model_card(folder) if can_have_card and has_model_card(folder) else None


def format_card_hint(modality: str, options: Mapping[str, Any]) -> str:
    """Return a hint for the message about weights that do not load: options that would fit.

    Parameters
    ----------
    modality : str
    options : mapping of str to value
        Options of the modality, with the weights.

    Returns
    -------
    str
        Modality and options of the card that differ; '' if there is no card, or none differs.
    """
    try:
        card = find_model_card(find_weights(str(options.get("weights"))))
    except ModalityError:  # the caller's message already reports missing weights or a bad card
        return ""
    if card is None:
        return ""
    different = card.differences(options)
    if card.modality != modality:
        different = {"modality": card.modality, **card.options}
    values = ", ".join(f"{name}={value}" for name, value in different.items())
    return f"; the card of these weights says {values}: use the same" if values else ""
