"""One of two processes of a gloo group, which says what it raises; `test_crews` reads it.

Usage: python peer.py FILE RANK FAULT: the second process dies, or both make the same mistake.
"""

from __future__ import annotations

import os
import sys

import torch
from torch import distributed, nn

from study.training.distributed import ProcessGroup, current_process_group


def fail(ranks: ProcessGroup, fault: str) -> None:
    """Do what a training does until something goes wrong."""
    ranks.barrier()
    if fault == "fails":
        torch.zeros(3) @ torch.zeros(4)
    model = ranks.wrap(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)))
    for step in range(20):
        if ranks.rank == 1 and (step == 3 or fault == "dies"):
            os._exit(0)
        if fault == "dies":
            ranks.total([1.0])
        model(torch.randn(8, 4)).sum().backward()


def main(file: str, rank: str, fault: str) -> None:
    distributed.init_process_group(
        "gloo", init_method=f"file://{file}", rank=int(rank), world_size=2
    )
    ranks = current_process_group()
    try:
        with ranks.named_errors():
            fail(ranks, fault)
    except Exception as error:  # noqa: BLE001 (its type is what the test reads)
        sys.stdout.write(type(error).__name__)
        sys.stdout.flush()
    os._exit(0)  # a group whose member has died cannot be torn down


if __name__ == "__main__":
    main(*sys.argv[1:])
