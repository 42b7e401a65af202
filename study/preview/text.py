"""What `study plan` prints: counts, merged duplicates, cost, and what can be told afterwards."""

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
    embedding_bytes,
    estimate_cost,
    record_bytes,
)
from study.preview.power import (
    MEASURED_MOLECULES,
    DetectableEffect,
    estimate_detectable_effects,
    group_contrasts,
    repeats_needed,
)
from study.preview.prior_results import PriorResults, read_prior_results
from study.results.versions import VersionResults

CORES = 2
"""Cores that the expected time is stated for."""
SHOWN = 8
"""Arms that are named one by one, at most."""
_SOURCES = {
    "measured": "from finished trials",
    "alike": "same features",
    "unlike": "other features or molecules",
}


def format_plan(spec: StudySpec, times: MeasuredTimes | None = None) -> str:
    """Return what `study plan` prints; `times` are those of a pilot.

    Raises
    ------
    InputError
        A contrast of the file stands for no pair of arms.
    """
    plan = make_plan(spec)
    declared = declare_contrasts(spec, plan)
    recorded = read_prior_results(spec, plan)
    if times and times.table:
        recorded = PriorResults(recorded.samples, *times.table)
    molecules = recorded.molecules or ASSUMED_MOLECULES
    known = times or recorded.times(plan, molecules)
    cost = estimate_cost(plan, molecules, known)
    lines = [
        *_count_lines(spec, plan, cost),
        *_crew_lines(spec, plan),
        *_time_lines(spec, cost, known, recorded),
        _storage_line(plan, cost, recorded),
        *_contrast_lines(spec, plan, declared, recorded),
    ]
    return "\n".join(lines) + "\n"


def format_rerun(spec: StudySpec, earlier: VersionResults) -> str:
    """Return how long a study takes to train that an earlier version has results of."""
    plan = make_plan(spec)
    recorded = read_prior_results(spec, plan, earlier)
    molecules = recorded.molecules or ASSUMED_MOLECULES
    times = recorded.times(plan, molecules)
    cost = estimate_cost(plan, molecules, times)
    seconds = cost.core_seconds * len(earlier.ids) / cost.trials
    source = times.source or "rough"
    return f"about {_readable(seconds / CORES)} on {CORES} cores after featurizing ({source})"


def _count_lines(spec: StudySpec, plan: Plan, cost: CostEstimate) -> list[str]:
    repeats = f"{plan.folds} folds x {plan.repeats} repeats x {len(plan.seeds)} seeds"
    more = len(plan.added) - SHOWN
    return [
        f"study     {spec.name}: {spec.description}".rstrip(": "),
        f"data      {spec.data.name}, grouped by {spec.split.groups}",
        f"asked     {plan.asked:,} combinations",
        *(f"merged    {count:,}: {reason}" for reason, count in plan.merged.items()),
        *(f"added     {arm}: independent_mean needs it" for arm in plan.added[:SHOWN]),
        *([f"added     and {more:,} more members of independent_mean"] if more > 0 else []),
        f"cells     {len(plan.arms):,} distinct arms",
        f"trials    {cost.trials:,} ({repeats} an arm)",
        f"fits      {cost.fits:,} heads to train; {plan.averages:,} averages of members",
        *format_search(spec.search, spec.training.epochs),
        f"encoders  {cost.jobs:,} shared jobs (load or train once, used by every arm)",
        *_shared_lines(cost),
    ]


def _shared_lines(cost: CostEstimate) -> list[str]:
    """Say how many trainings of encoders are saved by sharing them."""
    if not cost.trainings:
        return []
    times = cost.trainings_alone / cost.trainings
    return [
        f"shared    {cost.trainings_alone:,} trainings of encoders asked, {cost.trainings:,} run "
        f"(1 in {times:.1f})"
    ]


def _time_lines(
    spec: StudySpec, cost: CostEstimate, times: MeasuredTimes, recorded: PriorResults
) -> list[str]:
    """Say what the work takes, and where the numbers are from."""
    source = times.source or "rough"
    size = recorded.molecules or ASSUMED_MOLECULES
    said = f"{size:,} molecules" if recorded.molecules else f"assumes {size:,} molecules"
    hours = f"hours     {cost.core_seconds / 3_600:,.1f} of a CPU core"
    gpu = sum(cost.by_encoder.values()) * spec.run.gpus_per_worker
    if gpu:
        hours += f"; {gpu / 3_600:,.1f} of a GPU at most (encoders at the speed of a core)"
    return [
        *(
            f"training  {word}: about {_readable(seconds / CORES)} on {CORES} cores"
            for word, seconds in cost.by_encoder.items()
        ),
        f"time      about {_readable(cost.core_seconds / CORES)} on {CORES} cores after "
        f"featurizing ({source}; {said})",
        hours,
    ]


def _storage_line(plan: Plan, cost: CostEstimate, recorded: PriorResults) -> str:
    molecules = recorded.molecules or ASSUMED_MOLECULES
    labels = recorded.labels or ASSUMED_LABELS
    records = record_bytes(plan, molecules, labels)
    embeddings = embedding_bytes(cost.jobs, molecules)
    return (
        f"storage   about {_size(records + embeddings)}: scores of {molecules:,} molecules x "
        f"{labels} labels {_size(records)}, embeddings {_size(embeddings)} "
        f"({ASSUMED_WIDTH} numbers each)"
    )


def _contrast_lines(
    spec: StudySpec, plan: Plan, declared: DeclaredContrasts, recorded: PriorResults
) -> list[str]:
    """Say what each family can tell, what it cannot, and what is left out."""
    molecules = recorded.molecules or ASSUMED_MOLECULES
    foreseen = estimate_detectable_effects(declared.contrasts, plan, molecules, recorded)
    counts = {
        key: float(sample.result.counts.get("parameters", 0))
        for key, sample in recorded.samples.items()
    }
    if not declared.contrasts:
        return [
            "contrasts none; name those that matter under 'contrasts'",
            *_unequal_lines(declared),
        ]
    lines = [f"contrasts {len(declared.contrasts):,} declared; smallest difference in AUROC seen:"]
    for (family, source), members in group_contrasts(foreseen).items():
        span = _span(sorted({f"{each.smallest:.4f}" for each in members}))
        lines.append(f"          {family}: {span} in {_pairs(len(members))} ({_SOURCES[source]})")
        lines += _warning(members, plan, molecules, 2 * spec.analysis.rope)
    if any(each.source != "measured" for each in foreseen):
        lines.append(
            "          (2.8 standard errors, from paired 5-fold runs on a table of "
            f"{MEASURED_MOLECULES:,} molecules x 138 labels, networks with a seed deviation of "
            "0.0015)"
        )
    lines += [f"weights   {line}" for line in format_unequal_parameters(declared.contrasts, counts)]
    if spec.parameters == "matched":
        lines.append("weights   hidden widths are matched to the reference heads at launch")
    return lines + _unequal_lines(declared)


def _warning(
    members: Sequence[DetectableEffect], plan: Plan, molecules: int, limit: float
) -> list[str]:
    """Say which contrasts of a group cannot be resolved, and what would help."""
    blind = [each for each in members if each.smallest > limit]
    if not blind:
        return []
    worst = max(blind, key=lambda each: each.smallest)
    enough = repeats_needed(worst, plan, molecules, limit)
    help_ = f"split.repeats: {enough} would do" if enough else "more repeats do not help: more data"
    return [
        f"warning   {worst.contrast.family}: {_pairs(len(blind))} cannot be resolved: a difference "
        f"below {worst.smallest:.4f} would be missed, more than twice the region of practical "
        f"equivalence ({limit:g}); {help_}"
    ]


def _unequal_lines(declared: DeclaredContrasts) -> list[str]:
    """Count what is not compared because an ensemble meets another number of models."""
    families: dict[str, int] = {}
    for contrast in declared.unequal:
        families[contrast.family] = families.get(contrast.family, 0) + 1
    return [
        f"left out  {count:,} of {family}: an ensemble against another number of models, for "
        f"example {next(c for c in declared.unequal if c.family == family)}; to compare them, "
        "write 'analysis: {ensembles: any}'"
        for family, count in families.items()
    ]


def _crew_lines(spec: StudySpec, plan: Plan) -> list[str]:
    """Say what encoders reserve, if it is more than the one process of everything else."""
    gpus = spec.run.gpus_per_worker
    each = f"{spec.run.cpus_per_trial:g} CPU" + (f" and {gpus:g} GPU" if gpus else "")
    pairs = ((feature, arm) for arm in plan.arms for feature in arm.features)
    crews = {(f.name, _workers(f, arm)) for f, arm in pairs if f.choice.trainable}
    return [
        f"reserves  {name}: {workers} x {each} for a training"
        for name, workers in sorted(crews)
        if gpus or workers > 1
    ]


def _workers(feature: NamedModality, arm: Arm) -> int:
    """Return how many processes run an encoder: one where it is not trained."""
    trained = {"finetune": feature.choice.training, "joint": arm.training}
    numbers = trained.get(feature.choice.resolved)
    return numbers.workers if numbers else 1


def _pairs(count: int) -> str:
    return "1 pair" if count == 1 else f"{count:,} pairs"


def _span(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}"


def _readable(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5_400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.1f} h"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
