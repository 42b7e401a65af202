"""A modality whose features were made before: pretraining reads them instead of making them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modalities import Modality, ModalityError, ModalityFeatures
from study.word import Word
from study.words import Vocabulary


def build(word: Word) -> Any:  # noqa: ANN401 (a modality or an objective, as the vocabulary says)
    """Build what a word stands for, with its options."""
    return Vocabulary(word.key).load(word.word)(**word.options)


class StoredModality:
    """A modality that looks a molecule up before it featurizes; in all else the modality itself.

    A molecule that is not in the table (a randomized SMILES) is featurized.
    """

    def __init__(self, modality: Modality, features: ModalityFeatures) -> None:
        self._modality, self._features = modality, features
        self._rows = {text: row for row, text in enumerate(features.smiles)}

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (any attribute of the modality)
        """Return the modality's own attribute."""
        return getattr(self._modality, name)

    def featurize(self, smiles: str) -> Mapping[str, Any]:
        """Return the stored record of a molecule, or make one."""
        row = self._rows.get(smiles)
        if row is None:
            return self._modality.featurize(smiles)
        return {name: field[row] for name, field in self._features.fields.items()}


def represent(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Make the features of a shard; ``{store, modality, bucket, smiles}`` -> those refused.

    The answer ``refused`` gives the reason of each molecule that cannot be represented.
    """
    from pathlib import Path

    from modalities import FeatureStore, Shard
    from study.word import Representation

    store = FeatureStore(Path(payload["store"]))
    modality = build(Representation.model_validate(payload["modality"]))
    shard = Shard(payload["bucket"], tuple(payload["smiles"]))
    try:
        store.fill(modality, shard)
    except ModalityError:
        refused = _refused(modality, shard.smiles)
        kept = tuple(text for text in shard.smiles if text not in refused)
        store.fill(modality, Shard(shard.bucket, kept))
        return {"refused": refused}
    return {"refused": {}}


def _refused(modality: Modality, smiles: tuple[str, ...]) -> dict[str, str]:
    reasons = {}
    for text in smiles:
        try:
            modality.featurize(text)
        except ModalityError as error:
            reasons[text] = str(error)
    return reasons
