"""Before a pretraining: its molecules, its identity, and what its folder holds already."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from modalities import FeatureStore, ModalityError
from modalities._cards import Card, has_card, read_card
from modalities.pretraining import Molecules
from study.errors import InputError
from study.lock import is_lock
from study.pretraining.molecules import Chosen, choose
from study.pretraining.places import Places
from study.pretraining.spec import PretrainingSpec
from study.pretraining.stored import StoredModality, build
from study.spec import digest
from study.storage import Storage, write_atomic

CODE = 1
"""Version of the pretraining code; a change that alters numbers raises it."""
_FREE = ("name", "description", "run")
"""Sections that change no weight."""


@dataclass(frozen=True, eq=False)
class Pretraining:
    """A pretraining whose molecules were read.

    Attributes
    ----------
    spec : PretrainingSpec
    chosen : Chosen
        Molecules of the table, before any is refused by the modality or the task.
    places : Places
    """

    spec: PretrainingSpec
    chosen: Chosen
    places: Places

    @cached_property
    def numbers(self) -> dict[str, Any]:
        """Everything the weights depend on, as JSON values by section."""
        spec = self.spec
        return {
            "objective": {**spec.objective.json_value(), "version": build(spec.objective).version},
            "modality": {**spec.modality.json_value(), "version": build(spec.modality).version},
            "molecules": self.chosen.digest,
            "held_out": spec.held_out,
            "training": spec.training.model_dump(mode="json"),
            "code": CODE,
        }

    @property
    def identity(self) -> str:
        """Content id: equal ids give equal weights."""
        return digest(self.numbers)[:32]

    @property
    def card(self) -> Card | None:
        """The card of the finished weights; None before."""
        return read_card(self.places.home) if has_card(self.places.home) else None

    def check_folder(self) -> None:
        """Refuse a folder that another pretraining has begun.

        Raises
        ------
        InputError
            The message says in what the two differ.
        """
        begun = self.places.begun
        if not begun.is_file():
            held = Storage(self.places.folder).names("")  # not what is just being written
            if not all(map(is_lock, held)):
                raise InputError(f"{self.places.home} is no folder of a pretraining; move it away")
            return
        other = json.loads(begun.read_text(encoding="utf-8"))["numbers"]
        if other != self.numbers:
            raise InputError(
                f"{self.places.home} holds another pretraining ({_difference(other, self.numbers)})"
                "; give this one another 'name', or remove the folder"
            )

    def lay_out(self) -> None:
        """Begin the folder: it says what it will hold."""
        Storage(self.places.folder).prepare()
        value = {"identity": self.identity, "numbers": self.numbers, "file": self.spec.model_dump()}
        _write(self.places.begun, value)

    def chosen_of(self, refused: Mapping[str, str]) -> Chosen:
        """Return the molecules that the modality and the task can represent."""
        kept = self.chosen.without(refused, f"not to be had as '{self.spec.modality.word}'")
        if not len(kept):
            raise InputError(_none_left(refused))
        unfit = self._unfit(kept)
        if len(unfit) == len(kept):
            raise InputError(_none_left(unfit))
        return kept.without(unfit, f"nothing for '{self.spec.objective.word}'")

    def _unfit(self, chosen: Chosen) -> dict[str, str]:
        """Return the molecules the task refuses, one by one."""
        modality, objective = build(self.spec.modality), build(self.spec.objective)
        features = FeatureStore(Path(self.places.features)).load(modality, chosen.smiles)
        stored, refused = StoredModality(modality, features), {}
        for text, name in zip(chosen.smiles, chosen.names, strict=True):
            try:
                objective.prepare(stored, Molecules((text,), (name,)))
            except ModalityError as error:
                refused[text] = str(error)
        return refused

    def write_molecules(self, chosen: Chosen) -> None:
        """Write what the training reads, and who was left out and why."""
        held_out = chosen.held_out(self.spec.held_out, self.spec.training.seed)
        value = {"smiles": chosen.smiles, "names": chosen.names, "held_out": held_out.tolist()}
        _write(self.places.molecules, value)
        _write(self.places.left_out, {each.why: each.which for each in chosen.left_out})

    def clear(self) -> None:
        """Remove what only the training needs."""
        self.places.molecules.unlink(missing_ok=True)
        for folder in (self.places.checkpoints, self.places.scratch):
            shutil.rmtree(folder, ignore_errors=True)


def begin(spec: PretrainingSpec) -> Pretraining:
    """Read the molecules of a pretraining, and check what can be checked before it runs.

    Raises
    ------
    InputError
        The storage, the molecules, an option or weights cannot be had as asked.
    """
    if not Storage(spec.run.storage).is_local:
        raise InputError(f"storage '{spec.run.storage}' is no folder: give a path")
    places = Places.of(spec.run, spec.name)
    try:
        modality, objective = build(spec.modality), build(spec.objective)
        if spec.modality.weights is not None:
            modality.encoder(seed=0)
    except ModalityError as error:
        raise InputError(f"pretraining '{spec.name}': {error}") from error
    chosen = choose(spec, objective.named, Path(spec.run.storage).resolve() / "cache")
    return Pretraining(spec, chosen, places)


def _none_left(refused: Mapping[str, str]) -> str:
    why = next(iter(refused.values()), "the table has none, or all of them are excluded")
    return f"no molecule is left to train on: {why}"


def _difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Name the numbers in which two pretrainings differ: begun and asked."""
    mine, yours = _flat(one), _flat(other)
    places = sorted(k for k in mine.keys() | yours if mine.get(k) != yours.get(k))
    return ", ".join(f"{k}: {mine.get(k)}, not {yours.get(k)}" for k in places)


def _flat(numbers: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for section, value in numbers.items():
        inner = value if isinstance(value, Mapping) else {"": value}
        flat |= {f"{section}.{key}".rstrip("."): item for key, item in inner.items()}
    return flat


def _write(path: Path, value: object) -> None:
    write_atomic(path, json.dumps(value, indent=1).encode())
