"""Processes that train together: the process group, its device, torch's settings."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch

# Its functions keep the process group that exists when it is imported, as a default argument, for
# ever. DistributedDataParallel imports it: without this line that would happen inside a group.
import torch.distributed.nn
from numpy.typing import NDArray
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from study.errors import OutOfMemoryError, PeerLostError, StudyError
from study.executors.timeouts import TimeLimitError, call_within


@contextmanager
def torch_settings(threads: int) -> Iterator[None]:
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


PATIENCE = 10.0
"""Seconds in which every process that lives has to meet the others after an error."""


@dataclass(frozen=True)
class ProcessGroup:
    """The place of a process in a data-parallel training.

    Attributes
    ----------
    rank, size : int
        Number of this process, and how many there are.
    device : torch.device
        Where its replica lives.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009 (a torch.device never changes)

    @property
    def is_first(self) -> bool:
        """Whether this process validates, keeps checkpoints and writes results."""
        return self.rank == 0

    def share(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return this process's part of a global batch; empty if the batch is smaller than size."""
        return rows[self.rank :: self.size]

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return the module that averages gradients over the replicas; itself if it is alone.

        On GPUs batch norm is synchronized (converted in place). On CPUs torch has no such norm:
        every worker normalizes its own share, and the running statistics are the first one's.

        Once the caller has dropped the returned module, nothing keeps the process group alive but
        its owner. A group that outlives ``destroy_process_group`` keeps its threads; one that lets
        go of a tensor while the interpreter ends aborts the process (SIGABRT).
        """
        if self.size == 1:
            return module
        if self.device.type == "cuda":
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        # An encoder may own weights that its output does not use (a pooler that is left aside).
        replica = DistributedDataParallel(module, find_unused_parameters=True)
        # The first one imports torch's compiler, where caught exceptions refer to themselves and so
        # to the frames of this call, in which the replica and its process group are.
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
        """Wait until every process is here."""
        if self.size > 1:
            self.agree(0.0)

    @contextmanager
    def named_errors(self) -> Iterator[None]:
        """Raise what torch says with a general exception as one that an executor understands.

        Raises
        ------
        OutOfMemoryError
            The GPU has no memory left.
        PeerLostError
            The exchange with another process broke off, since that process has died.
        """
        try:
            yield
        except StudyError:
            raise
        except torch.OutOfMemoryError as error:
            raise OutOfMemoryError(str(error)) from error
        except RuntimeError as error:
            if self.size > 1 and _has_lost_a_peer(error):
                raise PeerLostError(str(error).splitlines()[-1][:300]) from error
            raise


def _has_lost_a_peer(error: RuntimeError) -> bool:
    """Return whether an error in a process group comes of the death of another process.

    gloo raises a plain RuntimeError then, as any operation may. So all processes meet at a
    barrier: a broken connection breaks it at once. It is passed where the same error was raised
    in each of them, and waits in vain where the others live and compute.
    """
    if isinstance(error, distributed.DistError):
        return True
    if distributed.get_backend() != "gloo":
        return False
    wait = timedelta(seconds=2 * PATIENCE)  # of the first process; the others would wait on
    try:
        call_within(PATIENCE, lambda: distributed.monitored_barrier(timeout=wait))
    except TimeLimitError:
        return False
    except RuntimeError:
        return True
    return False


def current_process_group(*, gpu: bool = False) -> ProcessGroup:
    """Return the place of this process: alone, or in the process group that was set up for it.

    Parameters
    ----------
    gpu : bool
        Whether the training was given a GPU.

    Raises
    ------
    StudyError
        A GPU is asked for and torch finds none: a training never moves to the CPU by itself.
    """
    grouped = distributed.is_available() and distributed.is_initialized()
    rank, size = (distributed.get_rank(), distributed.get_world_size()) if grouped else (0, 1)
    return ProcessGroup(rank, size, _gpu() if gpu else torch.device("cpu"))


def _gpu() -> torch.device:
    """Return this process's GPU: launchers number the processes of one machine."""
    if not torch.cuda.is_available():
        raise StudyError(
            "the training was given a GPU and torch finds none (torch.cuda.is_available() is "
            "False); set 'run.gpus_per_worker' to 0, or install torch for the GPU of this machine"
        )
    local = int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count()
    device = torch.device("cuda", local)
    torch.cuda.set_device(device)
    return device
