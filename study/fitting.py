"""The stage of the trials: packs of heads that share what they read, and trials with a crew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from study.cells import TrialSpec
from study.embeddings import job_of
from study.executor import Crew, Outcome, Task
from study.packs import packs_of, stackable
from study.prepare import Prepared
from study.stages import Site

PACKS = 4
"""Packs for each place where one can run: enough to end together, few enough to share."""
GIB = 1024**3


def crew_of(site: Site, trial: TrialSpec) -> Crew | None:
    """Return who runs a trial: a crew if it trains encoders through its fusion."""
    run = site.study.spec.run
    if trial.cell.joint:
        return Crew(trial.cell.training.workers, run.gpus_per_worker)
    heads = stackable(replace(trial, cell=replace(trial.cell, search=None)))
    return Crew(1, run.gpus_per_pack) if run.gpus_per_pack and heads else None


def fit(
    site: Site,
    fits: Mapping[str, TrialSpec],
    broken: Mapping[str, Outcome],
    due: Callable[[], None],
) -> None:
    """Run the trials that are missing; those whose encoder failed fail with its cause.

    Parameters
    ----------
    site : Site
    fits : mapping of id to TrialSpec
    broken : mapping of str to Outcome
        Encoder jobs that failed, by their identity.
    due : function
        Hears when every trial of an arm has ended.
    """
    causes = {trial_id: _broken(site.study, trial, broken) for trial_id, trial in fits.items()}
    for trial_id, job in causes.items():
        if job is not None:
            site.fail(trial_id, fits[trial_id], job.cause, job.traceback)
    able = {trial_id: trial for trial_id, trial in fits.items() if causes[trial_id] is None}
    most = site.study.spec.run.budget.trials or len(able)
    chosen = dict(list(able.items())[:most])
    left = Counter(trial.cell.id for trial in chosen.values())
    packs = {_name(ids): ids for ids in _packs(site, chosen)}

    def told(outcome: Outcome) -> None:
        for trial_id, why in _failures(site, packs[outcome.id], outcome).items():
            trial, trace = chosen[trial_id], why["traceback"]
            site.fail(trial_id, trial, why["cause"], trace)
            if outcome.finished:  # a failure of this member; those of whole packs are kept already
                site.keep_log(trial_id, str(trial), trace)
        cells = Counter(chosen[trial_id].cell.id for trial_id in packs[outcome.id])
        left.subtract(cells)
        if any(left[cell] == 0 for cell in cells):
            due()

    site.run(site.grid, [_task(site, ids, chosen) for ids in packs.values()], "trials", told)
    if most < len(able):
        site.stop.spend(f"run.budget.trials: {most} is reached, {len(able)} were missing")


def _packs(site: Site, trials: Mapping[str, TrialSpec]) -> list[tuple[str, ...]]:
    """Deal trials into packs; the longest work first would need times nobody has yet."""
    if not trials:
        return []
    run = site.study.spec.run
    slots = site.executor.slots(Crew(1, run.gpus_per_pack))
    memory = int(run.pack_memory * GIB)
    # a time limit is one of each trial, and a process that is ended takes its pack along
    fewest = len(trials) if run.time_limit is not None else PACKS * slots
    return packs_of(trials, site.study.inputs, memory, fewest=fewest)


def _name(ids: Sequence[str]) -> str:
    """Return the identity of a pack: that of its first trial and how many more there are."""
    return ids[0] if len(ids) == 1 else f"{ids[0]}+{len(ids) - 1}"


def _task(site: Site, ids: Sequence[str], trials: Mapping[str, TrialSpec]) -> Task:
    """Return a pack as a task."""
    first = trials[ids[0]]
    more = f" and {len(ids) - 1} more trials" if len(ids) > 1 else ""
    work = "pack" if stackable(first) else "trial"
    return site.task(
        _name(ids),
        f"{first}{more}",
        f"study.worker:{work}",
        crew_of(site, first),
        pieces=len(ids),
        trials=[trials[trial_id].to_json() for trial_id in ids],
    )


def _failures(site: Site, ids: Sequence[str], outcome: Outcome) -> Mapping[str, Mapping[str, str]]:
    """Return cause and traceback of the members of a pack that failed.

    Of a pack that was lost these are all that the ledger lacks.
    """
    if outcome.value is not None:
        failed: Mapping[str, Mapping[str, str]] = outcome.value["failed"]
        return failed
    kept = site.study.ledger.ids()
    why = {"cause": outcome.cause, "traceback": outcome.traceback}
    return {trial_id: why for trial_id in ids if trial_id not in kept}


def _broken(study: Prepared, trial: TrialSpec, broken: Mapping[str, Outcome]) -> Outcome | None:
    """Return why a trial cannot run: the first of its encoder jobs that failed."""
    if not broken:
        return None
    jobs = (job_of(feature, trial) for feature in trial.cell.features)
    ids = [study.inputs.job_id(job) for job in jobs if job is not None]
    return next((broken[job_id] for job_id in ids if job_id in broken), None)
