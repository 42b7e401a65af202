"""Featurizing on one core, and reading the features of a table that was featurized before.

The molecules are the odorants of the table that ships with the project.
Run: ``python tests/benchmarks/bench_features.py``.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from _bench import Row, measure, show

from modalities import FeatureStore, Modality, ModalityError
from study.data import Recipe, build_dataset
from study.words import Vocabulary

MOLECULES = 200


def main() -> int:
    """Print the table."""
    smiles = build_dataset(Recipe.model_validate("starter")).smiles[:MOLECULES]
    words = Vocabulary("modalities")
    rows = []
    for word in words.words():
        try:
            modality = words.load(word)()
        except ModalityError as error:  # it needs a file that the project does not ship
            sys.stderr.write(f"left out: {error}\n")
        else:
            rows += _rows(word, modality, smiles)
    return show(f"Features, for 1,000 molecules (measured on {len(smiles)} odorants)", rows)


def _rows(word: str, modality: Modality, smiles: Sequence[str]) -> list[Row]:
    modality.featurize(smiles[0])  # the first molecule pays the imports
    thousands = len(smiles) / 1000
    made = measure(lambda: [modality.featurize(text) for text in smiles])
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(Path(folder))
        cold = measure(lambda: store.load(modality, smiles))
        warm = measure(lambda: store.load(modality, smiles), 5)
        disk = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    return [
        Row(f"{word}: featurize", made.per(thousands)),
        Row(f"{word}: featurize, keep on disk", cold.per(thousands)),
        Row(f"{word}: load warm", warm.per(thousands), f"{disk / thousands / 1e6:.1f} MB"),
    ]


if __name__ == "__main__":
    sys.exit(main())
