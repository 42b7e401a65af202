"""Which head trials share a process: those that read the same tables of embeddings."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise

from study.artifacts.study_data import StudyData
from study.planning.trials import Arm, Trial

WIDTH = 2048
"""Columns of an embedding, for an estimate of memory: no fewer than those shipped have."""
COPIES = 8
"""Tensors as large as the weights of a head: gradient, moments, average, best, spare."""
MOST = 64
"""Trials of a pack: its process is told of as one, and tried again as one if it is lost."""


def can_share_process(trial: Trial) -> bool:
    """Whether a trial trains a head alone, on embeddings that are ready, with given numbers.

    The others run by themselves: those that train encoders too, choose their numbers, or train
    nothing (``independent_mean``).
    """
    arm = trial.arm
    return arm.technique != "independent_mean" and not arm.joint and arm.search is None


def fold_key(trial: Trial) -> tuple[int, int, float]:
    """Return what the embeddings of a trial are standardized on: repeat, fold, fraction."""
    return trial.repeat, trial.fold, trial.arm.fraction


def build_packs(
    trials: Mapping[str, Trial], data: StudyData, memory: int, *, fewest: int = 1
) -> list[tuple[str, ...]]:
    """Deal trials into packs that read the same features.

    The trials of a pack are trained one after the other, place by place: its process holds the
    tables of one place and one head at a time. A trial that is not `can_share_process` is a pack
    of its
    own.

    Parameters
    ----------
    trials : mapping of id to Trial
    data : StudyData
    memory : int
        Most bytes that a process may hold at a time.
    fewest : int
        Packs that there should be at least, so that every process has some: as long as there are
        so many trials.

    Returns
    -------
    list of tuple of str
        Ids; every trial is in one pack. One trial at least is in each, whatever it takes.
    """
    alike: dict[Hashable, list[str]] = {}
    for key, trial in sorted(trials.items(), key=lambda pair: (*_order(pair[1]), pair[0])):
        features = tuple(feature.key for feature in trial.arm.features)
        alike.setdefault(features if can_share_process(trial) else key, []).append(key)
    most = min(MOST, max(1, len(trials) // max(1, fewest)))
    return [pack for ids in alike.values() for pack in _cut(ids, trials, data, memory, most)]


def _order(trial: Trial) -> tuple[tuple[int, int, float], int]:
    return fold_key(trial), trial.seed


def _cut(
    ids: Sequence[str], trials: Mapping[str, Trial], data: StudyData, memory: int, most: int
) -> list[tuple[str, ...]]:
    """Cut trials in the order of `_order` where the memory or the number is used up."""
    packs: list[list[str]] = []
    place: Hashable = None
    tables: set[tuple[int, str]] = set()  # of the place; embeddings may differ between seeds
    largest = 0
    for key in ids:
        trial = trials[key]
        own = {(trial.seed, feature.key) for feature in trial.arm.features}
        head = _head_bytes(trial.arm, len(data.dataset.label_names))
        tables = tables | own if fold_key(trial) == place else own
        place, largest = fold_key(trial), max(largest, head)
        taken = largest + len(tables) * 4 * len(data.dataset) * WIDTH
        if not packs or len(packs[-1]) >= most or taken > memory:
            packs.append([])
            tables, largest = own, head
        packs[-1].append(key)
    return [tuple(pack) for pack in packs]


def _head_bytes(arm: Arm, labels: int) -> int:
    """Bytes of one head in training: its weights, what trains them, and a batch."""
    layers, modalities = [*arm.training.hidden, labels], len(arm.features)
    weights = modalities * (WIDTH * layers[0] + sum(a * b for a, b in pairwise(layers)))
    batch = arm.training.batch_size * modalities * (WIDTH + 8 * sum(layers))
    return 4 * (COPIES * weights + batch)
