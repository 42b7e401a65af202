"""Generated molecules whose labels follow known rules: a table with a known answer."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from study.data.dataset import CurationStep
from study.data.source import RawEntry, RawTable
from study.errors import InputError

if TYPE_CHECKING:
    from rdkit import Chem

_CHAINS = ("C", "CC", "CCC", "C(C)C", "CCCC", "CC(C)C", "C(C)(C)C", "CCCCC", "CCCCCC",
           "CCC(C)C", "C=C", "CC=C", "CC=C(C)C", "CCCCCCC", "CCCCCCCC")  # fmt: skip
_RINGS = ("c1ccccc1", "C1CCCCC1", "C1CCCC1", "c1ccco1", "c1cccs1", "c1cccnc1", "c1cnccn1",
          "C1CCCO1", "c1ccc(C)cc1", "c1ccc(OC)cc1", "c1ccc(O)cc1", "C1CCCCC1=O", "C1=CCCCC1",
          "c1cscn1")  # fmt: skip
_LINKERS = ("", "C", "CC", "O", "CO", "CCC", "OC", "S")
_GROUPS = ("O", "N", "S", "OC", "SC", "C#N", "C=O", "C(C)=O", "C(=O)O", "C(=O)OC", "C(=O)OCC",
           "OC(C)=O", "OC=O", "N(C)C", "Cl", "F")  # fmt: skip

_FEATURES = ("[#6]", "[#7]", "[#8]", "[#16]", "[F,Cl]", "a", "[R]", "[CH3]", "[CH2;!R]", "C=C",
             "[OX2H]", "[SX2H]", "[CX3]=[OX1]", "[CX3](=O)[OX2H0]", "[CX3](=O)[OX2H1]", "C#N",
             "[OX2]([#6])[#6]", "[CX4;H1]([CH3])[CH3]", "[o,s,n]", "[NX3]")  # fmt: skip


def mirror_pairs(n: int, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Draw n constitutions with one stereocenter each, as left and right canonical SMILES.

    A molecule is ``group-CH(chain)-linker-ring``. "Right" is the one whose center RDKit tags
    clockwise when it reads the canonical SMILES. So the mark in the text and the tag in a graph
    distinguish the two, and no two-dimensional feature does.
    """
    parts = list(itertools.product(_CHAINS, _RINGS, _LINKERS, _GROUPS))
    left: dict[str, str] = {}
    for index in rng.permutation(len(parts)):
        chain, ring, linker, group = parts[index]
        pair = _build_mirror_pair(f"{chain}[C@H]({group}){linker}{ring}")
        if pair is not None:
            left[pair[0]] = pair[1]
        if len(left) == n:
            break
    return list(left), list(left.values())


def _build_mirror_pair(smiles: str) -> tuple[str, str] | None:
    """Return the left and right form; None if the atom is not a stereocenter."""
    from rdkit import Chem  # `study plan` builds a source and must not load RDKit

    by_tag: dict[Chem.ChiralType, str] = {}
    for text in (smiles, smiles.replace("@", "@@")):
        canonical = Chem.MolToSmiles(Chem.MolFromSmiles(text))
        tags = [atom.GetChiralTag() for atom in Chem.MolFromSmiles(canonical).GetAtoms()]
        marks = [tag for tag in tags if tag != Chem.ChiralType.CHI_UNSPECIFIED]
        if len(marks) != 1:
            return None
        by_tag[marks[0]] = canonical
    if len(by_tag) != 2:
        return None
    return by_tag[Chem.ChiralType.CHI_TETRAHEDRAL_CCW], by_tag[Chem.ChiralType.CHI_TETRAHEDRAL_CW]


def count_patterns(smiles: list[str]) -> NDArray[np.float64]:
    """Count structural features of each molecule, (n, 20): atoms, rings, bonds and groups."""
    from rdkit import Chem  # as in `_build_mirror_pair`

    patterns = [Chem.MolFromSmarts(text) for text in _FEATURES]
    molecules = [Chem.MolFromSmiles(text) for text in smiles]
    return np.array(
        [[len(m.GetSubstructMatches(p)) for p in patterns] for m in molecules], dtype=np.float64
    )


Counts = NDArray[np.float64]
Label = NDArray[np.bool_]

_MAX_SHARE = 0.3
_TERMS = 3


@dataclass(frozen=True)
class LabelMix:
    """Numbers of labels of each kind, their noise and their imbalance.

    Attributes
    ----------
    structure, stereo, permuted : int
        Number of labels of the kind.
    noise : float
        Share of a label's positives that are swapped with random negatives.
    skew : float
        Ratio of the positives of the most frequent and the rarest label, without stereo labels.
    """

    structure: int
    stereo: int
    permuted: int
    noise: float
    skew: float


def label_pairs(counts: Counts, mix: LabelMix, rng: np.random.Generator) -> dict[str, Label]:
    """Label mirror pairs by their structural counts (pairs, c).

    Returns
    -------
    dict of str to ndarray of bool, (2 pairs,)
        Labels by name; molecules in the order left, right, left, ...
    """
    columns: dict[str, Label] = {}
    for name, share in _name_ranked_labels(mix):
        column = swap_labels(highest_share(counts, share, rng).repeat(2), mix.noise, rng)
        columns[name] = rng.permutation(column) if name.startswith("permuted") else column
    right = np.tile([False, True], len(counts))
    for i in range(mix.stereo):
        column = right ^ draw_flips(counts, i).repeat(2)
        columns[f"stereo_{i:03d}"] = swap_labels(column, mix.noise, rng)
    return columns


def _name_ranked_labels(mix: LabelMix) -> list[tuple[str, float]]:
    """Return names and geometrically decreasing shares of structure and permuted labels.

    Permuted labels are spread over the whole range, so that both kinds have frequent and rare
    labels.
    """
    n = mix.structure + mix.permuted
    shares = _MAX_SHARE * mix.skew ** -np.linspace(0, 1, n)
    permuted = set(np.linspace(0, n - 1, mix.permuted).round().astype(int).tolist())
    names = ["permuted" if rank in permuted else "structure" for rank in range(n)]
    numbered = [f"{kind}_{names[:rank].count(kind):03d}" for rank, kind in enumerate(names)]
    return list(zip(numbered, shares.tolist(), strict=True))


def highest_share(counts: Counts, share: float, rng: np.random.Generator) -> Label:
    """Label the constitutions with the highest weighted sum of three counts, (pairs,)."""
    varied = np.flatnonzero(counts.std(axis=0) > 0)
    chosen = rng.choice(varied, size=min(_TERMS, len(varied)), replace=False)
    z = (counts - counts.mean(axis=0))[:, chosen] / counts.std(axis=0)[chosen]
    weights = rng.choice([-1.0, 1.0], len(chosen)) * rng.uniform(0.5, 1.5, len(chosen))
    label = np.zeros(len(counts), dtype=np.bool_)
    label[np.argsort(-(z @ weights), kind="stable")[: max(1, round(share * len(counts)))]] = True
    return label


def draw_flips(counts: Counts, i: int) -> Label:
    """Return where stereo label i inverts the chirality mark, (pairs,); nowhere for i = 0."""
    if i == 0:
        return np.zeros(len(counts), dtype=np.bool_)
    column = counts[:, (i - 1) % counts.shape[1]]
    above: Label = column > np.median(column)
    return above


def swap_labels(label: Label, noise: float, rng: np.random.Generator) -> Label:
    """Swap a share of the positives with random negatives; keep the number of positives."""
    positive, negative = np.flatnonzero(label), np.flatnonzero(~label)
    k = min(round(noise * len(positive)), len(negative))
    noisy = label.copy()
    noisy[rng.choice(positive, k, replace=False)] = False
    noisy[rng.choice(negative, k, replace=False)] = True
    return noisy


MAX_MOLECULES, MAX_LABELS, MAX_SKEW, MAX_SEED = 6000, 150, 10_000, 2**32 - 1


class Simulated:
    """Enumerated molecules with labels from known rules. Deterministic in its options.

    Molecules have the form ``group-CH(chain)-linker-ring`` and come in mirror pairs. The first
    part of a label's name is its kind, which determines what can predict it:

    - ``structure_007``: three structural counts (atoms, rings, groups) of the constitution,
      standardized and weighted; the molecules that score highest have the label. Every modality
      can learn it.
    - ``stereo_001``: the chirality mark of the one stereocenter. `stereo_000` is the mark itself
      (clockwise, as RDKit reads the canonical SMILES); each further label inverts it where a
      structural count is above its median. In every mirror pair one twin has the label and one
      does not, so a modality that sees the mark can learn it (SMILES text, chirality tags of a
      graph), and two-dimensional features have an AUROC of 0.5 (2D descriptors, Morgan counts).
      The data set needs ``key: isomeric``.
    - ``permuted_002``: the rows of a structure label in random order. Nothing can predict it.

    Parameters
    ----------
    seed : int
        Seed of molecules, rules, noise and permutations; 0 or more.
    molecules : int
        2 to 6,000; an even number gives whole mirror pairs.
    labels : int
        3 to 150.
    noise : float
        Share of a label's positives that are swapped with random negatives, in [0, 0.5].
    skew : float
        Ratio of the positives of the most frequent label (30% of the molecules) and the rarest,
        1 to 10,000; they decrease geometrically in between. Stereo labels have 50%.
    stereo, permuted : float
        Shares of labels of these kinds, each in [0, 0.5]; at least one label of a kind if its
        share is above 0.
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
        _check_range("molecules", molecules, 2, MAX_MOLECULES)
        _check_range("labels", labels, 3, MAX_LABELS)
        _check_range("skew", skew, 1, MAX_SKEW)
        _check_range("seed", seed, 0, MAX_SEED)
        for name, share in (("noise", noise), ("stereo", stereo), ("permuted", permuted)):
            _check_range(name, share, 0, 0.5)
        self._seed, self._molecules = seed, molecules
        counted = (_count_labels(stereo, labels), _count_labels(permuted, labels))
        self._mix = LabelMix(labels - sum(counted), *counted, noise, skew)

    def files(self, archive: Path | None) -> dict[str, Path]:  # noqa: ARG002 (the contract)
        """Return no files: the data set is generated."""
        return {}

    def read(self, archive: Path | None) -> RawTable:  # noqa: ARG002 (the contract)
        """Generate the table."""
        rng = np.random.default_rng(self._seed)
        left, right = mirror_pairs((self._molecules + 1) // 2, rng)
        columns = label_pairs(count_patterns(left), self._mix, rng)
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


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise InputError(f"source simulated: option '{name}' is {value}, allowed {low} to {high}")


def _count_labels(share: float, labels: int) -> int:
    return max(1, round(share * labels)) if share > 0 else 0
