"""The text of `study plan`: counts, merged duplicates, cost and detectable effects."""

from __future__ import annotations

from collections.abc import Sequence

from study.config.study import StudySpec
from study.planning.contrasts import DeclaredContrasts, declare_contrasts, format_unequal_parameters
from study.planning.plan import Plan, make_plan
from study.planning.search_budget import format_search
from study.planning.trials import Arm, NamedModality
from study.preview.cost import (
    ASSUMED_LABELS,
    ASSUMED_MOLECULES,
    ASSUMED_WIDTH,
    CostEstimate,
    MeasuredTimes,
    estimate_cost,
    estimate_embedding_bytes,
    estimate_result_bytes,
)
from study.preview.power import (
    MEASURED_MOLECULES,
    DetectableEffect,
    estimate_detectable_effects,
    find_repeats_needed,
    group_effects,
)
from study.preview.prior_results import PriorResults, read_prior_results
from study.results.versions import VersionResults

CORES = 2
"""Number of cores for which times are given."""
MAX_LISTED = 8
"""Largest number of added arms that are listed."""
_SOURCES = {
    "measured": "from finished trials",
    "alike": "same features",
    "unlike": "other features or molecules",
}


def format_plan(spec: StudySpec, times: MeasuredTimes | None = None) -> str:
    """Return the text of `study plan`; `times` are those of a pilot.

    Raises
    ------
    InputError
        A contrast of the file matches no pair of arms.
    """
    plan = make_plan(spec)
    declared = declare_contrasts(spec, plan)
    prior = read_prior_results(spec, plan)
    if times and times.table:
        prior = PriorResults(prior.trials, *times.table)
    molecules = prior.molecules or ASSUMED_MOLECULES
    measured = times or prior.times(plan, molecules)
    cost = estimate_cost(plan, molecules, measured)
    lines = [
        *_format_counts(spec, plan, cost),
        *_format_worker_groups(spec, plan),
        *_format_times(spec, cost, measured, prior),
        _format_storage(plan, cost, prior),
        *_format_contrasts(spec, plan, declared, prior),
    ]
    return "\n".join(lines) + "\n"


def format_rerun(spec: StudySpec, earlier: VersionResults) -> str:
    """Return the expected time to train again what an earlier version finished."""
    plan = make_plan(spec)
    prior = read_prior_results(spec, plan, earlier)
    molecules = prior.molecules or ASSUMED_MOLECULES
    times = prior.times(plan, molecules)
    cost = estimate_cost(plan, molecules, times)
    seconds = cost.core_seconds * len(earlier.ids) / cost.trials
    source = times.source or "rough"
    return (
        f"about {_format_duration(seconds / CORES)} on {CORES} cores after featurizing ({source})"
    )


def _format_counts(spec: StudySpec, plan: Plan, cost: CostEstimate) -> list[str]:
    repeats = f"{plan.folds} folds x {plan.repeats} repeats x {len(plan.seeds)} seeds"
    more = len(plan.added) - MAX_LISTED
    return [
        f"study     {spec.name}: {spec.description}".rstrip(": "),
        f"data      {spec.data.name}, grouped by {spec.split.groups}",
        f"asked     {plan.combinations:,} combinations",
        *(f"merged    {count:,}: {reason}" for reason, count in plan.merged.items()),
        *(f"added     {arm}: independent_mean needs it" for arm in plan.added[:MAX_LISTED]),
        *([f"added     and {more:,} more members of independent_mean"] if more > 0 else []),
        f"cells     {len(plan.arms):,} distinct arms",
        f"trials    {cost.trials:,} ({repeats} an arm)",
        f"fits      {cost.fits:,} heads to train; {plan.averages:,} averages of members",
        *format_search(spec.search, spec.training.epochs),
        f"encoders  {cost.jobs:,} shared jobs (load or train once, used by every arm)",
        *_format_sharing(cost),
    ]


def _format_sharing(cost: CostEstimate) -> list[str]:
    """Return the line about trainings of encoders that are saved by sharing them."""
    if not cost.trainings:
        return []
    times = cost.trainings_alone / cost.trainings
    return [
        f"shared    {cost.trainings_alone:,} trainings of encoders asked, {cost.trainings:,} run "
        f"(1 in {times:.1f})"
    ]


def _format_times(
    spec: StudySpec, cost: CostEstimate, times: MeasuredTimes, prior: PriorResults
) -> list[str]:
    """Return the lines about expected times, and their source."""
    source = times.source or "rough"
    size = prior.molecules or ASSUMED_MOLECULES
    size_text = f"{size:,} molecules" if prior.molecules else f"assumes {size:,} molecules"
    hours = f"hours     {cost.core_seconds / 3_600:,.1f} of a CPU core"
    gpu = sum(cost.by_encoder.values()) * spec.run.gpus_per_worker
    if gpu:
        hours += f"; {gpu / 3_600:,.1f} of a GPU at most (encoders at the speed of a core)"
    return [
        *(
            f"training  {modality}: about {_format_duration(seconds / CORES)} on {CORES} cores"
            for modality, seconds in cost.by_encoder.items()
        ),
        f"time      about {_format_duration(cost.core_seconds / CORES)} on {CORES} cores after "
        f"featurizing ({source}; {size_text})",
        hours,
    ]


def _format_storage(plan: Plan, cost: CostEstimate, prior: PriorResults) -> str:
    molecules = prior.molecules or ASSUMED_MOLECULES
    labels = prior.labels or ASSUMED_LABELS
    records = estimate_result_bytes(plan, molecules, labels)
    embeddings = estimate_embedding_bytes(cost.jobs, molecules)
    return (
        f"storage   about {_format_size(records + embeddings)}: scores of {molecules:,} molecules "
        f"x {labels} labels {_format_size(records)}, embeddings {_format_size(embeddings)} "
        f"({ASSUMED_WIDTH} numbers each)"
    )


def _format_contrasts(
    spec: StudySpec, plan: Plan, declared: DeclaredContrasts, prior: PriorResults
) -> list[str]:
    """Return the lines about detectable effects, warnings, and contrasts that are left out."""
    molecules = prior.molecules or ASSUMED_MOLECULES
    effects = estimate_detectable_effects(declared.contrasts, plan, molecules, prior)
    counts = {
        arm_id: float(trial.result.counts.get("parameters", 0))
        for arm_id, trial in prior.trials.items()
    }
    if not declared.contrasts:
        return [
            "contrasts none; name those that matter under 'contrasts'",
            *_format_unequal(declared),
        ]
    lines = [f"contrasts {len(declared.contrasts):,} declared; smallest difference in AUROC seen:"]
    for (family, source), members in group_effects(effects).items():
        smallest = _format_range(sorted({f"{effect.smallest:.4f}" for effect in members}))
        pairs = _format_pairs(len(members))
        lines.append(f"          {family}: {smallest} in {pairs} ({_SOURCES[source]})")
        lines += _format_warning(members, plan, molecules, 2 * spec.analysis.rope)
    if any(effect.source != "measured" for effect in effects):
        lines.append(
            "          (2.8 standard errors, from paired 5-fold runs on a table of "
            f"{MEASURED_MOLECULES:,} molecules x 138 labels, networks with a seed deviation of "
            "0.0015)"
        )
    lines += [f"weights   {line}" for line in format_unequal_parameters(declared.contrasts, counts)]
    if spec.parameters == "matched":
        lines.append("weights   hidden widths are matched to the reference heads at launch")
    return lines + _format_unequal(declared)


def _format_warning(
    members: Sequence[DetectableEffect], plan: Plan, molecules: int, limit: float
) -> list[str]:
    """Return a warning about contrasts of low power, and what would help."""
    unresolved = [effect for effect in members if effect.smallest > limit]
    if not unresolved:
        return []
    worst = max(unresolved, key=lambda effect: effect.smallest)
    repeats = find_repeats_needed(worst, plan, molecules, limit)
    remedy = (
        f"split.repeats: {repeats} would be enough"
        if repeats
        else "more repeats do not help; more data would"
    )
    return [
        f"warning   {worst.contrast.family}: {_format_pairs(len(unresolved))} cannot be resolved: "
        f"a difference below {worst.smallest:.4f} would be missed, more than twice the region of "
        f"practical equivalence ({limit:g}); {remedy}"
    ]


def _format_unequal(declared: DeclaredContrasts) -> list[str]:
    """Return the lines about contrasts left out because of ensembles of different sizes."""
    families: dict[str, int] = {}
    for contrast in declared.unequal:
        families[contrast.family] = families.get(contrast.family, 0) + 1
    return [
        f"left out  {count:,} of {family}: an ensemble against another number of models, for "
        f"example {next(c for c in declared.unequal if c.family == family)}; to compare them, "
        "write 'analysis: {ensembles: any}'"
        for family, count in families.items()
    ]


def _format_worker_groups(spec: StudySpec, plan: Plan) -> list[str]:
    """Return the resources that encoders reserve, if more than one process without a GPU."""
    gpus = spec.run.gpus_per_worker
    per_worker = f"{spec.run.cpus_per_trial:g} CPU" + (f" and {gpus:g} GPU" if gpus else "")
    pairs = ((feature, arm) for arm in plan.arms for feature in arm.features)
    groups = {(f.name, _count_workers(f, arm)) for f, arm in pairs if f.config.trainable}
    return [
        f"reserves  {name}: {workers} x {per_worker} for a training"
        for name, workers in sorted(groups)
        if gpus or workers > 1
    ]


def _count_workers(feature: NamedModality, arm: Arm) -> int:
    """Return the number of worker processes of an encoder: one if it is not trained."""
    by_calibration = {"finetune": feature.config.training, "joint": arm.training}
    settings = by_calibration.get(feature.config.resolved)
    return settings.workers if settings else 1


def _format_pairs(count: int) -> str:
    return "1 pair" if count == 1 else f"{count:,} pairs"


def _format_range(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}"


def _format_duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5_400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.1f} h"


def _format_size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
