"""Modalities that a study names apart and that embed alike: frozen encoders of one network.

An option that only training feels (dropout) makes another identity, but no other embedding while
the encoder stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from modalities import ModalityError, ModalityFeatures
from study.cells import Feature
from study.inputs import Inputs, modality_of
from study.plan import Plan

MOLECULES = 8


def embedded_alike(plan: Plan, inputs: Inputs) -> Mapping[str, str]:
    """Return for each modality that repeats an earlier one the key of that one.

    Encoders that are neither trained nor fitted are built from one seed and tried on a few
    molecules of the table.
    """
    by_word: dict[str, dict[str, Feature]] = {}
    for feature in (f for cell in plan.cells for f in cell.features):
        choice = feature.choice
        if choice.trainable and not choice.fitted and choice.resolved == "frozen":
            by_word.setdefault(choice.word, {})[feature.key] = feature
    same: dict[str, str] = {}
    for features in by_word.values():
        known: dict[bytes, str] = {}
        for key, feature in features.items() if len(features) > 1 else ():
            embedding = _embedding(feature, inputs.dataset.smiles[:MOLECULES])
            if embedding is not None and (first := known.setdefault(embedding, key)) != key:
                same[key] = first
    return same


def _embedding(feature: Feature, smiles: tuple[str, ...]) -> bytes | None:
    """Embed a few molecules; None if one cannot be represented, which the launch will say."""
    modality = modality_of(feature.choice)
    try:
        records = [modality.featurize(text) for text in smiles]
    except ModalityError:
        return None
    features = ModalityFeatures.stack(modality.version, list(smiles), records)
    encoder = modality.encoder(seed=0)
    getattr(encoder, "eval", lambda: None)()
    found = encoder(encoder.collate(features, np.arange(len(smiles)))).detach()
    values: NDArray[np.float32] = found.float().numpy()
    return values.tobytes() + str(values.shape).encode()
