"""What may stand on an axis of the grid: the checks of its values, one sentence a mistake."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError, ValidationInfo

from study.choices import Fusion, Partition
from study.designs import Technique
from study.numbers import Training
from study.section import FromFile
from study.words import Vocabulary

WORD_AXES = ("features", "technique", "fusion", "partition")


def check_sets(sets: tuple[tuple[str, ...], ...], info: ValidationInfo) -> None:
    """Refuse sets that are empty or name a modality twice, and names that nobody gave."""
    for names in sets:
        if not names or len(set(names)) != len(names):
            raise ValueError(f"{list(names)}: a feature set names one or more modalities once")
    if isinstance(info.context, FromFile) and info.context.names is not None:
        check_known({name for names in sets for name in names}, info.context.names)


def check_known(used: Collection[str], named: Collection[str]) -> None:
    """Refuse features that are neither a modality nor a name of the section ``modalities``."""
    vocabulary = Vocabulary("modality")
    unknown = sorted(set(used) - set(named))
    mistakes = [text for name in unknown for text in vocabulary.check(name, {})]
    if mistakes:
        raise ValueError("; ".join([*mistakes, f"or a name of 'modalities': {sorted(named)}"]))


def check_single(techniques: Collection[str], sets: Collection[tuple[str, ...]]) -> None:
    """Refuse the technique ``single`` for several modalities."""
    wide = [names for names in sets if len(names) > 1]
    if "single" in techniques and wide:
        raise ValueError(
            f"'single' takes one modality, not {list(wide[0])}; "
            "give single modalities a grid block of their own"
        )


def check_partition(partitions: Collection[Partition], techniques: Collection[str]) -> None:
    """Refuse label partitions where no technique has one."""
    if partitions and "label_balancer" not in techniques:
        raise ValueError(
            f"a label partition ({', '.join(map(str, partitions))}) needs the technique "
            "'label_balancer'; add it to 'technique' or remove 'partition'"
        )


def check_numbers(axes: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuse axes that are no training numbers, and values that such a number cannot have."""
    mistakes = [text for key, values in axes.items() for text in _axis_faults(key, values)]
    if mistakes:
        raise ValueError("; ".join(mistakes))


def _axis_faults(key: str, values: tuple[Any, ...]) -> list[str]:
    """Return what is wrong with one training axis of a grid block."""
    if key not in Training.model_fields:
        return [f"'{key}' is not a training number; allowed: {', '.join(Training.model_fields)}"]
    if not values:
        return [f"'{key}' must name at least one value"]
    faults = []
    for each in values:
        try:
            Training(**{key: each})
        except ValidationError as error:
            faults += [f"'{key}' cannot be {each!r}: {fault['msg']}" for fault in error.errors()]
    return faults


def read_changes(component: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Read what stands in for a component; names of modalities are checked by the caller."""
    read: dict[str, Any] = {}
    for key, value in changes.items():
        reader = _READERS.get(key)
        try:
            read[key] = reader.validate_python(value) if reader else value
        except ValidationError as error:
            said = "; ".join(fault["msg"] for fault in error.errors())
            raise ValueError(
                f"without '{component}': '{key}' cannot be {value!r}: {said}"
            ) from None
        if key in Training.model_fields:
            check_numbers({key: (value,)})
    return read


_READERS: Mapping[str, TypeAdapter[Any]] = {
    "technique": TypeAdapter(Technique),
    "fusion": TypeAdapter(Fusion),
    "partition": TypeAdapter(Partition),
}
