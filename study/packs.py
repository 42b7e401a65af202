"""Which head trials run together: one process reads what they share and trains them all."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise

from study.cells import Cell, TrialSpec
from study.inputs import Inputs

WIDTH = 2048
"""Columns of an embedding whose width is not given: no fewer than those shipped have."""
COPIES = 8
"""Tensors as large as the weights of a member: gradient, moments, average, best, spare."""


def stackable(trial: TrialSpec) -> bool:
    """Whether a trial trains a head alone, on embeddings that are ready, with given numbers.

    The others run by themselves: those that train encoders too, choose their numbers, or train
    nothing (``independent_mean``); and float16, whose loss is scaled from step to step.
    """
    cell = trial.cell
    single = cell.technique != "independent_mean" and not cell.joint and cell.search is None
    return single and cell.training.precision != "float16"


def place_of(trial: TrialSpec) -> tuple[int, int, float]:
    """Return what the embeddings of a trial are standardized on: repeat, fold, fraction."""
    return trial.repeat, trial.fold, trial.cell.fraction


def packs_of(
    trials: Mapping[str, TrialSpec],
    inputs: Inputs,
    memory: int,
    *,
    widths: Mapping[str, int] | None = None,
    fewest: int = 1,
) -> list[tuple[str, ...]]:
    """Deal trials into packs of members with equal shapes that fit into the memory of a device.

    Members of a pack share tables of embeddings, so that neighbors in a pack come from the same
    fold. A trial that is not `stackable` is a pack of its own.

    Parameters
    ----------
    trials : mapping of id to TrialSpec
    inputs : Inputs
    memory : int
        Bytes that the members and tables of a pack may take together.
    widths : mapping of feature key to int, optional
        Columns of each embedding, where they are known.
    fewest : int
        Packs that there should be at least, so that every process has some: as long as there are
        so many trials.

    Returns
    -------
    list of tuple of str
        Ids; every trial is in one pack. One member at least is in each, whatever it takes.
    """
    alike: dict[Hashable, list[str]] = {}
    for key, trial in sorted(trials.items(), key=lambda pair: (place_of(pair[1]), pair[0])):
        alike.setdefault(shape_of(trial.cell) if stackable(trial) else key, []).append(key)
    most = max(1, len(trials) // max(1, fewest))
    sizes = _Sizes(inputs, widths or {})
    return [pack for ids in alike.values() for pack in _cut(ids, trials, memory, most, sizes)]


def shape_of(cell: Cell) -> Hashable:
    """Return what members of a pack have in common; numbers, owners and rows are their own."""
    numbers, partition = cell.training, cell.partition
    return (
        tuple(feature.key for feature in cell.features),
        cell.technique,
        str(cell.fusion),
        None if partition is None else _per_batch(partition.word),
        numbers.hidden,
        numbers.batch_size,
        numbers.precision,
    )


def _per_batch(word: str) -> bool:
    from study.words import Vocabulary

    return bool(Vocabulary("partition").load(word).per_batch)


class _Sizes:
    """Bytes of members and tables, from the widths of their embeddings."""

    def __init__(self, inputs: Inputs, widths: Mapping[str, int]) -> None:
        self._widths = widths
        self._molecules = len(inputs.dataset)
        self._labels = len(inputs.dataset.label_names)

    def member(self, cell: Cell) -> int:
        """Bytes of what belongs to one member: weights and what trains them, and a batch."""
        layers = [*cell.training.hidden, self._labels]
        inner = sum(a * b for a, b in pairwise(layers))
        widths = [self.width(feature.key) for feature in cell.features]
        weights = sum(width * layers[0] + inner for width in widths)
        rows = cell.training.batch_size * (sum(widths) + 8 * len(widths) * sum(layers))
        return 4 * (COPIES * weights + rows)

    def table(self, feature_key: str) -> int:
        """Bytes of an embedding of the whole table."""
        return 4 * self._molecules * self.width(feature_key)

    def width(self, feature_key: str) -> int:
        return self._widths.get(feature_key, WIDTH)


def _cut(
    ids: Sequence[str],
    trials: Mapping[str, TrialSpec],
    memory: int,
    most: int,
    sizes: _Sizes,
) -> list[tuple[str, ...]]:
    """Cut trials of one shape, place by place, where the memory or the number is used up."""
    packs: list[list[str]] = []
    tables: set[Hashable] = set()
    taken = 0
    for key in ids:
        trial = trials[key]
        own = {
            (place_of(trial), trial.seed, f.key): sizes.table(f.key) for f in trial.cell.features
        }
        added = sizes.member(trial.cell) + sum(b for t, b in own.items() if t not in tables)
        if not packs or taken + added > memory or len(packs[-1]) >= most:
            packs.append([])
            tables, taken = set(), 0
            added = sizes.member(trial.cell) + sum(own.values())
        packs[-1].append(key)
        tables |= set(own)
        taken += added
    return [tuple(pack) for pack in packs]
