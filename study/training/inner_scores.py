"""Scores of each modality alone on folds inside the training rows: what `affinity` reads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fusion import HeadShape, MultimodalModel, SingleHead, seeded
from study.metrics import auroc
from study.planning.trials import Trial
from study.splits import stratify_groups
from study.training.supervised import Gather, LabeledRows, fit, predict

FOLDS = 3


def compute_inner_auroc(
    branches: Mapping[str, tuple[Gather, int]],
    training: LabeledRows,
    validation: LabeledRows,
    groups: NDArray[np.int64],
    trial: Trial,
) -> NDArray[np.float64]:
    """AUROC of every modality on every label, out of fold inside the training rows.

    Parameters
    ----------
    branches : mapping of modality to (gather, width)
        Embeddings of each modality.
    training, validation : LabeledRows
        Parts of the training fold; `validation` stops each inner fit early.
    groups : ndarray of int64, (n_train,)
        Groups of the training rows: they do not cross inner folds either.
    trial : Trial
        Numbers and seed of the fits.

    Returns
    -------
    ndarray of float64, (k, l)
        NaN where a label has no positive or no negative.
    """
    shares = [1 / FOLDS] * FOLDS
    rng = np.random.default_rng(trial.torch_seed)
    part_of = stratify_groups(training.labels, groups, shares, rng)
    values = [
        auroc(training.labels, _out_of_fold({name: branch}, training, validation, part_of, trial))
        for name, branch in branches.items()
    ]
    return np.stack(values)


def _out_of_fold(
    branch: Mapping[str, tuple[Gather, int]],
    training: LabeledRows,
    validation: LabeledRows,
    part_of: NDArray[np.int64],
    trial: Trial,
) -> NDArray[np.float32]:
    """Scores (n_train, l) of every training row by a model that was not trained on it."""
    gather = {name: take for name, (take, _) in branch.items()}
    numbers = trial.arm.training
    shape = HeadShape(hidden=numbers.hidden, dropout=numbers.dropout)
    scores = np.zeros(training.labels.shape, dtype=np.float32)
    for fold in range(FOLDS):
        held = part_of == fold
        with seeded(trial.torch_seed + fold):
            dims = {name: width for name, (_, width) in branch.items()}
            head = SingleHead(dims, training.labels.shape[1], shape)
        model = MultimodalModel(dict.fromkeys(branch), head)
        inner = LabeledRows(training.rows[~held], training.labels[~held])
        fit(model, gather, inner, validation, numbers, seed=trial.torch_seed + fold)
        scores[held] = predict(model, gather, training.rows[held])
    return scores
