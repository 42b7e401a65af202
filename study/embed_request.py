"""What ``study embed`` is asked for, and the options of the modality that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from modalities import ModalityError, find_weights
from modalities._cards import Card, card_beside
from study.errors import InputError
from study.words import Vocabulary

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """What is to be embedded, and how.

    Attributes
    ----------
    table : Path
    column : str or None
        Column of the SMILES, which are made canonical, stereo included; None: ``smiles`` in any
        case.
    modality : str
        Word of the modality.
    weights : str
        ``random``, a folder of weights with a card, or a checkpoint file.
    options : tuple of str
        ``key=value`` of the modality; those of the card need not be given.
    seed : int
        Seed of random starting weights.
    skip_bad : bool
        Whether a molecule that cannot be represented becomes a row of NaN, and no error.
    """

    table: Path
    column: str | None
    modality: str
    weights: str = "random"
    options: tuple[str, ...] = ()
    seed: int = 0
    skip_bad: bool = False


def options_of(request: Request) -> dict[str, Any]:
    """Return every option of the modality: given ones, the card's, defaults."""
    given = dict(map(_pair, request.options))
    if request.weights != "random":
        file = weights_file(request.weights)
        card = None if file is None else card_beside(file)
        if card is not None:
            given = {**_agreed(card, request, given), "sha256": card.sha256}
        given["weights"] = request.weights
    return Vocabulary("modality").complete(request.modality, given)


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--option takes KEY=VALUE, for example layers=3, not '{text}'")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"--option {text}: the value is not YAML") from error


def _agreed(card: Card, request: Request, given: Options) -> Options:
    """Return the card's options, which what was given may repeat but not contradict."""
    if card.modality != request.modality:
        raise InputError(
            f"weights {request.weights} are for --modality {card.modality} (so says their card), "
            f"not {request.modality}"
        )
    other = card.differences(given)
    if other:
        said = ", ".join(f"{name}={value}" for name, value in other.items())
        raise InputError(
            f"the card of {request.weights} says {said}; leave out --option {', '.join(other)}"
        )
    return {**card.options, **given}


def weights_file(weights: str) -> Path | None:
    """Return the file of weights; None for what is no single file (a language model's folder)."""
    try:
        return find_weights(weights)
    except ModalityError:
        return None
