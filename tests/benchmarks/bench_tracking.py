"""What tracking costs a study: a server that is well, stopped, slow, killed; pages of 100 values.

Real launches beside a real tracking server; a trial takes a fixed time, so that walls compare.
Run: ``python tests/benchmarks/bench_tracking.py [seconds of a study, by default 120]``.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from _bench import Row, measure, say, show

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from tracking_pages import Pages
from tracking_servers import MlflowServer, SlowRoad

import study.training.tasks  # noqa: F401 (its time is no part of a wall)
from study.config.loading import check_study
from study.executors.base import LocalExecutor
from study.progress import ProgressCallback
from study.runner.launcher import launch
from study.runner.prepare import prepare, write_study_folder
from study.tracking.mlflow_store import MLflowStore
from study.tracking.pages import ROLE, RunPage

BAR, PAGE_BAR, CALL = 1.10, 0.6, 30.0
FITS = 24
STUDY = {
    "data": {
        "preset": "simulated",
        "sources": [{"source": "simulated", "molecules": 80, "labels": 6, "skew": 2.0}],
    },
    "split": {"folds": 2, "min_positives": 2},
    "seeds": [0, 1, 2],
    "grid": [
        {"features": [["fingerprint"], ["descriptors"]]},
        {"features": [["descriptors", "fingerprint"]], "technique": ["mlp_head", "label_balancer"]},
    ],
    "modalities": {"descriptors": {"modality": "fingerprint", "radius": 1}},
    "training": {"epochs": 2, "patience": 2, "epoch_steps": 1, "hidden": [8]},
}
At = Mapping[int, Callable[[], object]]


class Slowly(ProgressCallback):
    """Lets every trial take its time; after some of them something happens."""

    def __init__(self, seconds: float, at: At) -> None:
        self._seconds, self._at, self._stage, self._done = seconds, at, "", 0

    def stage(self, name: str, total: int) -> None:  # noqa: ARG002 (contract)
        self._stage = name

    def advance(self, note: str = "", *, pieces: int = 1, failed: int = 0) -> None:  # noqa: ARG002 (contract)
        for _ in range(pieces if self._stage == "trials" else 0):
            self._done += 1
            self._at.get(self._done, lambda: None)()
            time.sleep(self._seconds)

    def note(self, text: str) -> None:
        say(f"    {text}")


def main() -> int:
    """Print the tables; 1 where a bar was missed."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 120.0
    with tempfile.TemporaryDirectory() as folder:
        server = MlflowServer(f"sqlite:///{folder}/mlflow.db", Path(folder))
        try:
            missed = _troubles(server, Path(folder), seconds / FITS)
            return missed | _values(server, Path(folder))
        finally:
            server.close()


def _troubles(server: MlflowServer, folder: Path, seconds: float) -> int:
    road = SlowRoad(server.port)

    def slow(delay: float) -> Callable[[], None]:
        return lambda: setattr(road, "delay", delay)

    def sent(number: signal.Signals) -> Callable[[], None]:
        return lambda: server.signal(number)

    ways: dict[str, tuple[str | None, At]] = {
        "no pages": (None, {}),
        "a server that is well": (server.uri, {}),
        "stopped for 12 of 24 trials": (
            server.uri,
            {3: sent(signal.SIGSTOP), 15: sent(signal.SIGCONT)},
        ),
        f"{CALL:g} s more a call for 12 of 24 trials": (road.uri, {3: slow(CALL), 15: slow(0)}),
        "killed, started again 4 trials later": (
            server.uri,
            {6: sent(signal.SIGKILL), 10: threading.Thread(target=server.start).start},
        ),
    }
    walls = {}
    for number, (way, (uri, at)) in enumerate(ways.items()):
        say(f"{way} ...")
        walls[way] = _wall(f"study_{number}", folder, uri, seconds, at)
    say("")
    alone = walls["no pages"]
    for way, wall in walls.items():
        word = "kept" if wall <= BAR * alone else "MISSED"
        say(f"{way:<44}{wall:7.1f} s  x {wall / alone:.3f}  bar {BAR:.2f} {word}")
    say("")
    return int(any(wall > BAR * alone for wall in walls.values()))


def _wall(name: str, folder: Path, uri: str | None, seconds: float, at: At) -> float:
    """Return the wall time of a launch, from its first question to its last page."""
    run = {"storage": str(folder / "store" / name)}
    study = prepare(check_study({**STUDY, "name": name, "run": run}, "the benchmark"))
    write_study_folder(study)
    slowly = Slowly(seconds, at)
    began = time.monotonic()
    tracker = MLflowStore(uri, "unused") if uri else None
    launch(study, LocalExecutor(), tracker, slowly)
    wall = time.monotonic() - began
    if tracker is not None:
        shown = Pages(tracker).shown(name)
        complete = len(shown) == len(study.plan.arms) + 1
        if not complete or {status for status, *_ in shown.values()} != {"FINISHED"}:
            raise SystemExit(f"the pages of {name} are not complete: {shown}")
    return wall


def _values(server: MlflowServer, folder: Path) -> int:
    """Four pages of 100 values that are due at once, as the driver writes them."""
    rows = []
    database = f"sqlite:///{folder / 'own.db'}"
    for place, uri in {"SQLite": database, "a server": server.uri}.items():
        tracker = MLflowStore(uri, str(folder / "artifacts"))
        experiment = tracker.open_experiment("values")
        values = [(f"metric_{number}", float(number), 0) for number in range(100)]
        page = RunPage("a trial", {ROLE: "cell"}, {}, values, lambda _: None)
        cost = measure(
            lambda t=tracker, e=experiment, p=page: [t.write_run(e, p) for _ in range(4)], 3
        )
        rows.append(Row(f"{place}: a page of 100 values, 4 due", cost.per(4), bar=PAGE_BAR))
    return show("Pages of 100 values", rows)


if __name__ == "__main__":
    sys.exit(main())
