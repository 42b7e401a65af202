"""Contrasts of a study: pairs of an arm and its reference, declared before anything runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from study.config.components import Component
from study.config.contrasts import ArmSelector, ContrastConfig
from study.config.study import StudySpec
from study.config.training import TrainingConfig
from study.errors import InputError
from study.planning.plan import Plan
from study.planning.trials import Arm
from study.plugins.registry import Registry

ContrastFamily = tuple[tuple[str, ...], float, TrainingConfig]


@dataclass(frozen=True)
class Contrast:
    """An arm and the reference that it is compared with.

    Attributes
    ----------
    family : str
        Name of the family; p values are adjusted within a family.
    arm, reference : Arm
    """

    family: str
    arm: Arm
    reference: Arm

    def __str__(self) -> str:
        return f"{self.arm} against {self.reference}"


def find_reference_arms(arms: Sequence[Arm]) -> dict[str, str]:
    """Return the reference of every arm that has one, both as arm ids.

    The reference is the first MLP head in the file with the same features, fraction and training
    settings.
    """
    heads: dict[ContrastFamily, str] = {}
    for arm in arms:
        if arm.technique == "mlp_head":
            heads.setdefault(contrast_family(arm), arm.id)
    pairs = {arm.id: heads.get(contrast_family(arm)) for arm in arms if len(arm.features) > 1}
    return {arm: head for arm, head in pairs.items() if head is not None and head != arm}


def contrast_family(arm: Arm) -> ContrastFamily:
    """Return what an arm shares with its reference: features, fraction and training settings."""
    return tuple(f.key for f in arm.features), arm.fraction, arm.comparable_training


def build_default_contrasts(arms: Sequence[Arm]) -> tuple[Contrast, ...]:
    """Return the contrasts of a study that declares none.

    ``technique``: every technique and operator against the reference MLP head; ``control``: the
    label balancer against the mean of independent models; ``modality``: a set of modalities
    against the same set without one of them.
    """
    return (
        *_build_technique_contrasts(arms),
        *_build_control_contrasts(arms),
        *_build_modality_contrasts(arms),
    )


def _build_technique_contrasts(arms: Sequence[Arm]) -> Iterator[Contrast]:
    by_id = {arm.id: arm for arm in arms}
    for arm, reference in find_reference_arms(arms).items():
        yield Contrast("technique", by_id[arm], by_id[reference])


def _build_control_contrasts(arms: Sequence[Arm]) -> Iterator[Contrast]:
    means = {contrast_family(c): c for c in arms if c.technique == "independent_mean"}
    for arm in arms:
        if arm.technique == "label_balancer" and contrast_family(arm) in means:
            yield Contrast("control", arm, means[contrast_family(arm)])


def _build_modality_contrasts(arms: Sequence[Arm]) -> Iterator[Contrast]:
    heads: dict[ContrastFamily, Arm] = {}
    for arm in arms:
        if arm.technique in ("mlp_head", "single"):
            heads.setdefault(contrast_family(arm), arm)
    for keys, fraction, training in list(heads):
        for left_out in keys if len(keys) > 1 else ():
            fewer = tuple(key for key in keys if key != left_out)
            if (fewer, fraction, training) in heads:
                arm = heads[keys, fraction, training]
                yield Contrast("modality", arm, heads[fewer, fraction, training])


def count_models(arm: Arm) -> int:
    """Return how many models an arm averages for each label; an ensemble averages more than one.

    The mean of independent models averages one model per modality. So does the label balancer if
    the owners of labels are drawn for every batch: every branch is trained on every label, and
    the mean of the branches predicts it. With fixed owners only the owner predicts a label, which
    is one model, as for every head.
    """
    if arm.technique == "independent_mean":
        return len(arm.features)
    if arm.partition is None or not _is_drawn_per_batch(arm.partition.name):
        return 1
    return len(arm.features)


@cache
def _is_drawn_per_batch(partition: str) -> bool:
    return bool(Registry("partition").load(partition).per_batch)


PairingKey = tuple[object, ...]
_MEANING = {
    "technique": "a technique or operator against the first MLP head with the same features",
    "control": "the label balancer against the mean of independent models",
    "modality": "a feature set against the same set without one modality",
}


@dataclass(frozen=True)
class DeclaredContrasts:
    """The contrasts of a study, and those left out because of ensembles of different sizes.

    Attributes
    ----------
    contrasts : tuple of Contrast
        In the order of the file, every pair once per family.
    unequal : tuple of Contrast
        Contrasts that are left out: one side averages more models than the other, and the file
        does not allow that (``analysis: {ensembles: any}``).
    """

    contrasts: tuple[Contrast, ...]
    unequal: tuple[Contrast, ...] = ()


def build_contrasts(spec: StudySpec, plan: Plan) -> tuple[Contrast, ...]:
    """Return the contrasts of a study; see `declare_contrasts`."""
    return declare_contrasts(spec, plan).contrasts


def declare_contrasts(spec: StudySpec, plan: Plan) -> DeclaredContrasts:
    """Find the pairs of arms that a study compares.

    Without the section ``contrasts`` these are the default families.

    Raises
    ------
    InputError
        A contrast of the file matches no pair of arms, or only ensembles of different sizes.
    """
    any_size = spec.analysis.ensembles == "any"
    if spec.contrasts is None:
        return _deduplicate_and_split(build_default_contrasts(plan.arms), any_size=any_size)
    contrasts: list[Contrast] = []
    for number, config in enumerate(spec.contrasts):
        pairs = list(_find_pairs(config, plan.arms))
        if not pairs:
            raise InputError(f"contrasts.{number}: {_format_no_match(config, plan.arms)}")
        if not _deduplicate_and_split(pairs, any_size=any_size).contrasts:
            raise InputError(
                f"contrasts.{number}: '{config.family}' compares only ensembles of different "
                f"sizes (for example {_format_sizes(pairs[0])}); to compare them anyway, write "
                "'analysis: {ensembles: any}'"
            )
        contrasts += pairs
    return _deduplicate_and_split(contrasts, any_size=any_size)


def is_fair(contrast: Contrast) -> bool:
    """Return whether both sides average the same number of models."""
    return count_models(contrast.arm) == count_models(contrast.reference)


def _format_sizes(contrast: Contrast) -> str:
    arm, reference = contrast.arm, contrast.reference
    return f"{arm}: {count_models(arm)} models, {reference}: {count_models(reference)}"


def _deduplicate_and_split(contrasts: Iterable[Contrast], *, any_size: bool) -> DeclaredContrasts:
    """Remove duplicate pairs within a family, and separate pairs of unequal size."""
    # Reversed twice: of duplicates, the first one of the file keeps its place.
    distinct = {(c.family, c.arm.id, c.reference.id): c for c in reversed(list(contrasts))}
    ordered = list(reversed(distinct.values()))
    fair = [any_size or is_fair(contrast) for contrast in ordered]
    return DeclaredContrasts(
        tuple(c for c, ok in zip(ordered, fair, strict=True) if ok),
        tuple(c for c, ok in zip(ordered, fair, strict=True) if not ok),
    )


def _find_pairs(config: ContrastConfig, arms: Sequence[Arm]) -> Iterator[Contrast]:
    """Yield the pairs of arms that one item of the section ``contrasts`` matches."""
    if config.arm is None or config.reference is None:
        yield from (c for c in build_default_contrasts(arms) if c.family == config.family)
        return
    selected = config.arm.columns | config.reference.columns
    references: dict[PairingKey, list[Arm]] = defaultdict(list)
    for arm in _find_matching_arms(config.reference, arms):
        references[_build_pairing_key(arm, selected)].append(arm)
    for arm in _find_matching_arms(config.arm, arms):
        for reference in references.get(_build_pairing_key(arm, selected), ()):
            if arm is not reference and _is_pair(arm, reference, selected):
                yield Contrast(config.family, arm, reference)


def _find_matching_arms(side: ArmSelector, arms: Sequence[Arm]) -> Iterator[Arm]:
    for arm in arms:
        params = arm.params()
        values = (side.technique, side.fusion, side.partition)
        columns = ("technique", "fusion", "partition")
        if (
            (side.features is None or set(side.features) == set(arm.names))
            and (side.fraction is None or side.fraction == arm.fraction)
            and all(
                value in (None, params[column])
                for value, column in zip(values, columns, strict=True)
            )
        ):
            yield arm


def _build_pairing_key(arm: Arm, selected: frozenset[str]) -> PairingKey:
    """Return what an arm and its reference must share, of the fields that every arm has.

    Columns that one of the sides selects may differ, so they are None.
    """
    features = None if "features" in selected else frozenset(f.key for f in arm.features)
    return features, None if "fraction" in selected else arm.fraction, arm.comparable_training


def _is_pair(arm: Arm, reference: Arm, selected: frozenset[str]) -> bool:
    """Return whether two arms agree in technique, operator and partition, unless selected.

    A single modality has no technique, and a technique may have no operator or partition: a field
    that one side cannot have is ignored.
    """
    if "features" in selected and "single" in (arm.technique, reference.technique):
        return True
    if "technique" not in selected and arm.technique != reference.technique:
        return False
    pairs: dict[str, tuple[Component | None, Component | None]] = {
        "fusion": (arm.fusion, reference.fusion),
        "partition": (arm.partition, reference.partition),
    }
    return all(
        one == other or ("technique" in selected and None in (one, other))
        for name, (one, other) in pairs.items()
        if name not in selected
    )


def _format_no_match(config: ContrastConfig, arms: Sequence[Arm]) -> str:
    """Explain why a contrast has no pairs: no arm matches a side, or no two arms agree."""
    if config.arm is None or config.reference is None:
        return f"'{config.family}' ({_MEANING[config.family]}) matches no pair of arms"
    for name, side in (("arm", config.arm), ("reference", config.reference)):
        if not any(_find_matching_arms(side, arms)):
            return f"'{config.family}': no {name} has {side}; {_format_values(side, arms)}"
    selected = ", ".join(sorted(config.arm.columns | config.reference.columns)) or "nothing"
    return (
        f"'{config.family}': no arm with {config.arm} agrees with a reference with "
        f"{config.reference} in everything but {selected}; set the other columns in which they "
        "differ"
    )


def _format_values(side: ArmSelector, arms: Sequence[Arm]) -> str:
    """Return the values that the arms have in the columns of a side."""
    known = {
        column: sorted({arm.params()[column] for arm in arms}) for column in sorted(side.columns)
    }
    return "; ".join(f"{column}: {', '.join(values)}" for column, values in known.items())


TOLERANCE = 0.02
"""Largest relative difference of two numbers of trained weights that count as equal."""


def format_unequal_parameters(
    contrasts: Iterable[Contrast], counts: Mapping[str, float]
) -> list[str]:
    """Return a line for every family with pairs whose trained weights differ by more than 2 %.

    Parameters
    ----------
    contrasts : iterable of Contrast
    counts : mapping of arm id to float
        Number of trained weights of an arm; pairs with an arm that is not in it are skipped.
    """
    ratios: dict[str, list[float]] = {}
    known: dict[str, int] = {}
    for contrast in contrasts:
        arm, reference = counts.get(contrast.arm.id), counts.get(contrast.reference.id)
        if arm and reference:
            known[contrast.family] = known.get(contrast.family, 0) + 1
            if abs(arm / reference - 1) > TOLERANCE:
                ratios.setdefault(contrast.family, []).append(arm / reference)
    return [
        f"{family}: {len(values)} of {known[family]} pairs differ by more than {TOLERANCE:.0%} in "
        f"trained weights (arm over reference {min(values):.2f} to {max(values):.2f})"
        for family, values in ratios.items()
    ]
