"""Members trained together in one batched computation, each to its own early stop."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor

from fusion._stacked import Stack, Stacked, stacked_weights
from fusion._stacked_adamw import StackedAdamW
from study.errors import TrialError
from study.inputs import Inputs
from study.stacked_auroc import stacked_auroc
from study.stacked_members import Member, Tables
from study.training import judged, macro

VALUES = 2**26
"""Most numbers of a batch of validation rows: 256 MiB."""


def train_together(
    members: Sequence[Member], inputs: Inputs, device: torch.device
) -> Iterator[tuple[Member, TrialError | None]]:
    """Train members of one shape; yield each as it stops, with its best weights in its model.

    Parameters
    ----------
    members : sequence of Member
        Of equal shapes, precision and kind of partition; everything else is a member's own.
    inputs : Inputs
    device : torch.device
    """
    together = _Together(members, inputs, device)
    while together.members:
        together.step()
        yield from together.stopped()


class _Together:
    """The members that are still trained: place i of every tensor is member i."""

    def __init__(self, members: Sequence[Member], inputs: Inputs, device: torch.device) -> None:
        self.members, self.device = list(members), device
        models = [member.ready.model for member in members]
        self._stack = Stack(models, members[0].ready.dims, device)
        numbers = [member.ready.trial.cell.training for member in members]
        self._optimizer = StackedAdamW(
            stacked_weights(models, device),
            [own.learning_rate for own in numbers],
            [own.weight_decay for own in numbers],
            [own.average for own in numbers],
            compiled=device.type == "cuda",
        )
        self._best: Stacked = {name: v.clone() for name, v in self._optimizer.averaged.items()}
        self._tables = Tables(members, device)
        self._labels = torch.from_numpy(np.array(inputs.dataset.labels)).to(device)
        self._totals = torch.zeros(len(members), dtype=torch.float64, device=device)
        self._broken = torch.zeros(len(members), device=device)  # the first loss not finite
        self._precision = numbers[0].precision
        self._clock = time.perf_counter()

    def step(self) -> None:
        """Take the next step of every member."""
        rows = [member.next_rows() for member in self.members]
        counts = [len(own) for own in rows]
        index = self._index(rows)
        sizes = torch.tensor(counts, device=self.device)
        filled = torch.arange(index.shape[1], device=self.device) < sizes[:, None]
        generators = [member.generator for member in self.members]
        drawn = {**self._stack.noise(counts, generators), **self._stack.owners()}
        weights = {n: v.detach().requires_grad_() for n, v in self._optimizer.weights.items()}
        with self._autocast():
            losses = self._stack.losses(
                weights,
                self._tables.rows(index),
                self._labels[index].float(),
                filled / sizes[:, None],
                drawn,
            )
        gradients = torch.autograd.grad(losses.sum(), list(weights.values()))
        self._optimizer.step(dict(zip(weights, gradients, strict=True)))
        self._note(losses.detach(), sizes)

    def _note(self, losses: Tensor, sizes: Tensor) -> None:
        """Add up the losses on the device: nobody waits for it before an epoch has ended."""
        self._totals += losses.double() * sizes
        first = (self._broken == 0) & ~losses.isfinite()
        self._broken = torch.where(first, losses, self._broken)

    def _index(self, rows: Sequence[np.ndarray[tuple[int], np.dtype[np.int64]]]) -> Tensor:
        """Rows (m, b), the short ones filled up with their first row."""
        index = np.empty((len(rows), max(map(len, rows))), dtype=np.int64)
        for place, own in zip(index, rows, strict=True):
            place[: len(own)], place[len(own) :] = own, own[0]
        return torch.from_numpy(index).to(self.device)

    def _autocast(self) -> AbstractContextManager[object]:
        if self._precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=getattr(torch, self._precision))

    def stopped(self) -> list[tuple[Member, TrialError | None]]:
        """Close the epochs that have ended; return the members that stop, and forget them."""
        ending = [i for i, member in enumerate(self.members) if member.at_end]
        if not ending:
            return []
        failed = self._close_losses(ending)
        values = self._monitored([i for i in ending if i not in failed])
        better = []
        for i, value in values.items():
            try:
                if self.members[i].take_in(value):
                    better.append(i)
            except TrialError as error:
                failed[i] = error
        for name, best in self._best.items():
            best[better] = self._optimizer.averaged[name][better]
        self._share_time()
        return self._let_go([i for i in ending if i in failed or self.members[i].ended], failed)

    def _close_losses(self, ending: Sequence[int]) -> dict[int, TrialError]:
        failed = {}
        totals, broken = self._totals.tolist(), self._broken.tolist()
        for i in ending:
            try:
                self.members[i].end_epoch(totals[i], broken[i])
            except TrialError as error:
                failed[i] = error
        self._totals[list(ending)] = 0
        return failed

    def _monitored(self, ending: Sequence[int]) -> Mapping[int, float]:
        """Validate some members; those with equally many rows are scored together."""
        by_count: dict[int, list[int]] = {}
        for i in ending:
            by_count.setdefault(len(self.members[i].ready.validation.rows), []).append(i)
        values: dict[int, float] = {}
        for count, places in by_count.items():
            most = max(1, VALUES // (count * self._tables.width))
            for start in range(0, len(places), most):
                some = places[start : start + most]
                values.update(zip(some, self._values(some), strict=True))
        return values

    def _values(self, places: Sequence[int]) -> list[float]:
        """Validate members with equally many validation rows; NaN where a score is not finite."""
        members = [self.members[i] for i in places]
        index = self._index([member.ready.validation.rows for member in members])
        rows = self._tables.rows(index, places)
        scores = self._stack.evaluate(self._optimizer.averaged, rows, places).sigmoid()
        finite = scores.isfinite().flatten(1).all(1).tolist()
        areas = stacked_auroc(self._labels[index], scores).cpu().numpy()
        values = []
        for member, whole, area, own in zip(members, finite, areas, scores, strict=True):
            if not whole:
                values.append(float("nan"))
            elif member.ready.trial.cell.training.monitor == "auroc":
                values.append(macro(area))
            else:
                values.append(judged(own.cpu().numpy(), member.ready.validation, None))
        return values

    def _let_go(
        self, places: Sequence[int], failed: Mapping[int, TrialError]
    ) -> list[tuple[Member, TrialError | None]]:
        """Give members their best weights, and take them out of the computation."""
        gone = [(self.members[i], failed.get(i)) for i in places]
        for i in places:
            own = {name: best[i] for name, best in self._best.items()}
            self.members[i].ready.model.load_state_dict(own, strict=False)
        if places:
            left = [i for i in range(len(self.members)) if i not in set(places)]
            self.members = [self.members[i] for i in left]
            for part in (self._stack, self._optimizer, self._tables):
                part.keep(left)
            self._best = {name: best[left] for name, best in self._best.items()}
            self._totals, self._broken = self._totals[left], self._broken[left]
        return gone

    def _share_time(self) -> None:
        """Let each member have its share of the time since the last call."""
        now = time.perf_counter()
        for member in self.members:
            member.seconds += (now - self._clock) / len(self.members)
        self._clock = now
