"""Out-of-fold scores of each modality alone within the training rows, for `affinity`."""

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
    """Compute the AUROC of every modality on every label, out of fold within the training rows.

    Parameters
    ----------
    branches : mapping of modality to (gather, width)
        Embeddings of each modality.
    training, validation : LabeledRows
        Parts of the training fold; `validation` is used for early stopping of each inner fit.
    groups : ndarray of int64, (n_train,)
        Groups of the training rows; a group is never split between inner folds.
    trial : Trial
        Source of the training config and seed.

    Returns
    -------
    ndarray of float64, (k, l)
        NaN where a label has no positive or no negative.
    """
    shares = [1 / FOLDS] * FOLDS
    rng = np.random.default_rng(trial.torch_seed)
    folds = stratify_groups(training.labels, groups, shares, rng)
    values = [
        auroc(training.labels, _score_out_of_fold({name: b}, training, validation, folds, trial))
        for name, b in branches.items()
    ]
    return np.stack(values)


def _score_out_of_fold(
    branch: Mapping[str, tuple[Gather, int]],
    training: LabeledRows,
    validation: LabeledRows,
    folds: NDArray[np.int64],
    trial: Trial,
) -> NDArray[np.float32]:
    """Score every training row with a model that was not trained on it, (n_train, l)."""
    gather = {name: function for name, (function, _) in branch.items()}
    config = trial.arm.training
    shape = HeadShape(hidden=config.hidden, dropout=config.dropout)
    scores = np.zeros(training.labels.shape, dtype=np.float32)
    for fold in range(FOLDS):
        held_out = folds == fold
        with seeded(trial.torch_seed + fold):
            dims = {name: width for name, (_, width) in branch.items()}
            head = SingleHead(dims, training.labels.shape[1], shape)
        model = MultimodalModel(dict.fromkeys(branch), head)
        inner = LabeledRows(training.rows[~held_out], training.labels[~held_out])
        fit(model, gather, inner, validation, config, seed=trial.torch_seed + fold)
        scores[held_out] = predict(model, gather, training.rows[held_out])
    return scores
