"""One epoch of heads and encoders, an embedding of a table, and AUROC beside scikit-learn's.

Run: ``python tests/benchmarks/bench_training.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import torch
from _bench import Cost, Row, measure, show
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from fusion import HeadShape, MultimodalModel, SingleHead
from modalities import ModalityFeatures
from study.config.training import TrainingConfig
from study.data import DatasetConfig, build_dataset
from study.metrics import auroc
from study.plugins.registry import Registry
from study.training.supervised import Gather, LabeledRows, fit

LABELS, EPOCHS = 91, 3
SHAPE = HeadShape((512,), 0.6)
Labels = NDArray[np.uint8]


def main() -> int:
    """Print the table."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    dataset = build_dataset(
        DatasetConfig.model_validate({"sources": [_simulated()], "key": "isomeric"})
    )
    smiles = dataset.smiles[:1000]
    rows = [
        Row("head, one epoch: 4,000 x 1,300 inputs, 91 labels", _head_epoch(rng)),
        Row("smiles encoder, one epoch: 1,000 molecules", _encoder_epoch("smiles", smiles, rng)),
        Row("graph encoder (GCN), one epoch: 1,000", _encoder_epoch("graph", smiles, rng)),
        Row("graph encoder (GCN), embedding of 1,000", _embedding("graph", smiles)),
        *_auroc_rows(rng),
    ]
    return show("Training, one thread", rows)


def _simulated() -> dict[str, object]:
    return {"source": "simulated", "molecules": 1200, "labels": 30}


def _labels(rng: np.random.Generator, n: int) -> Labels:
    """Labels with the skew of an odor table: 1 to 30 in a hundred."""
    rates = np.geomspace(0.01, 0.3, LABELS)
    labels: Labels = (rng.random((n, LABELS)) < rates).astype(np.uint8)
    return labels


def _head_epoch(rng: np.random.Generator) -> Cost:
    values = torch.from_numpy(rng.standard_normal((4500, 1300)).astype(np.float32))
    model = MultimodalModel({"x": None}, SingleHead({"x": 1300}, LABELS, SHAPE))
    return _epoch(model, "x", lambda rows: values[torch.from_numpy(rows)], _labels(rng, 4500), 500)


def _encoder_epoch(word: str, smiles: tuple[str, ...], rng: np.random.Generator) -> Cost:
    encoder, gather = _encoder(word, smiles)
    head = SingleHead({word: encoder.dim}, LABELS, SHAPE)
    model = MultimodalModel({word: encoder}, head)
    return _epoch(model, word, gather, _labels(rng, 1000), 0)


def _encoder(word: str, smiles: tuple[str, ...]) -> tuple[torch.nn.Module, Gather]:
    modality = Registry("modality").load(word)()
    records = [modality.featurize(text) for text in smiles]
    features = ModalityFeatures.stack(modality.version, smiles, records)
    encoder = modality.encoder(seed=0)
    return encoder, lambda rows: encoder.collate(features, rows)


def _epoch(
    model: torch.nn.Module, name: str, gather: Gather, labels: Labels, held_out: int
) -> Cost:
    """Cost of an epoch: batches, averaged weights and validation, as in a trial.

    Without rows held out the last tenth is validated on besides being trained on.
    """
    rows = np.arange(len(labels))
    train = rows[: len(rows) - held_out]
    other = rows[-held_out:] if held_out else rows[-len(rows) // 10 :]
    numbers = TrainingConfig(epochs=EPOCHS, patience=EPOCHS)
    parts = [LabeledRows(some, labels[some]) for some in (train, other)]
    run = measure(lambda: fit(model, {name: gather}, *parts, numbers, seed=0))
    return run.per(EPOCHS)


def _embedding(word: str, smiles: tuple[str, ...]) -> Cost:
    encoder, gather = _encoder(word, smiles)
    encoder.eval()

    def embed() -> None:
        with torch.inference_mode():
            for start in range(0, len(smiles), 256):
                encoder(gather(np.arange(start, min(start + 256, len(smiles)))))

    return measure(embed, 2)


def _auroc_rows(rng: np.random.Generator) -> list[Row]:
    labels = _labels(rng, 5000)
    scores = rng.random(labels.shape).astype(np.float32)
    ours, theirs = (
        _best(lambda: auroc(labels, scores)),
        _best(lambda: roc_auc_score(labels, scores, average=None)),
    )
    same = np.allclose(auroc(labels, scores), roc_auc_score(labels, scores, average=None))
    if not same:
        raise RuntimeError("AUROC differs from scikit-learn's")
    ratio = f"{theirs.cpu / ours.cpu:.1f} times as fast, same values"
    return [
        Row("AUROC of 5,000 x 91", ours, ratio),
        Row("scikit-learn's roc_auc_score of the same", theirs),
    ]


def _best(work: Callable[[], object]) -> Cost:
    return measure(work, 5)


if __name__ == "__main__":
    sys.exit(main())
