"""Building blocks of the fusion heads: the MLP, one branch a modality, the readout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn

from fusion.base import FusionError, HeadShape, Stage, check_embeddings, check_shape


@contextmanager
def seeded(seed: int, *, devices: Sequence[int] = ()) -> Iterator[None]:
    """Run a block with torch's random state set from `seed`, then put the old state back.

    Torch initialises weights and drops units from a global generator; inside this block that
    generator starts from `seed`, and afterwards the caller's random numbers go on untouched.
    (``torch.manual_seed`` would not do: it also reseeds every CUDA device, for good.)

    Parameters
    ----------
    seed : int
        Seed of the block.
    devices : sequence of int
        CUDA devices whose generators are treated in the same way.
    """
    with torch.random.fork_rng(devices=list(devices)):
        torch.default_generator.manual_seed(seed)
        for device in devices:
            torch.cuda.default_generators[device].manual_seed(seed)
        yield


def mlp(widths: Sequence[int], dropout: float) -> list[nn.Module]:
    """Layers of W_j dropout(relu(... W_1 x + b_1 ...)) + b_j, one Linear between two widths."""
    layers: list[nn.Module] = []
    for inner, outer in pairwise(widths[:-1]):
        layers += [nn.Linear(inner, outer), nn.ReLU(), nn.Dropout(dropout)]
    return [*layers, nn.Linear(widths[-2], widths[-1])]


class SingleHead(nn.Module):
    r"""Head of one modality: logits = MLP(e), d -> hidden... -> l.

    The fusion operators refuse a single modality, because there they would differ only in
    layers that fuse nothing; this is the head such an arm takes.

    Parameters
    ----------
    dims : mapping of str to int
        The modality and the width of its embedding.
    n_labels : int
        Number of labels l.
    head : HeadShape
        Hidden layers and dropout.

    Raises
    ------
    FusionError
        There is not exactly one modality, or a width is below 1.
    """

    def __init__(self, dims: Mapping[str, int], n_labels: int, head: HeadShape) -> None:
        super().__init__()
        check_shape(dims, n_labels, several=False)
        self.dims = dict(dims)
        ((self.modality, dim),) = dims.items()
        self.mlp = nn.Sequential(*mlp((dim, *head.hidden, n_labels), head.dropout))

    def forward(self, embeddings: Mapping[str, Tensor]) -> Tensor:
        """Map ``{modality: (b, d)}`` to logits (b, l)."""
        check_embeddings(self.dims, embeddings)
        logits: Tensor = self.mlp(embeddings[self.modality])
        return logits


class Branches(nn.Module):
    """One branch a modality up to the stage where they meet: ``{m: (b, d_m)}`` -> (b, k, w).

    Parameters
    ----------
    dims : mapping of str to int
        Width d_m of the embedding of each of k >= 2 modalities; the order is kept.
    n_labels : int
        Number of labels l.
    head : HeadShape
        Hidden layers and dropout of each branch.
    stage : {"label", "logit", "latent"}
        Where the branches meet; see the head of this file.

    Attributes
    ----------
    width : int
        Width w of a branch: l, or the first hidden width at stage latent.

    Raises
    ------
    FusionError
        Fewer than two modalities, a width below 1, or stage latent without a hidden layer.
    """

    def __init__(
        self, dims: Mapping[str, int], n_labels: int, head: HeadShape, stage: Stage
    ) -> None:
        super().__init__()
        check_shape(dims, n_labels, several=True)
        self.dims = dict(dims)
        self.width = _meeting_width(n_labels, head, stage)
        self.by_modality = nn.ModuleDict(
            {m: nn.Sequential(*_branch(dim, n_labels, head, stage)) for m, dim in dims.items()}
        )

    def forward(self, embeddings: Mapping[str, Tensor]) -> Tensor:
        """Return the branch of modality j in ``[:, j]``: (b, k, w)."""
        check_embeddings(self.dims, embeddings)
        branches = [branch(embeddings[m]) for m, branch in self.by_modality.items()]
        return torch.stack(branches, dim=1)


class Readout(nn.Sequential):
    """The part after the branches have met: (b, width) -> logits (b, l).

    Parameters
    ----------
    width : int
        Width of the combined branches (w, or k * w where they stand side by side).
    n_labels, head, stage
        As given to `Branches`.
    """

    def __init__(self, width: int, n_labels: int, head: HeadShape, stage: Stage) -> None:
        if stage == "latent":
            rest = mlp((width, *head.hidden[1:], n_labels), head.dropout)
            super().__init__(nn.Dropout(head.dropout), *rest)
        else:
            super().__init__(nn.Linear(width, n_labels))


def _meeting_width(n_labels: int, head: HeadShape, stage: Stage) -> int:
    if stage != "latent":
        return n_labels
    if not head.hidden:
        raise FusionError("stage 'latent' meets at a hidden layer, but the head has none")
    return head.hidden[0]


def _branch(dim: int, n_labels: int, head: HeadShape, stage: Stage) -> list[nn.Module]:
    if stage == "latent":
        return [nn.Linear(dim, head.hidden[0]), nn.ReLU()]
    layers = mlp((dim, *head.hidden, n_labels), head.dropout)
    if stage == "label":
        return [*layers, nn.Sigmoid()]
    if stage == "logit":
        return layers
    raise FusionError(f"stage '{stage}' is unknown; allowed: 'label', 'logit', 'latent'")
