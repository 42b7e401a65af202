"""Names of arms that fit into a figure and tell all arms of a study apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from study.cells import Cell
from study.contrasts import Contrast

TECHNIQUES = {
    "single": "",
    "mlp_head": "MLP head",
    "label_balancer": "label balancer",
    "independent_mean": "independent mean",
}


def head_name(cell: Cell) -> str:
    """Technique, operator and partition in words; empty for a single modality."""
    words = [TECHNIQUES.get(cell.technique, cell.technique)]
    words += [str(word) for word in (cell.fusion, cell.partition) if word]
    return ", ".join(word for word in words if word)


def features_name(cell: Cell) -> str:
    """Modalities joined by a plus sign."""
    return " + ".join(cell.names)


class Names:
    """Names of the arms of one study.

    Parameters
    ----------
    cells : sequence of Cell
        All arms: what they all share is left out.
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.fractions = {cell.fraction for cell in cells}
        plain = Counter(str(cell) for cell in cells)
        self._numbers = _differing(cells) if max(plain.values(), default=1) > 1 else {}

    def of(self, cell: Cell, *, fraction: bool | None = None, lines: bool = False) -> str:
        """Return the name of an arm.

        Parameters
        ----------
        cell : Cell
        fraction : bool, optional
            Whether to say the training fraction; by default where the study has several.
        lines : bool
            Break the line behind the modalities.
        """
        shown = len(self.fractions) > 1 if fraction is None else fraction
        head = [head_name(cell), self._numbers.get(cell.id, "")]
        rest = ", ".join(word for word in head if word)
        first = features_name(cell) + (f" at {cell.fraction:g}" if shown else "")
        return (("\n" if lines else ": ").join([first, rest])) if rest else first

    def contrast(self, contrast: Contrast) -> tuple[str, str]:
        """Name what an arm has, and what its reference has in its place, without what both share.

        Returns
        -------
        tuple of str
            The contrast in few words, and what both sides share.
        """
        arm, reference = contrast.arm, contrast.reference
        parts = [
            (features_name(arm), features_name(reference)),
            (self._head(arm), self._head(reference)),
            (f"at {arm.fraction:g}", f"at {reference.fraction:g}"),
        ]
        if len(self.fractions) == 1:
            del parts[2]
        mine, theirs = ([pair[side] for pair in parts if len(set(pair)) > 1] for side in (0, 1))
        shared = [a for a, b in parts if a == b and a]
        words = [" ".join(each for each in side if each) for side in (mine, theirs)]
        change = " vs ".join(words)
        if shared and shared[0].startswith("at "):  # nothing else is shared
            return f"{change} {shared[0]}", ""
        return change, " ".join(shared)

    def _head(self, cell: Cell) -> str:
        words = (head_name(cell), self._numbers.get(cell.id, ""))
        return ", ".join(word for word in words if word)


def _differing(cells: Sequence[Cell]) -> Mapping[str, str]:
    """Training numbers that are not the same for all arms, by cell id."""
    dumped = {cell.id: cell.training.model_dump(mode="json") for cell in cells}
    keys = [key for key in next(iter(dumped.values()), {}) if _several(dumped, key)]
    return {
        name: ", ".join(f"{key} {numbers[key]}" for key in keys) for name, numbers in dumped.items()
    }


def _several(dumped: Mapping[str, Mapping[str, object]], key: str) -> bool:
    return len({str(numbers[key]) for numbers in dumped.values()}) > 1
