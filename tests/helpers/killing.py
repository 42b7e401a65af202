"""Launches a study in forked processes and kills them at the n-th touch of ledger or pages.

Run as a script: ``killing.py SCENARIO FOLDER DATABASE PART PARTS``. Everything is imported once and
each launch is a fork. Prints one JSON object with every PARTS-th case, from PART on.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow.tracking import MlflowClient

from study.api import load_results
from study.config.loading import check_study
from study.config.study import StudySpec
from study.results.ledger import Failure, Ledger
from study.runner.launcher import LaunchOptions, run_study
from study.storage.checksums import LedgerError
from study.storage.storage import Storage
from study.training import trial as _trial  # noqa: F401 (torch: imported before the forks)

STUDY: dict[str, Any] = {
    "name": "tiny",
    "data": {
        "preset": "simulated",
        "sources": [{"source": "simulated", "molecules": 60, "labels": 5, "skew": 2.0}],
    },
    "split": {"folds": 2, "min_positives": 2},
    "modalities": {"counts": {"modality": "fingerprint", "size": 64, "radius": 1}},
    "grid": [
        {
            "features": [["counts", "fingerprint"]],
            "technique": ["mlp_head", "independent_mean"],
        },
    ],
    "training": {"epochs": 1, "epoch_steps": 1, "hidden": [4]},
}
FILES = ("replace", "rename", "link", "unlink", "fsync")
CALLS = ("create_run", "log_batch", "log_artifacts", "set_terminated", "delete_run", "log_inputs")


class Fuse:
    """Counts touches of a ledger and of pages; the n-th one kills the process."""

    def __init__(self, ledger: Path, at: int) -> None:
        self._ledger, self._at = str(ledger), at
        self.names: list[str] = []

    def touch(self, name: str) -> None:
        self.names.append(name)
        if len(self.names) == self._at:
            os.kill(os.getpid(), signal.SIGKILL)

    def lay(self) -> None:
        """Set the fuse to every function that changes a file of the ledger or a page."""
        for name in FILES:
            setattr(os, name, self._on_file(name, getattr(os, name)))
        for name in CALLS:
            setattr(MlflowClient, name, self._on_call(name, getattr(MlflowClient, name)))

    def _on_file(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def touched(target: Any, *rest: Any, **named: Any) -> Any:
            at = Path(f"/proc/self/fd/{target}").readlink() if name == "fsync" else target
            if str(at).startswith(self._ledger):
                self.touch(name)
            return real(target, *rest, **named)

        return touched

    def _on_call(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def touched(*rest: Any, **named: Any) -> Any:
            self.touch(name)
            return real(*rest, **named)

        return touched


def forked(work: Callable[[], object], told: Path) -> int:
    """Do work in a fork of this process; return its wait status. Its value goes to a file."""
    child = os.fork()
    if child == 0:
        output = io.StringIO()
        code = 1
        try:
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                value = work()
            told.write_text(json.dumps([value, output.getvalue()]), encoding="utf-8")
            code = 0
        except BaseException as error:  # noqa: BLE001 (a fork must not run the parent's code)
            told.write_text(json.dumps([repr(error), output.getvalue()]), encoding="utf-8")
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def launch(spec: StudySpec, ledger: Path, at: int) -> list[str]:
    """Launch here with a fuse; return the touches."""
    fuse = Fuse(ledger, at)
    fuse.lay()
    if not run_study(spec, LaunchOptions(ray=False)):
        raise RuntimeError("the study is not complete")
    return fuse.names


def records(ledger: Path) -> dict[str, tuple[int, int]]:
    """Every finished trial with a sound record: its file and when it was written."""
    found = [path for path in ledger.glob("*.trial") if sound(path)]
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def sound(path: Path) -> bool:
    try:
        Ledger(Storage(str(path.parent))).get(path.stem)
    except LedgerError:
        return False
    return True


def table(store: Path) -> str:
    return load_results("tiny", str(store)).arms().to_csv(index=False)


def shown(store: Path) -> dict[str, int]:
    """How many pages there are, by role and status."""
    client = MlflowClient(f"sqlite:///{store / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tiny")
    counts: dict[str, int] = {}
    for run in client.search_runs([experiment.experiment_id]):
        key = f"{run.data.tags['olfaction.role']} {run.info.status}"
        counts[key] = counts.get(key, 0) + 1
    return counts


def begin(store: Path, database: Path) -> StudySpec:
    """Make a storage with empty pages, and the study in it."""
    store.mkdir()
    shutil.copy(database, store / "mlflow.db")
    return check_study({**STUDY, "run": {"storage": str(store)}}, "tiny")


def fresh(store: Path, database: Path) -> StudySpec:
    """Nothing has run."""
    return begin(store, database)


def mended(store: Path, database: Path) -> StudySpec:
    """All has run; one record was damaged since, and one lost and its failure written."""
    spec = begin(store, database)
    forked(lambda: launch(spec, store / "ledger", 0), store / "told.json")
    damaged, lost = sorted((store / "ledger").glob("*.trial"))[:2]
    damaged.write_bytes(damaged.read_bytes()[:-7])
    lost.unlink()
    Ledger(Storage(str(store / "ledger"))).put_failure(Failure(lost.stem, "a trial", "a cause"))
    return spec


def case(scenario: str, folder: Path, database: Path, at: int) -> dict[str, Any]:
    """Kill a launch at a touch (0: never), launch again, and say what is left."""
    store = folder / f"{scenario}-{at}"
    spec = {"fresh": fresh, "mended": mended}[scenario](store, database)
    told, ledger = store / "told.json", store / "ledger"
    status = forked(lambda: launch(spec, ledger, at), told)
    killed = os.WIFSIGNALED(status)
    short = not killed and len(json.loads(told.read_text(encoding="utf-8"))[0]) < at
    before = records(ledger)
    again = forked(lambda: launch(spec, ledger, 0), told) if at else status
    value, output = json.loads(told.read_text(encoding="utf-8"))
    after = records(ledger)
    forked(lambda: [table(store), shown(store)], told)
    (text, pages), _ = json.loads(told.read_text(encoding="utf-8"))
    found = {
        "at": at,
        "killed": killed,
        "short": short,  # it ended before the touch: how often pages are written goes by the clock
        "again": again,
        "said": output if again else "",
        "touches": value,
        "redone": [name for name, mark in before.items() if after.get(name) != mark],
        "records": len(after),
        "failures": len(list(ledger.glob("*.failed.json"))),
        "table": text,
        "pages": pages,
    }
    shutil.rmtree(store)
    return found


def main(scenario: str, folder: Path, database: Path, part: int, parts: int) -> None:
    whole = case(scenario, folder, database, 0)
    ends = range(1 + part, len(whole["touches"]) + 1, parts)
    cases = [case(scenario, folder, database, at) for at in ends]
    print(json.dumps({"whole": whole, "cases": cases}))  # noqa: T201 (what the test reads)


if __name__ == "__main__":
    words, numbers = sys.argv[1:4], sys.argv[4:]
    main(words[0], Path(words[1]), Path(words[2]), *map(int, numbers))
