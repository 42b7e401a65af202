"""What it costs to run a trial that does nothing, beside plain Ray Tune and Optuna.

Run: ``python tests/benchmarks/bench_orchestration.py [--trials 200]``. All in one call on one
machine. CPU-seconds are those of the driver and of every process of Ray, and per trial they are
the slope between a short and a long grid, so the start of Ray and of a grid does not count. The
overhead is the wall time of one-second trials, two at a time, over what they need at least.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from _bench import machine, say
from _processes import Family, family, memory_line

from study.executors.base import ResultCallback, Task, TaskResult
from study.executors.ray import RayExecutor, ray, tune  # Ray after its environment is set

HERE = Path(__file__).parent
CPU_BAR, OVERHEAD_BAR = 0.2, 0.15
CORES = 2
Grid = Callable[[int, float], None]
"""Run so many trials of so many seconds."""


@dataclass(frozen=True)
class Rival:
    """A way to run a grid, and how many trials it is given here: the slow ones get fewer."""

    name: str
    grid: Grid
    short: int
    long: int
    waits: int


def main() -> int:
    """Print the table; 1 if ours missed a bar."""
    trials = _trials()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    folder = Path(tempfile.mkdtemp())
    with family() as processes:
        executor = RayExecutor("local")
        rivals = [
            Rival("olfaction-study", _ours(executor, folder), 20, 120, trials),
            Rival("Ray Tune, reuse_actors", _tune(folder, reuse=True), 20, 120, trials // 4),
            Rival("Ray Tune, as it is", _tune(folder, reuse=False), 4, 12, trials // 10),
            Rival("Optuna, SQLite, 2 threads", _optuna(folder), 20, 120, trials),
        ]
        say(f"Orchestration\n{machine()}")
        say(f"{'':<28}{'CPU s a no-op trial':>20}{'overhead':>10}  of so many 1 s trials")
        figures = {}
        for rival in rivals:
            figures[rival.name] = _figures(rival, processes)
            if rival is rivals[0]:
                say(f"    at most {memory_line(processes.peaks())}")
        executor.close()
    shutil.rmtree(folder)
    cpu, overhead = figures["olfaction-study"]
    for name, bar, value in (("CPU s", CPU_BAR, cpu), ("overhead", OVERHEAD_BAR, overhead)):
        say(f"bar {name} {bar:g}: {'kept' if value <= bar else 'MISSED'} ({value:.3f})")
    return int(cpu > CPU_BAR or overhead > OVERHEAD_BAR)


def _trials() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=200, help="one-second trials of ours")
    return int(parser.parse_args().trials)


def _figures(rival: Rival, processes: Family) -> tuple[float, float]:
    rival.grid(4, 0.0)  # what is made once
    spent = []
    for count in (rival.short, rival.long):
        before = processes.cpu_seconds()
        rival.grid(count, 0.0)
        spent.append(processes.cpu_seconds() - before)
    cpu = (spent[1] - spent[0]) / (rival.long - rival.short)
    began = time.perf_counter()
    rival.grid(rival.waits, 1.0)
    overhead = (time.perf_counter() - began) / (rival.waits / CORES) - 1
    say(f"{rival.name:<28}{cpu:>20.3f}{overhead:>10.1%}  {rival.waits}")
    return cpu, overhead


def _ours(executor: RayExecutor, folder: Path) -> Grid:
    def grid(count: int, seconds: float) -> None:
        work = "idle_work:wait" if seconds else "idle_work:nothing"
        tasks = [Task(f"t{n}", work, {"n": n, "seconds": seconds}) for n in range(count)]
        found: list[TaskResult] = []
        executor.grid(tasks, ResultCallback(found.append), folder=str(folder / "ours"))
        if not all(outcome.finished for outcome in found) or len(found) != count:
            raise RuntimeError(f"{len(found)} outcomes of {count}")

    return grid


class _Trial(tune.Trainable):
    def setup(self, config: dict[str, float]) -> None:
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, float]) -> bool:
        self._seconds = new_config["seconds"]
        return True

    def step(self) -> dict[str, bool]:
        if self._seconds:
            time.sleep(self._seconds)
        return {"done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing."""

    def load_checkpoint(self, checkpoint: dict[str, object] | None) -> None:
        """Nothing."""


def _tune(folder: Path, *, reuse: bool) -> Grid:
    def grid(count: int, seconds: float) -> None:
        tune.Tuner(
            tune.with_resources(_Trial, {"CPU": 1}),
            param_space={"n": tune.grid_search(list(range(count))), "seconds": seconds},
            tune_config=tune.TuneConfig(reuse_actors=reuse),
            run_config=tune.RunConfig(storage_path=str(folder / "tune"), verbose=0),
        ).fit()

    return grid


def _optuna(folder: Path) -> Grid:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def grid(count: int, seconds: float) -> None:
        def objective(trial: optuna.Trial) -> float:
            if seconds:
                time.sleep(seconds)
            return trial.suggest_float("x", 0, 1)

        study = optuna.create_study(storage=f"sqlite:///{folder / 'optuna.db'}")
        study.optimize(objective, n_trials=count, n_jobs=CORES)

    return grid


if __name__ == "__main__":
    status = main()
    ray.shutdown()
    sys.exit(status)
