"""A head among others that are trained side by side: its batches, random numbers and history."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from study.course import Rows
from study.errors import TrialError
from study.loop import Diary, joined
from study.stacked_inputs import Table
from study.training import Labelled, pace_of
from study.trial import Ready


class Member(Diary):
    """Draws what a lone training of the trial would draw, batch by batch.

    Attributes
    ----------
    ready : Ready
    generator : Generator
        The masks of its dropout come from it.
    seconds : float
        Its share of the time of those it was trained with.
    """

    def __init__(self, ready: Ready) -> None:
        super().__init__(pace_of(ready.trial.cell.training), ready.trial.torch_seed)
        self.ready = ready
        self.generator = torch.Generator()
        self.seconds = 0.0
        parts = ready.gather, ready.training, ready.validation
        self._course = Labelled(ready.model, *parts, ready.trial.cell.training)
        self._left: list[Rows] = []
        self._seen = 0

    def next_rows(self) -> Rows:
        """Rows of the table in its next batch; after the last one of an epoch comes a new epoch."""
        if not self._left:
            epoch, self._seen = 1 + len(self.losses), 0
            order = torch.Generator().manual_seed(self.drawn_from(epoch))
            self._left = list(joined(self._course, order, self.pace.epoch_steps))[::-1]
            self.generator.manual_seed(self.drawn_from(epoch, 0))
        rows = self.ready.training.rows[self._left.pop()]
        self._seen += len(rows)
        return rows

    @property
    def at_end(self) -> bool:
        """Whether the last batch of an epoch was given out."""
        return not self._left

    def end_epoch(self, total: float, broken: float) -> None:
        """Take in the losses of an epoch: their sum over the molecules, or the first not finite.

        Raises
        ------
        TrialError
            There is one that is not finite.
        """
        if broken != 0:
            self.check_loss(broken, 1 + len(self.losses))
        self.losses.append(total / self._seen)

    def take_in(self, value: float) -> bool:
        """Take in the monitored value; return whether it is the best so far.

        Raises
        ------
        TrialError
            It is not finite, since a score is not.
        """
        if not np.isfinite(value):
            raise TrialError("the model gave a score that is not finite")
        return self.judge(value)


class Tables:
    """Embeddings that members read, each table once on the device.

    Parameters
    ----------
    members : sequence of Member, (m,)
        Their embeddings have the same shapes (n, d).
    device : torch.device
    """

    def __init__(self, members: Sequence[Member], device: torch.device) -> None:
        self._values: dict[str, Tensor] = {}
        self._offsets: dict[str, Tensor] = {}
        for name in members[0].ready.branches:
            tables = [_values(member, name) for member in members]
            distinct = list({id(values): values for values in tables}.values())
            places = {id(values): i * len(values) for i, values in enumerate(distinct)}
            self._values[name] = torch.cat(distinct).to(device)
            starts = [places[id(values)] for values in tables]
            self._offsets[name] = torch.tensor(starts, device=device)

    @property
    def width(self) -> int:
        """Columns of all modalities together."""
        return sum(values.shape[1] for values in self._values.values())

    def rows(self, index: Tensor, members: Sequence[int] | None = None) -> dict[str, Tensor]:
        """Embeddings of rows (k, b) of all or of k members: (k, b, d) a modality."""
        batch = {}
        for name, values in self._values.items():
            offsets = self._offsets[name]
            own = offsets if members is None else offsets[list(members)]
            flat = (index + own[:, None]).flatten()
            batch[name] = values.index_select(0, flat).view(*index.shape, -1)
        return batch

    def keep(self, members: Sequence[int]) -> None:
        """Go on with these members only."""
        self._offsets = {name: starts[list(members)] for name, starts in self._offsets.items()}


def _values(member: Member, name: str) -> Tensor:
    branch = member.ready.branches[name]
    if not isinstance(branch, Table):
        raise TypeError(f"{member.ready.trial}: the embeddings of '{name}' are not ready")
    return branch.values
