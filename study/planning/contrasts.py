"""Contrasts of a study: the declared pairs of arms, their references, matched parameters."""

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

Family = tuple[tuple[str, ...], float, TrainingConfig]


@dataclass(frozen=True)
class Contrast:
    """An arm and the reference it has to beat.

    Attributes
    ----------
    family : str
        The question it is part of: contrasts of one family are adjusted for each other.
    arm, reference : Arm
    """

    family: str
    arm: Arm
    reference: Arm

    def __str__(self) -> str:
        return f"{self.arm} against {self.reference}"


def find_reference_arms(arms: Sequence[Arm]) -> dict[str, str]:
    """Return the reference arm of every arm that has one, both as arm ids.

    The reference is the first MLP head of the file with the same features, fraction and numbers:
    what a technique or another operator has to beat.
    """
    heads: dict[Family, str] = {}
    for arm in arms:
        if arm.technique == "mlp_head":
            heads.setdefault(contrast_family(arm), arm.id)
    pairs = {arm.id: heads.get(contrast_family(arm)) for arm in arms if len(arm.features) > 1}
    return {arm: head for arm, head in pairs.items() if head is not None and head != arm}


def contrast_family(arm: Arm) -> Family:
    """Return what an arm shares with its reference: features, fraction and numbers."""
    return tuple(f.key for f in arm.features), arm.fraction, arm.shared


def build_default_contrasts(arms: Sequence[Arm]) -> tuple[Contrast, ...]:
    """Return the contrasts of a study that declares none.

    ``technique``: every technique and operator against the reference MLP head; ``control``: the
    label balancer against the mean of independent models; ``modality``: a set of modalities
    against itself less one.
    """
    return (*_technique(arms), *_control(arms), *_modality(arms))


def _technique(arms: Sequence[Arm]) -> Iterator[Contrast]:
    by_id = {arm.id: arm for arm in arms}
    for arm, reference in find_reference_arms(arms).items():
        yield Contrast("technique", by_id[arm], by_id[reference])


def _control(arms: Sequence[Arm]) -> Iterator[Contrast]:
    means = {contrast_family(c): c for c in arms if c.technique == "independent_mean"}
    for arm in arms:
        if arm.technique == "label_balancer" and contrast_family(arm) in means:
            yield Contrast("control", arm, means[contrast_family(arm)])


def _modality(arms: Sequence[Arm]) -> Iterator[Contrast]:
    heads: dict[Family, Arm] = {}
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
    """Return how many models an arm averages for a label: above 1 it is an ensemble.

    The mean of independent models averages one a modality. So does the label balancer whose
    owners are drawn for every batch: each branch sees every label in time, and the mean of the
    branches predicts it. With fixed owners a label is predicted by its owner alone, which is one
    model, as every head is.
    """
    if arm.technique == "independent_mean":
        return len(arm.features)
    if arm.partition is None or not _drawn_per_batch(arm.partition.name):
        return 1
    return len(arm.features)


@cache
def _drawn_per_batch(partition: str) -> bool:
    return bool(Registry("partition").load(partition).per_batch)


Shared = tuple[object, ...]
_MEANING = {
    "technique": "a technique or operator against the first MLP head with the same features",
    "control": "the label balancer against the mean of independent models",
    "modality": "a feature set against itself less one modality",
}


@dataclass(frozen=True)
class DeclaredContrasts:
    """What is compared, and what would be but for the size of an ensemble.

    Attributes
    ----------
    contrasts : tuple of Contrast
        In the order of the file; each pair once in a family.
    unequal : tuple of Contrast
        Left out: one side averages more models than the other, and the file does not say that
        it wants them (``analysis: {ensembles: any}``).
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
        A contrast of the file stands for no pair of arms, or for none of equal size.
    """
    any_size = spec.analysis.ensembles == "any"
    if spec.contrasts is None:
        return _sorted_out(build_default_contrasts(plan.arms), any_size=any_size)
    found: list[Contrast] = []
    for number, asked in enumerate(spec.contrasts):
        pairs = list(_pairs(asked, plan.arms))
        if not pairs:
            raise InputError(f"contrasts.{number}: {_matches_nothing(asked, plan.arms)}")
        if not _sorted_out(pairs, any_size=any_size).contrasts:
            raise InputError(
                f"contrasts.{number}: '{asked.family}' compares ensembles with ensembles of "
                f"another size only (for example {_sizes(pairs[0])}); to compare them all the "
                "same, write 'analysis: {ensembles: any}'"
            )
        found += pairs
    return _sorted_out(found, any_size=any_size)


def is_fair(contrast: Contrast) -> bool:
    """Whether both sides average the same number of models."""
    return count_models(contrast.arm) == count_models(contrast.reference)


def _sizes(contrast: Contrast) -> str:
    arm, reference = contrast.arm, contrast.reference
    return f"{arm}: {count_models(arm)} models, {reference}: {count_models(reference)}"


def _sorted_out(contrasts: Iterable[Contrast], *, any_size: bool) -> DeclaredContrasts:
    """Keep each pair once in a family, and apart what is not compared."""
    distinct = {(c.family, c.arm.id, c.reference.id): c for c in reversed(list(contrasts))}
    ordered = list(reversed(distinct.values()))
    fair = [any_size or is_fair(contrast) for contrast in ordered]
    kept = tuple(c for c, ok in zip(ordered, fair, strict=True) if ok)
    return DeclaredContrasts(kept, tuple(c for c, ok in zip(ordered, fair, strict=True) if not ok))


def _pairs(asked: ContrastConfig, arms: Sequence[Arm]) -> Iterator[Contrast]:
    """Yield the pairs that an item of the section stands for."""
    if asked.arm is None or asked.reference is None:
        yield from (c for c in build_default_contrasts(arms) if c.family == asked.family)
        return
    named = asked.arm.named | asked.reference.named
    references: dict[Shared, list[Arm]] = defaultdict(list)
    for arm in _matching(asked.reference, arms):
        references[_shared(arm, named)].append(arm)
    for arm in _matching(asked.arm, arms):
        for reference in references.get(_shared(arm, named), ()):
            if arm is not reference and _agree(arm, reference, named):
                yield Contrast(asked.family, arm, reference)


def _matching(side: ArmSelector, arms: Sequence[Arm]) -> Iterator[Arm]:
    for arm in arms:
        params = arm.params()
        words = (side.technique, side.fusion, side.partition)
        columns = ("technique", "fusion", "partition")
        if (
            (side.features is None or set(side.features) == set(arm.names))
            and (side.fraction is None or side.fraction == arm.fraction)
            and all(w in (None, params[c]) for w, c in zip(words, columns, strict=True))
        ):
            yield arm


def _shared(arm: Arm, named: frozenset[str]) -> Shared:
    """Return what both sides must have in common, of that which every arm has."""
    features = None if "features" in named else frozenset(f.key for f in arm.features)
    return features, None if "fraction" in named else arm.fraction, arm.shared


def _agree(arm: Arm, reference: Arm, named: frozenset[str]) -> bool:
    """Whether two arms agree in technique, operator and partition where nobody names them.

    One modality has no technique, and a technique no operator or partition but its own: what a
    side cannot have is no disagreement.
    """
    if "features" in named and "single" in (arm.technique, reference.technique):
        return True
    if "technique" not in named and arm.technique != reference.technique:
        return False
    pairs: dict[str, tuple[Component | None, Component | None]] = {
        "fusion": (arm.fusion, reference.fusion),
        "partition": (arm.partition, reference.partition),
    }
    return all(
        one == other or ("technique" in named and None in (one, other))
        for name, (one, other) in pairs.items()
        if name not in named
    )


def _matches_nothing(asked: ContrastConfig, arms: Sequence[Arm]) -> str:
    """Say which side of a contrast no arm is on, or that no two agree in the rest."""
    if asked.arm is None or asked.reference is None:
        return f"'{asked.family}' ({_MEANING[asked.family]}) finds no pair among the arms"
    for name, side in (("arm", asked.arm), ("reference", asked.reference)):
        if not any(_matching(side, arms)):
            return f"'{asked.family}': no {name} has {side}; {_words(side, arms)}"
    named = ", ".join(sorted(asked.arm.named | asked.reference.named)) or "nothing"
    return (
        f"'{asked.family}': no arm with {asked.arm} agrees with a reference with "
        f"{asked.reference} in everything but {named}; name the other columns they differ in"
    )


def _words(side: ArmSelector, arms: Sequence[Arm]) -> str:
    """Return the words of the columns that a side names, as the arms have them."""
    known = {column: sorted({c.params()[column] for c in arms}) for column in sorted(side.named)}
    return "; ".join(f"{column}: {', '.join(words)}" for column, words in known.items())


TOLERANCE = 0.02


def format_unequal_parameters(
    contrasts: Iterable[Contrast], counts: Mapping[str, float]
) -> list[str]:
    """Return one line a family with pairs whose trained weights differ by more than 2 %.

    Parameters
    ----------
    contrasts : iterable of Contrast
    counts : mapping of arm id to float
        Trained weights of an arm; pairs with an arm that is not in it are passed over.
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
        f"{family}: {len(found)} of {known[family]} pairs differ by more than {TOLERANCE:.0%} in "
        f"trained weights (arm over reference {min(found):.2f} to {max(found):.2f})"
        for family, found in ratios.items()
    ]
