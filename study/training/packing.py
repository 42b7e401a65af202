"""Group head trials that read the same embedding tables into packs, one process each."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise

from study.artifacts.study_data import StudyData
from study.planning.trials import Arm, Trial

WIDTH = 2048
"""Width of an embedding for estimates of memory; no shipped encoder has a larger one."""
COPIES = 8
"""Tensors as large as the weights of a head: gradient, moments, average, best, spare."""
MOST = 64
"""Most trials of a pack, which is reported as one task, and retried as one if it is lost."""


def can_share_process(trial: Trial) -> bool:
    """Whether a trial only trains a head on precomputed embeddings, without a search.

    Trials that train encoders, search their hyperparameters, or train nothing
    (``independent_mean``) do not share a process.
    """
    arm = trial.arm
    return arm.technique != "independent_mean" and not arm.trains_encoders and arm.search is None


def fold_key(trial: Trial) -> tuple[int, int, float]:
    """Return the repeat, fold and fraction of a trial: its embeddings are standardized on them."""
    return trial.repeat, trial.fold, trial.arm.fraction


def build_packs(
    trials: Mapping[str, Trial], data: StudyData, memory: int, *, fewest: int = 1
) -> list[tuple[str, ...]]:
    """Group trials into packs that read the same modalities.

    The trials of a pack are trained one after the other, sorted by `fold_key`: its process holds
    the tables of one fold and one head at a time. A trial for which `can_share_process` is false
    is a pack by itself.

    Parameters
    ----------
    trials : mapping of id to Trial
    data : StudyData
    memory : int
        Most bytes that a process may hold at a time.
    fewest : int
        Fewest packs to make, so that every process gets some; less if there are fewer trials.

    Returns
    -------
    list of tuple of str
        Ids; every trial is in one pack. A trial that exceeds the memory is a pack by itself.
    """
    by_features: dict[Hashable, list[str]] = {}
    for key, trial in sorted(trials.items(), key=lambda pair: (*_sort_key(pair[1]), pair[0])):
        features = tuple(feature.key for feature in trial.arm.features)
        by_features.setdefault(features if can_share_process(trial) else key, []).append(key)
    most = min(MOST, max(1, len(trials) // max(1, fewest)))
    return [pack for ids in by_features.values() for pack in _cut(ids, trials, data, memory, most)]


def _sort_key(trial: Trial) -> tuple[tuple[int, int, float], int]:
    return fold_key(trial), trial.seed


def _cut(
    ids: Sequence[str], trials: Mapping[str, Trial], data: StudyData, memory: int, most: int
) -> list[tuple[str, ...]]:
    """Cut sorted trials into packs of at most `memory` bytes and `most` trials."""
    packs: list[list[str]] = []
    fold: Hashable = None
    tables: set[tuple[int, str]] = set()  # of this fold; embeddings may differ between seeds
    largest = 0
    for key in ids:
        trial = trials[key]
        needed = {(trial.seed, feature.key) for feature in trial.arm.features}
        head = _head_bytes(trial.arm, len(data.dataset.label_names))
        tables = tables | needed if fold_key(trial) == fold else needed
        fold, largest = fold_key(trial), max(largest, head)
        used = largest + len(tables) * 4 * len(data.dataset) * WIDTH
        if not packs or len(packs[-1]) >= most or used > memory:
            packs.append([])
            tables, largest = needed, head
        packs[-1].append(key)
    return [tuple(pack) for pack in packs]


def _head_bytes(arm: Arm, labels: int) -> int:
    """Estimate the bytes of one head in training: weights, optimizer state and a batch."""
    layers, modalities = [*arm.training.hidden, labels], len(arm.features)
    weights = modalities * (WIDTH * layers[0] + sum(a * b for a, b in pairwise(layers)))
    batch = arm.training.batch_size * modalities * (WIDTH + 8 * sum(layers))
    return 4 * (COPIES * weights + batch)
