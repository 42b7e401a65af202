"""Run a pack: head trials trained one after the other in one process that reads tables once.

A single head keeps a core busy: its matrix products fill the time, and the optimizer, which is
bound by memory, finds the weights in the caches. On a GPU, where a single head does not, several
packs share the device (`run.gpus_per_pack` below 1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from study.artifacts.study_data import StudyData
from study.executors.failures import cause_of, traceback_of
from study.planning.trials import Trial
from study.results.trial_result import TrialResult
from study.training.distributed import ProcessGroup
from study.training.encoders import EncoderCache
from study.training.packing import fold_key
from study.training.trial import run_trial


@dataclass(frozen=True)
class PackResult:
    """How a trial of a pack ended.

    Attributes
    ----------
    trial : Trial
    result : TrialResult or None
        None if it failed.
    cause, traceback : str
        Why it failed.
    """

    trial: Trial
    result: TrialResult | None
    cause: str = ""
    traceback: str = ""


def run_pack(
    trials: Sequence[Trial], data: StudyData, *, device: torch.device | None = None
) -> Iterator[PackResult]:
    """Run head trials; yield how each ended as soon as it has.

    A trial gives the same result, to the last bit, whatever the other trials of its pack are. A
    trial that fails leaves the others running.

    Parameters
    ----------
    trials : sequence of Trial
        Trials that share a process (see `study.training.packing.stackable`), in any order.
    data : StudyData
    device : torch.device, optional
        Default: the CPU.
    """
    shared, ranks = EncoderCache(), ProcessGroup(device=device or torch.device("cpu"))
    for trial in sorted(trials, key=fold_key):
        try:
            with ranks.named_errors():
                ended = PackResult(trial, run_trial(trial, data, ranks, shared=shared))
        except Exception as error:  # noqa: BLE001 (whatever it is, it fails this trial alone)
            ended = PackResult(trial, None, cause_of(error), traceback_of(error))
        yield ended
