"""Data-parallel training: the process group, its device, and torch's settings."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch

# Functions of this module hold the process group that exists at import as a default argument, and
# so keep it alive. DistributedDataParallel imports the module; import it here, before any group.
import torch.distributed.nn
from numpy.typing import NDArray
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from study.errors import OutOfMemoryError, PeerLostError, StudyError
from study.executors.timeouts import TimeLimitError, call_within


@contextmanager
def torch_settings(threads: int) -> Iterator[None]:
    """Set the number of threads and flush subnormal numbers to zero inside the block.

    The number of threads can change the last digits of a sum, so it is a setting of the study and
    not of the machine. Published checkpoints hold weights that decay has driven below 1e-38
    (half of a layer in MolCLR's GCN). Processors handle these subnormal numbers in microcode, and
    training from them took 13 times as long as training from random weights.

    Parameters
    ----------
    threads : int
        Threads of this process.

    Notes
    -----
    Both settings apply to the whole process, which with `--no-ray` is the caller's. They are
    restored at the end of the block.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # returns False where unsupported: slower, same results
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)


PATIENCE = 10.0
"""Seconds that a process waits after an error for the others to reach the barrier."""


@dataclass(frozen=True)
class ProcessGroup:
    """A process's rank in a data-parallel training, and its device.

    Attributes
    ----------
    rank, size : int
        Number of this process, and the number of processes.
    device : torch.device
        Device of its replica.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009 (a torch.device never changes)

    @property
    def is_first(self) -> bool:
        """Whether this process validates, saves checkpoints and writes results."""
        return self.rank == 0

    def share(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return this process's part of a global batch; empty if the batch is smaller than size."""
        return rows[self.rank :: self.size]

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return a replica that averages gradients over all processes; with one, the module itself.

        On GPUs batch norm is synchronized (converted in place). On CPUs torch has no synchronized
        batch norm: every worker normalizes its own share of the batch, and the running statistics
        of the first process are kept.

        The returned module must be the only reference to the process group besides its owner's:
        a group that outlives ``destroy_process_group`` keeps its threads, and one that frees a
        tensor during interpreter shutdown aborts the process (SIGABRT).
        """
        if self.size == 1:
            return module
        if self.device.type == "cuda":
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        # An encoder may have weights that its output does not use (an unused pooler).
        replica = DistributedDataParallel(module, find_unused_parameters=True)
        # The first call imports torch's compiler, where caught exceptions form reference cycles
        # with the frames of this call, and so with the replica and its process group.
        gc.collect()
        return replica

    def agree(self, value: float) -> float:
        """Return the first process's value on every process."""
        if self.size == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        distributed.broadcast(shared, src=0)
        return float(shared.item())

    def total(self, values: Sequence[float]) -> list[float]:
        """Return the sums over all processes."""
        if self.size == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(shared)
        return [float(value) for value in shared.tolist()]

    def barrier(self) -> None:
        """Wait until every process has reached this call."""
        if self.size > 1:
            self.agree(0.0)

    @contextmanager
    def named_errors(self) -> Iterator[None]:
        """Translate torch's general exceptions into those that executors know.

        Raises
        ------
        OutOfMemoryError
            The GPU has no memory left.
        PeerLostError
            Another process of the group has died.
        """
        try:
            yield
        except StudyError:
            raise
        except torch.OutOfMemoryError as error:
            raise OutOfMemoryError(str(error)) from error
        except RuntimeError as error:
            if self.size > 1 and _is_peer_lost(error):
                raise PeerLostError(str(error).splitlines()[-1][:300]) from error
            raise


def _is_peer_lost(error: RuntimeError) -> bool:
    """Return whether an error in a process group was caused by the death of another process.

    gloo then raises a plain RuntimeError, as any operation may. A barrier tells them apart: it
    fails at once if a connection is broken, passes if every process raised the same error, and
    times out if the others are alive and still compute.
    """
    if isinstance(error, distributed.DistError):
        return True
    if distributed.get_backend() != "gloo":
        return False
    wait = timedelta(seconds=2 * PATIENCE)  # applies to the first process; the others wait longer
    try:
        call_within(PATIENCE, lambda: distributed.monitored_barrier(timeout=wait))
    except TimeLimitError:
        return False
    except RuntimeError:
        return True
    return False


def current_process_group(*, gpu: bool = False) -> ProcessGroup:
    """Return torch's process group in this process, or a group of one if there is none.

    Parameters
    ----------
    gpu : bool
        Whether the training runs on a GPU.

    Raises
    ------
    StudyError
        `gpu` is true and torch finds no GPU: training never falls back to the CPU silently.
    """
    grouped = distributed.is_available() and distributed.is_initialized()
    rank, size = (distributed.get_rank(), distributed.get_world_size()) if grouped else (0, 1)
    return ProcessGroup(rank, size, _select_gpu() if gpu else torch.device("cpu"))


def _select_gpu() -> torch.device:
    """Return this process's GPU, by its local rank among the processes of the machine."""
    if not torch.cuda.is_available():
        raise StudyError(
            "the training needs a GPU and torch finds none (torch.cuda.is_available() is "
            "False); set 'run.gpus_per_worker' to 0, or install torch for the GPU of this machine"
        )
    local = int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count()
    device = torch.device("cuda", local)
    torch.cuda.set_device(device)
    return device
