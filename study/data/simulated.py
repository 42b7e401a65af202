"""A generated table with a known answer, for tests, benchmarks and controls."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from study.data._dataset import CurationStep
from study.data._rules import Mix, label_pairs
from study.data._source import RawEntry, RawTable
from study.errors import InputError

MOST_MOLECULES, MOST_LABELS, MOST_SKEW, MOST_SEED = 6000, 150, 10_000, 2**32 - 1


class Simulated:
    """Enumerated molecules with labels from stated rules. Deterministic in its options.

    Molecules have the form ``group-CH(chain)-linker-ring`` and come in mirror pairs. The first
    part of a label's name says who can explain it:

    - ``structure_007``: three structural counts (atoms, rings, groups) of the constitution,
      standardized and weighted; the molecules that score highest have the label. Every modality
      can learn it.
    - ``stereo_001``: the chirality mark of the one stereocenter. `stereo_000` is the mark itself
      (clockwise, as RDKit reads the canonical SMILES); each further one flips it where a
      structural count is above its median. Within every mirror pair one twin has the label
      and one has not, so what sees the mark can learn it (SMILES text, chirality tags of a
      graph) and nothing two-dimensional is better than 0.5 (2D descriptors, Morgan counts). The
      table needs ``key: isomeric``.
    - ``permuted_002``: the rows of a structure label in random order. Nobody can explain it.

    Parameters
    ----------
    seed : int
        Draws molecules, rules, noise and permutations; 0 or more.
    molecules : int
        2 to 6,000; an even number gives whole mirror pairs.
    labels : int
        3 to 150.
    noise : float
        Share of a label's positives that are swapped with random negatives, in [0, 0.5].
    skew : float
        Positives of the most frequent label (30% of the molecules) over those of the rarest, 1 to
        10,000: they fall geometrically between. Stereo labels stay at 50%.
    stereo, permuted : float
        Shares of the labels of these kinds, each in [0, 0.5]; at least one label each when
        above 0.
    """

    rated: ClassVar[bool] = False

    def __init__(
        self,
        *,
        seed: int = 0,
        molecules: int = 600,
        labels: int = 30,
        noise: float = 0.02,
        skew: float = 10.0,
        stereo: float = 0.1,
        permuted: float = 0.1,
    ) -> None:
        _within("molecules", molecules, 2, MOST_MOLECULES)
        _within("labels", labels, 3, MOST_LABELS)
        _within("skew", skew, 1, MOST_SKEW)
        _within("seed", seed, 0, MOST_SEED)
        for name, share in (("noise", noise), ("stereo", stereo), ("permuted", permuted)):
            _within(name, share, 0, 0.5)
        self._seed, self._molecules = seed, molecules
        counted = (_share(stereo, labels), _share(permuted, labels))
        self._mix = Mix(labels - sum(counted), *counted, noise, skew)

    def files(self, archive: Path | None) -> dict[str, Path]:  # noqa: ARG002 (the contract)
        """Nothing: the table is generated."""
        return {}

    def read(self, archive: Path | None) -> RawTable:  # noqa: ARG002 (the contract)
        """Generate the table."""
        from study.data._molecules import counts, mirror_pairs  # RDKit: not for `study plan`

        rng = np.random.default_rng(self._seed)
        left, right = mirror_pairs((self._molecules + 1) // 2, rng)
        columns = label_pairs(counts(left), self._mix, rng)
        smiles = [text for pair in zip(left, right, strict=True) for text in pair]
        entries = tuple(
            RawEntry(
                f"simulated molecule {row}",
                text,
                tuple(name for name, column in columns.items() if column[row]),
            )
            for row, text in enumerate(smiles[: self._molecules])
        )
        step = CurationStep("simulated: molecules generated", len(entries), len(entries))
        return RawTable("simulated", entries, tuple(columns), {}, (step,), strict=True)


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise InputError(f"source simulated: option '{name}' is {value}, allowed {low} to {high}")


def _share(share: float, labels: int) -> int:
    return max(1, round(share * labels)) if share > 0 else 0
