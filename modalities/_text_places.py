"""Where the tokens of a batch of texts stand, so that padding costs little.

Shapes: b texts, t longest text of the batch, n tokens of all its texts, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from modalities._text import PAD

BLOCK = 16
"""Texts that are padded together: fewer is less padding and more calls."""


@dataclass(frozen=True)
class Block:
    """Texts of a batch that are about as long as each other; their tokens are neighbors.

    Attributes
    ----------
    inside : Tensor of bool, (c, u)
        Whether a text has a token there; u is the longest of these c texts.
    index : Tensor of int64, (m,)
        Places of the block's tokens in its padded form, flat.
    """

    inside: torch.Tensor
    index: torch.Tensor

    def gather(self, padded: torch.Tensor) -> torch.Tensor:
        """Take the tokens out: (c, u, d) -> (m, d)."""
        return padded.flatten(0, 1).index_select(0, self.index)

    def spread(self, x: torch.Tensor) -> torch.Tensor:
        """Put the tokens back, zeros between them: (m, d) -> (c, u, d)."""
        flat = x.new_zeros(self.inside.numel(), x.shape[1]).index_copy(0, self.index, x)
        return flat.view(*self.inside.shape, -1)


@dataclass(frozen=True)
class Places(Block):
    """Where the n tokens of a batch (b, t) stand, block after block.

    Attributes
    ----------
    blocks : tuple of Block
        Attention is over one block at a time: texts of one length need little padding.
    """

    blocks: tuple[Block, ...]

    @classmethod
    def of(cls, tokens: torch.Tensor, rows: Sequence[torch.Tensor]) -> Places:
        """Find what is not padding in ids (b, t), with these rows in each block."""
        inside = tokens != PAD
        blocks, index = [], []
        for texts in rows:
            some = inside[texts]
            some = some[:, : int(some.sum(dim=1).max())]
            block = Block(some, some.flatten().nonzero().squeeze(1))
            text, place = block.index // some.shape[1], block.index % some.shape[1]
            index.append(texts[text] * tokens.shape[1] + place)
            blocks.append(block)
        return cls(inside, torch.cat(index), tuple(blocks))

    def each(self, x: torch.Tensor) -> Sequence[torch.Tensor]:
        """Split tokens (n, d) into those of each block."""
        return torch.split(x, [len(block.index) for block in self.blocks])


def by_length(tokens: torch.Tensor) -> Sequence[torch.Tensor]:
    """Share the texts of a batch (b, t) among blocks by length: row indices."""
    order = (tokens != PAD).sum(dim=1).argsort(stable=True)
    return torch.split(order, BLOCK)
