"""The contracts of this package, free of torch: head shape, operator signature, checks.

Shapes use one alphabet: b batch, l labels, d embedding, k modalities, w width of a branch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor

Stage = Literal["label", "logit", "latent"]
"""Where branches meet: at label probabilities, at label logits or at the first hidden layer."""


class FusionError(ValueError):
    """A modality, shape or option that a fusion part cannot take; the message names it."""


@dataclass(frozen=True)
class HeadShape:
    """Shape of every MLP of a head.

    Attributes
    ----------
    hidden : tuple of int
        Widths of the hidden layers, first to last; empty: one linear layer.
    dropout : float
        Probability of a hidden unit to be dropped in training, in [0, 1).
    """

    hidden: tuple[int, ...] = (512, 256)
    dropout: float = 0.3

    def __post_init__(self) -> None:
        for width in self.hidden:
            if width < 1:
                raise FusionError(f"head: a hidden layer needs at least 1 unit, got {self.hidden}")
        if not 0 <= self.dropout < 1:
            raise FusionError(f"head: dropout must be in [0, 1), got {self.dropout}")


class FusionOperator(Protocol):
    """Embeddings of all modalities -> logits of all labels. A ``torch.nn.Module``.

    A word's class is built as ``Operator(dims, n_labels, head, **options)``: `dims` maps each
    modality to the width of its embedding, and its order is the order of the modalities.
    """

    def __call__(self, embeddings: Mapping[str, Tensor], /) -> Tensor:
        """Map ``{modality: (b, d_m)}`` to logits (b, l)."""


def check_shape(dims: Mapping[str, int], n_labels: int, *, several: bool) -> None:
    """Check what every head is built from.

    Parameters
    ----------
    dims : mapping of str to int
        Width of the embedding of each modality.
    n_labels : int
        Number of labels l.
    several : bool
        Whether the head combines modalities (two or more) or serves exactly one.

    Raises
    ------
    FusionError
        A width or the number of labels is below 1, or the number of modalities does not fit.
    """
    if several and len(dims) < 2:
        raise FusionError(
            f"fusion needs at least two modalities, got {quoted(dims)}: "
            "a single modality takes SingleHead"
        )
    if not several and len(dims) != 1:
        raise FusionError(
            f"SingleHead takes exactly one modality, got {quoted(dims)}: choose a fusion operator"
        )
    for modality, dim in dims.items():
        if dim < 1:
            raise FusionError(f"embedding of '{modality}' must have at least 1 column, got {dim}")
    if n_labels < 1:
        raise FusionError(f"a head needs at least one label, got {n_labels}")


def check_names(what: str, expected: Iterable[str], given: Iterable[str]) -> None:
    """Raise a FusionError naming every missing and every unknown modality."""
    expected, given = list(expected), list(given)
    missing = [name for name in expected if name not in given]
    unknown = [name for name in given if name not in expected]
    parts = [f"lacks {quoted(missing)}"] if missing else []
    parts += [f"has unknown {quoted(unknown)}"] if unknown else []
    if parts:
        raise FusionError(f"{what} {' and '.join(parts)}; the model takes {quoted(expected)}")


def check_embeddings(dims: Mapping[str, int], embeddings: Mapping[str, Tensor]) -> None:
    """Raise a FusionError unless there is one embedding (b, d_m) for each modality."""
    check_names("embeddings", dims, embeddings)
    for modality, dim in dims.items():
        shape = tuple(embeddings[modality].shape)
        if len(shape) != 2 or shape[1] != dim:
            raise FusionError(f"embedding of '{modality}' must be (b, {dim}), got {shape}")


def quoted(names: Iterable[str]) -> str:
    """Write names for a message: 'a', 'b' (or: none)."""
    return ", ".join(f"'{name}'" for name in names) or "none"
