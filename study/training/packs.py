"""Run a pack: train its head trials one after the other in one process that reads tables once.

Heads are trained one at a time because a single one keeps a core busy: matrix products take most
of the time, and the weights stay in the cache for the optimizer, which is bound by memory. On a
GPU, which a single head does not fill, several packs share the device (`run.gpus_per_pack` below
1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from study.artifacts.study_data import StudyData
from study.executors.failures import format_cause, format_traceback
from study.planning.trials import Trial
from study.results.trial_result import TrialResult
from study.training.distributed import ProcessGroup
from study.training.encoders import EncoderCache
from study.training.packing import fold_key
from study.training.trial import run_trial


@dataclass(frozen=True)
class PackResult:
    """Outcome of a trial of a pack.

    Attributes
    ----------
    trial : Trial
    result : TrialResult or None
        None if it failed.
    cause, traceback : str
        Reason of the failure, empty if there is none.
    """

    trial: Trial
    result: TrialResult | None
    cause: str = ""
    traceback: str = ""


def run_pack(
    trials: Sequence[Trial], data: StudyData, *, device: torch.device | None = None
) -> Iterator[PackResult]:
    """Run head trials and yield the outcome of each as soon as it has ended.

    A trial's result does not depend, to the last bit, on the other trials of its pack. A trial
    that fails leaves the others running.

    Parameters
    ----------
    trials : sequence of Trial
        Trials that share a process (see `study.training.packing.can_share_process`), in any order.
    data : StudyData
    device : torch.device, optional
        Default: the CPU.
    """
    shared, ranks = EncoderCache(), ProcessGroup(device=device or torch.device("cpu"))
    for trial in sorted(trials, key=fold_key):
        try:
            with ranks.named_errors():
                outcome = PackResult(trial, run_trial(trial, data, ranks, shared=shared))
        except Exception as error:  # noqa: BLE001 (any error fails this trial alone)
            outcome = PackResult(trial, None, format_cause(error), format_traceback(error))
        yield outcome
