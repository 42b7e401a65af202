"""Building blocks of the fusion heads: the MLP, one branch per modality, the readout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn

from fusion.base import FusionError, HeadShape, Stage, check_embeddings, check_shape


@contextmanager
def seeded(seed: int, *, devices: Sequence[int] = ()) -> Iterator[None]:
    """Run a block with torch's global generators seeded, then restore their state.

    Torch initializes weights and drops units with a global generator. Inside this block it starts
    from `seed`; after the block the caller's random sequence continues as if nothing was drawn.
    ``torch.manual_seed`` is not used, because it also reseeds every CUDA device permanently.

    Parameters
    ----------
    seed : int
        Seed of the block.
    devices : sequence of int
        CUDA devices whose generators are seeded and restored too.
    """
    with torch.random.fork_rng(devices=list(devices)):
        torch.default_generator.manual_seed(seed)
        for device in devices:
            torch.cuda.default_generators[device].manual_seed(seed)
        yield


def build_mlp(widths: Sequence[int], dropout: float) -> list[nn.Module]:
    """Build the layers of an MLP: W_j dropout(relu(... W_1 x + b_1 ...)) + b_j.

    There is one linear layer between every two consecutive widths.
    """
    layers: list[nn.Module] = []
    for inner, outer in pairwise(widths[:-1]):
        layers += [nn.Linear(inner, outer), nn.ReLU(), nn.Dropout(dropout)]
    return [*layers, nn.Linear(widths[-2], widths[-1])]


class SingleHead(nn.Module):
    r"""Head of one modality: logits = MLP(e), d -> hidden... -> l.

    The head of an arm with one modality. The fusion operators reject a single modality, because
    they would then differ only in layers that fuse nothing.

    Parameters
    ----------
    dims : mapping of str to int
        The modality, mapped to the width of its embedding.
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
        check_shape(dims, n_labels, multimodal=False)
        self.dims = dict(dims)
        ((self.modality, dim),) = dims.items()
        self.mlp = nn.Sequential(*build_mlp((dim, *head.hidden, n_labels), head.dropout))

    def forward(self, embeddings: Mapping[str, Tensor]) -> Tensor:
        """Map ``{modality: (b, d)}`` to logits (b, l)."""
        check_embeddings(self.dims, embeddings)
        logits: Tensor = self.mlp(embeddings[self.modality])
        return logits


class Branches(nn.Module):
    """One branch per modality up to the stage of fusion: ``{m: (b, d_m)}`` -> (b, k, w).

    Parameters
    ----------
    dims : mapping of str to int
        Width d_m of the embedding of each of k >= 2 modalities; the order is kept.
    n_labels : int
        Number of labels l.
    head : HeadShape
        Hidden layers and dropout of each branch.
    stage : {"label", "logit", "latent"}
        Where the branches are fused; see `fusion.base.Stage`.

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
        check_shape(dims, n_labels, multimodal=True)
        self.dims = dict(dims)
        self.width = _get_branch_width(n_labels, head, stage)
        self.by_modality = nn.ModuleDict(
            {
                m: nn.Sequential(*_build_branch(dim, n_labels, head, stage))
                for m, dim in dims.items()
            }
        )

    def forward(self, embeddings: Mapping[str, Tensor]) -> Tensor:
        """Return the branches (b, k, w); ``[:, j]`` is the branch of modality j."""
        check_embeddings(self.dims, embeddings)
        branches = [branch(embeddings[m]) for m, branch in self.by_modality.items()]
        return torch.stack(branches, dim=1)


class Readout(nn.Sequential):
    """Layers after the fusion of the branches: (b, width) -> logits (b, l).

    Parameters
    ----------
    width : int
        Width of the fused branches: w, or k * w if they are concatenated.
    n_labels, head, stage
        As in `Branches`.
    """

    def __init__(self, width: int, n_labels: int, head: HeadShape, stage: Stage) -> None:
        if stage == "latent":
            layers = build_mlp((width, *head.hidden[1:], n_labels), head.dropout)
            super().__init__(nn.Dropout(head.dropout), *layers)
        else:
            super().__init__(nn.Linear(width, n_labels))


def _get_branch_width(n_labels: int, head: HeadShape, stage: Stage) -> int:
    if stage != "latent":
        return n_labels
    if not head.hidden:
        raise FusionError("stage 'latent' fuses at the first hidden layer, but the head has none")
    return head.hidden[0]


def _build_branch(dim: int, n_labels: int, head: HeadShape, stage: Stage) -> list[nn.Module]:
    if stage == "latent":
        return [nn.Linear(dim, head.hidden[0]), nn.ReLU()]
    layers = build_mlp((dim, *head.hidden, n_labels), head.dropout)
    if stage == "label":
        return [*layers, nn.Sigmoid()]
    if stage == "logit":
        return layers
    raise FusionError(f"stage '{stage}' is unknown; allowed: 'label', 'logit', 'latent'")
