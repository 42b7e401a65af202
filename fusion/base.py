"""The contracts of this package: head shape, operator signature, checks. No torch.

Shapes use one alphabet: b batch, l labels, d embedding, k modalities, w width of a branch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor

Stage = Literal["label", "logit", "latent"]
"""Where the branches are fused: label probabilities, label logits or the first hidden layer."""


class FusionError(ValueError):
    """Error for an invalid modality, shape or option of a fusion module; the message names it."""


@dataclass(frozen=True)
class HeadShape:
    """Shape of every MLP of a head.

    Attributes
    ----------
    hidden : tuple of int
        Widths of the hidden layers, first to last. If empty, each MLP is one linear layer.
    dropout : float
        Probability in [0, 1) that a hidden unit is dropped in training.
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
    """A ``torch.nn.Module`` that maps the embeddings of all modalities to label logits.

    An operator's class is instantiated as ``Operator(dims, n_labels, head, **options)``. `dims`
    maps each modality to the width of its embedding, in the order of the modalities.
    """

    def __call__(self, embeddings: Mapping[str, Tensor], /) -> Tensor:
        """Map ``{modality: (b, d_m)}`` to logits (b, l)."""


def check_shape(dims: Mapping[str, int], n_labels: int, *, multimodal: bool) -> None:
    """Check the modalities and sizes that a head is built from.

    Parameters
    ----------
    dims : mapping of str to int
        Width of the embedding of each modality.
    n_labels : int
        Number of labels l.
    multimodal : bool
        Whether the head fuses two or more modalities or takes exactly one.

    Raises
    ------
    FusionError
        A width or the number of labels is below 1, or the number of modalities does not fit.
    """
    if multimodal and len(dims) < 2:
        raise FusionError(
            f"fusion needs at least two modalities, got {quote_names(dims)}: "
            "use SingleHead for a single modality"
        )
    if not multimodal and len(dims) != 1:
        raise FusionError(
            f"SingleHead takes exactly one modality, got {quote_names(dims)}: "
            "choose a fusion operator"
        )
    for modality, dim in dims.items():
        if dim < 1:
            raise FusionError(f"embedding of '{modality}' must have at least 1 column, got {dim}")
    if n_labels < 1:
        raise FusionError(f"a head needs at least one label, got {n_labels}")


def check_names(subject: str, expected: Iterable[str], actual: Iterable[str]) -> None:
    """Raise a FusionError that names every missing and every unknown modality.

    Parameters
    ----------
    subject : str
        What has the names, as the first word of the message.
    expected, actual : iterable of str
        Modalities of the model, and those that were passed.
    """
    expected, actual = list(expected), list(actual)
    missing = [name for name in expected if name not in actual]
    unknown = [name for name in actual if name not in expected]
    mistakes = [f"lacks {quote_names(missing)}"] if missing else []
    mistakes += [f"has unknown {quote_names(unknown)}"] if unknown else []
    if mistakes:
        raise FusionError(
            f"{subject} {' and '.join(mistakes)}; the model takes {quote_names(expected)}"
        )


def check_embeddings(dims: Mapping[str, int], embeddings: Mapping[str, Tensor]) -> None:
    """Raise a FusionError unless there is one embedding (b, d_m) for each modality."""
    check_names("embeddings", dims, embeddings)
    for modality, dim in dims.items():
        shape = tuple(embeddings[modality].shape)
        if len(shape) != 2 or shape[1] != dim:
            raise FusionError(f"embedding of '{modality}' must be (b, {dim}), got {shape}")


def quote_names(names: Iterable[str]) -> str:
    """Format names for a message: ``'a', 'b'``, or ``none``."""
    return ", ".join(f"'{name}'" for name in names) or "none"
