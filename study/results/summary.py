"""Summary of an arm's results (means over folds, density fifths) and text about failures."""

from __future__ import annotations

import logging
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from study.artifacts.study_folder import LOGS
from study.config.redaction import redact
from study.errors import StorageError
from study.metrics import density_fifths, fifth_means, macro_mean
from study.planning.trials import Arm, Repeat, get_repeat
from study.results.ledger import Failure
from study.results.trial_result import TrialResult
from study.storage.storage import Storage

Floats = NDArray[np.float64]

PLATEAU_EPOCHS = 2
"""A trial whose best epoch is one of the first two never left its initial plateau."""


@dataclass(frozen=True)
class ArmSummary:
    """Summary statistics of an arm.

    Attributes
    ----------
    arm : Arm
    repeats : int
        Number of finished trials.
    missing : int
        Number of planned trials without a result.
    auroc, average_precision : float
        Mean over labels, then over trials; NaN without trials, or if a label is undefined in
        one of them.
    auroc_sd : float
        Standard deviation of the macro AUROC over the trials.
    folds : tuple of float
        Macro AUROC of each trial.
    fifths : tuple of float
        AUROC of the density fifths, densest first.
    undefined : int
        Number of label and fold pairs without a defined AUROC.
    unconverged : int
        Number of trials whose best epoch was the last one allowed or one of the first two (the
        initial plateau): more epochs or patience could change them.
    seconds : float
        Mean wall time of a fit.
    """

    arm: Arm
    repeats: int
    missing: int
    auroc: float
    auroc_sd: float
    average_precision: float
    folds: tuple[float, ...]
    fifths: tuple[float, ...]
    undefined: int
    unconverged: int
    seconds: float


def summarize(
    arms: Sequence[Arm],
    results: Sequence[TrialResult],
    positives: NDArray[np.int64],
    expected: int,
) -> list[ArmSummary]:
    """Summarize the given arms, in their order.

    Parameters
    ----------
    arms : sequence of Arm
    results : sequence of TrialResult
        Finished trials of these arms.
    positives : ndarray of int64, (l,)
        Positives of each label in the whole data set; they define the density fifths.
    expected : int
        Number of trials of a complete arm.
    """
    fifths = density_fifths(positives)
    by_arm: dict[str, dict[Repeat, TrialResult]] = {arm.id: {} for arm in arms}
    for result in results:
        spec = result.spec
        by_arm.get(spec.arm.id, {})[get_repeat(spec)] = result
    return [
        _summarize_arm(
            arm, [trial for _, trial in sorted(by_arm[arm.id].items())], fifths, expected
        )
        for arm in arms
    ]


def _summarize_arm(
    arm: Arm,
    trials: Sequence[TrialResult],
    fifths: NDArray[np.int64],
    expected: int,
) -> ArmSummary:
    folds = [macro_mean(trial.auroc) for trial in trials]
    levels = [fold.value for fold in folds]
    by_fifth = [fifth_means(trial.auroc, fifths) for trial in trials]
    return ArmSummary(
        arm=arm,
        repeats=len(trials),
        missing=expected - len(trials),
        auroc=_mean(levels),
        auroc_sd=_sd(levels),
        average_precision=_mean([macro_mean(trial.average_precision).value for trial in trials]),
        folds=tuple(levels),
        fifths=tuple(float(v) for v in np.mean(by_fifth, axis=0)) if trials else (),
        undefined=sum(fold.undefined for fold in folds),
        unconverged=sum(_is_unconverged(trial) for trial in trials),
        seconds=_mean([trial.seconds for trial in trials]),
    )


def _is_unconverged(trial: TrialResult) -> bool:
    if "best_epoch" not in trial.counts:  # the trial averages others and trained nothing
        return False
    best = trial.counts["best_epoch"]
    return best <= PLATEAU_EPOCHS or best >= trial.spec.arm.training.epochs


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _sd(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


WIDTH = 80
"""Columns of a printed traceback."""
_log = logging.getLogger(__name__)


def format_failures(failures: Iterable[Failure]) -> list[str]:
    """Return one line per cause of failure, with the number of its trials and the first one."""
    by_cause: dict[str, list[str]] = {}
    for failure in sorted(failures, key=lambda failure: failure.trial):
        by_cause.setdefault(failure.cause, []).append(failure.trial)
    return [
        f"failed: {len(trials)} trials, the first {trials[0]}: {cause}"
        for cause, trials in by_cause.items()
    ]


def format_tracebacks(failures: Iterable[Failure]) -> list[str]:
    """Return the tracebacks of failed trials, wrapped at 80 columns.

    A traceback shared by several trials is shown once, under the names of all of them.
    """
    by_traceback: dict[str, list[Failure]] = {}
    for failure in sorted(failures, key=lambda failure: failure.trial):
        by_traceback.setdefault(failure.traceback, []).append(failure)
    lines = []
    for traceback, same_failures in by_traceback.items():
        if traceback:
            names = [f"traceback of {failure.trial} ({failure.id}):" for failure in same_failures]
            lines += ["", *_wrap_lines(names), *_wrap_lines(traceback.splitlines())]
    if not lines:
        return ["there is no traceback: no trial failed unexpectedly"]
    return lines


def _wrap_lines(lines: Iterable[str]) -> list[str]:
    """Break lines at 80 columns; continuation lines are indented by 4 more spaces."""
    broken: list[str] = []
    for line in lines:
        indent = line[: len(line) - len(line.lstrip())][:40]
        wrapped = textwrap.wrap(
            line.strip(), WIDTH, initial_indent=indent, subsequent_indent=indent + "    "
        )
        broken += wrapped or [""]
    return broken


def write_log(home: Storage, task_id: str, name: str, traceback: str) -> None:
    """Write the traceback of a task to ``logs/<task id>.txt`` in the folder of a study.

    Passwords and tokens in URLs are removed. If the storage refuses the file, a warning is
    logged and the launch continues.

    Parameters
    ----------
    home : Storage
        Folder of the study.
    task_id, name : str
        Identity and readable name of the task.
    traceback : str
        Nothing is written if it is empty.
    """
    if not traceback:
        return
    folder, file = home.subfolder(LOGS), re.sub(r"[^\w.+-]+", "-", task_id) + ".txt"
    try:
        folder.write(file, redact(f"{name}\n\n{traceback}").encode())
    except StorageError as error:
        _log.warning("a traceback could not be written: %s", error)
