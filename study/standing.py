"""How far a study is, as text: from its folder alone, so from anywhere that sees the storage."""

from __future__ import annotations

from study.failing import failure_lines, traceback_lines
from study.lock import held_by
from study.reading import study_name
from study.record import open_folder
from study.state import read_state
from study.storage import Storage


def status_text(source: str, storage: str, *, tracebacks: bool = False) -> tuple[str, bool]:
    """Return how far a study is, and whether every trial has finished.

    Parameters
    ----------
    source : str
        Name of a launched study, or its file.
    storage : str
        Folder of results.
    tracebacks : bool
        Add the tracebacks of trials that failed unexpectedly.

    Raises
    ------
    InputError
        There is no such study.
    """
    folder = Storage(storage).below(study_name(source))
    study = open_folder(folder)
    trials = {study.inputs.trial_id(trial) for trial in study.plan.trials()}
    finished = study.ledger.ids() & trials
    failures = study.ledger.failures(trials - finished)
    running = _running_lines(folder)
    missing = len(trials) - len(finished)
    counts = f"{len(finished)} of {len(trials)} trials finished"
    lines = [
        f"{study.spec.name}: {counts}, {len(failures)} failed"
        if failures
        else f"{study.spec.name}: {counts}",
        *(running or ["no launch is running"]),
        *failure_lines(failures),
    ]
    if missing and not running:
        lines.append(f"{missing} trials are missing; launch the study again to run them")
    if tracebacks:
        lines += traceback_lines(failures)
    return "\n".join(lines) + "\n", missing == 0


def _running_lines(storage: Storage) -> list[str]:
    """Say who runs the study and how far the stage is."""
    owner, progress = held_by(storage), read_state(storage)
    if owner is None:
        return []
    stage = [f"stage:   {progress}"] if progress is not None and progress.stage else []
    return [f"launch:  {owner}", *stage]
