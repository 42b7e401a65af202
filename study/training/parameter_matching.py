"""Match the sizes of heads: count trained weights and find hidden widths that make them equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from study.artifacts.study_data import StudyData, build_modality
from study.config.grid import GridBlock, ListedArm
from study.config.study import StudySpec
from study.errors import InputError
from study.planning.contrasts import TOLERANCE, find_reference_arms
from study.planning.plan import Plan
from study.planning.trials import Arm
from study.training.equivalence import build_probe_head

STEPS = 12
Widths = tuple[int, ...]


@dataclass(frozen=True)
class ParameterCounts:
    """Sizes from which the trained weights of an arm are counted.

    Attributes
    ----------
    labels : int
    dims : mapping of feature key to int
        Width of each modality's embedding.
    encoders : mapping of feature key to int
        Number of weights of each encoder.
    """

    labels: int
    dims: Mapping[str, int]
    encoders: Mapping[str, int]

    def weights(self, arm: Arm) -> int:
        """Return the number of trained weights of an arm, as its trials count them."""
        if arm.technique == "independent_mean":
            return sum(self.weights(arm.to_single(feature)) for feature in arm.features)
        joint = [f for f in arm.features if f.config.resolved == "joint"]
        dims = {feature.module_name: self.dims[feature.key] for feature in arm.features}
        head = build_probe_head(arm, dims, self.labels)
        of_head = sum(int(weight.numel()) for weight in head.parameters())
        return of_head + sum(self.encoders[feature.key] for feature in joint)


def count_parameters(plan: Plan, data: StudyData) -> ParameterCounts:
    """Return the sizes of all embeddings and encoders of a plan.

    The width of an encoder is known when it is built. That of a fitted transform, which drops
    columns, is known after fitting: it is fitted on the training rows of the first fold, whose
    features are computed here if they are not stored yet.

    Parameters
    ----------
    plan : Plan
    data : StudyData
    """
    features = {f.key: f for arm in plan.arms for f in arm.features}
    dims, encoders = {}, {}
    for key, feature in features.items():
        encoder = build_modality(feature.config).encoder(seed=0)
        if feature.config.fitted:
            fold = data.split.folds[0]
            encoder.fit(data.features(feature.config), fold.fit[max(fold.fit)])
        dims[key] = encoder.dim
        encoders[key] = sum(int(v.numel()) for v in getattr(encoder, "parameters", list)())
    return ParameterCounts(len(data.dataset.label_names), dims, encoders)


def match_parameters(spec: StudySpec, plan: Plan, data: StudyData) -> StudySpec:
    """Return a study whose arms have as many trained weights as their reference arm.

    The grid becomes an explicit list of the same arms in the same order. Arms with a reference
    (the first MLP head with the same modalities) get their own hidden widths.

    Raises
    ------
    InputError
        No widths come within 2 % of the reference's weights.
    """
    sizes = count_parameters(plan, data)
    by_id, references = {arm.id: arm for arm in plan.arms}, find_reference_arms(plan.arms)
    added = {arm.id for arm in plan.added}
    arms: dict[str, ListedArm] = {}
    for arm in plan.arms:
        if arm.id not in added and arm.curve_id not in arms:
            reference = by_id.get(references.get(arm.id, ""))
            widths = match_widths(arm, reference, sizes) if reference else None
            arms[arm.curve_id] = _to_listed_arm(arm, widths, spec)
    block = GridBlock.model_validate({"arms": tuple(arms.values())})
    return spec.model_copy(update={"grid": (block,)})


def _to_listed_arm(arm: Arm, widths: Widths | None, spec: StudySpec) -> ListedArm:
    """Convert an arm to an item of an explicit list, with the settings that the study lacks."""
    base = spec.training.model_dump()
    settings = {k: v for k, v in arm.comparable_training.model_dump().items() if v != base[k]}
    components = {"fusion": arm.fusion, "partition": arm.partition}
    present = {key: component for key, component in components.items() if component is not None}
    required = {"features": arm.names, "technique": arm.technique, "widths": widths}
    return ListedArm.model_validate({**required, **present, "training": settings})


def match_widths(arm: Arm, reference: Arm, sizes: ParameterCounts) -> Widths:
    """Find hidden widths, all scaled by one factor, that give an arm its reference's weights.

    Searches the factor with the secant method, since weights grow nearly in proportion to it.

    Raises
    ------
    InputError
        No widths come within 2 % of the reference's weights.
    """
    target, configured = sizes.weights(reference), arm.comparable_training.hidden
    tried: dict[Widths, int] = {}

    def weights(scale: float) -> int:
        widths = tuple(max(1, round(width * scale)) for width in configured)
        if widths not in tried:
            config = arm.comparable_training.model_copy(update={"hidden": widths})
            tried[widths] = sizes.weights(replace(arm, training=config))
        return tried[widths]

    low, high = 1.0, max(1e-3, target / max(1, weights(1.0)))
    for _ in range(STEPS):
        rise = weights(high) - weights(low)
        if rise == 0 or abs(weights(high) / target - 1) < TOLERANCE / 10:
            break
        step = (target - weights(high)) * (high - low) / rise
        low, high = high, max(1e-3, high + step)
    best = min(tried, key=lambda widths: abs(tried[widths] - target))
    if abs(tried[best] / target - 1) > TOLERANCE:
        raise InputError(
            f"parameters: matched: no hidden widths give {arm} the {target:,} weights of "
            f"{reference} within {TOLERANCE:.0%}; the nearest, {list(best)}, give "
            f"{tried[best]:,}; use wider heads ('training.hidden') or 'parameters: unmatched'"
        )
    return best
