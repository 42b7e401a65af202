"""The same heads on one machine of a cluster and on two, each with one core.

Both clusters are of this machine (`ray.cluster_utils.Cluster`: a head without cores and raylets of
one core each), so the two share what memory carries, and the driver has no core of its own. The
time of the trials is what `study status` says; the wall of a launch has its start and end, too.
Run: ``python tests/benchmarks/bench_nodes.py [heads]``.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _bench import machine, say
from _launches import Launched, launched

from study.executors.environment import set_environment
from study.runner.status import read_progress
from study.storage.storage import Storage

HEADS, FOLDS = 40, 4
NODES = (1, 2)


def main() -> int:
    """Print the times of the trials and their ratio."""
    heads = int(sys.argv[1]) if len(sys.argv) > 1 else HEADS
    set_environment()
    say(f"One and two nodes of one core, {heads} heads\n{machine()}")
    spent: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as name:
        for nodes in NODES:
            with _cluster(nodes) as address:
                _run(0, FOLDS, Path(name), address)  # makes the features
                wall = _run(nodes, heads, Path(name), address).wall
            state = read_progress(Storage(f"{name}/studies/nodes_{nodes}"))
            if state is None:
                raise SystemExit("the launch has left no state")
            spent[nodes] = state.seconds
            many = "s" if nodes > 1 else ""
            say(f"{nodes} node{many}: trials {spent[nodes]:.1f} s; the launch {wall:.1f} s")
    ratio = spent[NODES[0]] / spent[NODES[1]]
    say(f"two nodes are {ratio:.2f} times as fast as one (2 at most)")
    return 0


@contextmanager
def _cluster(nodes: int) -> Iterator[str]:
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        yield cluster.address
    finally:
        cluster.shutdown()


def _run(number: int, heads: int, folder: Path, address: str) -> Launched:
    """Launch heads of two seconds or so, each for the same number of epochs."""
    source = {"source": "simulated", "molecules": 3000, "labels": 50, "skew": 2.0}
    content: dict[str, Any] = {
        "name": f"nodes_{number}",
        "data": {"preset": "simulated", "sources": [source]},
        "split": {"folds": FOLDS, "min_positives": 2},
        "grid": [{"features": [["fingerprint"]]}],
        "seeds": [1000 * number + seed for seed in range(max(1, heads // FOLDS))],
        "training": {"epochs": 20, "patience": 20},
    }
    return launched(content, folder, "--no-mlflow", "--address", address)


if __name__ == "__main__":
    sys.exit(main())
