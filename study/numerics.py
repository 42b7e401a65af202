"""Settings of torch that change numbers or their cost: the same in every process of a study."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def settled(threads: int) -> Iterator[None]:
    """Fix the number of threads and take subnormal numbers as zero inside a block.

    The number of threads can change the last digits of a sum, so it is a number of the study and
    not of the machine. A published checkpoint holds weights that decay has driven below 1e-38
    (half of a layer in MolCLR's GCN): processors compute with these by microcode, and training
    from them took 13 times as long as training from random weights.

    Parameters
    ----------
    threads : int
        Threads of this process.

    Notes
    -----
    Both belong to the whole process, also to what is no part of a study: with `--no-ray` that is
    the caller's, who gets them back.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # False where the processor cannot: slower, nothing else
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)
