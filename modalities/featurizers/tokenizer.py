"""The tokenizer of a checkpoint, which must not lose a character of a molecule. No torch.

What a tokenizer cannot represent it replaces (unknown token), drops or rewrites (lower case)
without a word; here each of these is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from modalities._base import ModalityError
from modalities.weights.huggingface import Checkpoint

_TABLE_AFTER_PADDING = re.compile("roberta|camembert|longformer|data2vec-text|xmod|ibert|mpnet")
"""Model types whose positions are counted from the padding id + 1."""
_WORD_START = "\u2581"
"""What SentencePiece puts before a word."""


@dataclass(frozen=True)
class TokenVocabulary:
    """A tokenizer with what a batch needs to know of it.

    Attributes
    ----------
    name : str
        The checkpoint, for messages.
    tokenizer : Tokenizer
        Cuts nothing off and pads nothing.
    unknown : int or None
        Id of the token that stands for what has none.
    padding : int
        Id that fills a batch.
    positions : int or None
        Most tokens the network takes, as far as its configuration says.
    """

    name: str
    tokenizer: Tokenizer
    unknown: int | None
    padding: int
    positions: int | None

    def ids(self, smiles: str, max_length: int) -> NDArray[np.int32]:
        """Turn a SMILES into token ids (t,), special tokens included.

        Raises
        ------
        ModalityError
            A character has no token or is rewritten, or the text is too long.
        """
        encoding = self.tokenizer.encode(smiles)
        lost = _rewritten(self.tokenizer, smiles) or self._unread(encoding, smiles)
        if lost:
            raise ModalityError(
                f"molecule '{smiles}': the tokenizer of checkpoint '{self.name}' {lost}; choose a "
                "checkpoint whose vocabulary has it, or drop the molecule"
            )
        self._check_length(smiles, len(encoding.ids), max_length)
        return np.array(encoding.ids, dtype=np.int32)

    def longest(self, max_length: int) -> int:
        """Most tokens of a molecule: `max_length`, or the network's positions if they are fewer."""
        return min(max_length, self.positions or max_length)

    def _check_length(self, smiles: str, length: int, max_length: int) -> None:
        if length <= self.longest(max_length):
            return
        if self.longest(max_length) == max_length:
            rule, remedy = f"max_length={max_length}", "raise max_length"
        else:
            rule = f"the {self.positions} positions of checkpoint '{self.name}'"
            remedy = "choose a checkpoint with more"
        raise ModalityError(
            f"molecule '{smiles}': {length} tokens (special ones included) are more than {rule}; "
            f"{remedy}, or drop the molecule"
        )

    def _unread(self, encoding: Encoding, smiles: str) -> str:
        """Say which piece became the unknown token, or no token at all."""
        spans = [
            (one, span)
            for one, span, special in zip(
                encoding.ids, encoding.offsets, encoding.special_tokens_mask, strict=True
            )
            if not special
        ]
        unknown = [smiles[slice(*span)] for one, span in spans if one == self.unknown]
        if unknown:
            return f"has no token for {unknown[0]!r}"
        if {at for _, span in spans for at in range(*span)} >= set(range(len(smiles))):
            return ""
        # Behind a dropped character places are wrong: it is found by itself.
        alone = (text for text in smiles if not self._reads(text))
        return f"drops the character {next(alone, smiles)!r}"

    def _reads(self, text: str) -> bool:
        return bool(self.tokenizer.encode(text, add_special_tokens=False).ids)


def _rewritten(tokenizer: Tokenizer, smiles: str) -> str:
    """Say what a normalizer makes of a molecule, if that is another text."""
    if tokenizer.normalizer is None:
        return ""
    read = tokenizer.normalizer.normalize_str(smiles).replace(_WORD_START, "").strip()
    return "" if read == smiles else f"reads it as '{read}'"


def read_tokens(checkpoint: Checkpoint) -> TokenVocabulary:
    """Read the tokenizer of a checkpoint, once for as long as its files stay the same.

    Raises
    ------
    ModalityError
        A file is damaged, or needs code that may not run.
    """
    return _read(checkpoint, checkpoint.digest(weights=False))


@lru_cache(maxsize=8)
def _read(checkpoint: Checkpoint, digest: str) -> TokenVocabulary:  # noqa: ARG001 (stamp of the content)
    tokenizer = _tokenizer(checkpoint)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    unknown, padding = (_special(checkpoint, tokenizer, key) for key in ("unk", "pad"))
    config = checkpoint.config
    declared = config.get("pad_token_id")
    fill = declared if declared is not None else padding
    return TokenVocabulary(checkpoint.name, tokenizer, unknown, fill or 0, _positions(config))


def _tokenizer(checkpoint: Checkpoint) -> Tokenizer:
    """Read tokenizer.json; older files are converted by transformers, which loads torch."""
    path = checkpoint.folder / "tokenizer.json"
    if not path.is_file():
        from modalities.nn.language_model import convert_tokenizer

        return convert_tokenizer(checkpoint)
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:
        # The library raises bare Exception for a damaged file: nothing narrower can be caught.
        if type(error) is not Exception:
            raise
        raise checkpoint.damaged(path.name, error) from error


def _special(checkpoint: Checkpoint, tokenizer: Tokenizer, kind: str) -> int | None:
    """Id of a special token, by the files beside the tokenizer or by its model."""
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        named: Any = checkpoint.json(file).get(f"{kind}_token")
        token = named.get("content") if isinstance(named, dict) else named
        if token is not None:
            return tokenizer.token_to_id(token)
    token = getattr(tokenizer.model, f"{kind}_token", None)
    return None if token is None else tokenizer.token_to_id(token)


def _positions(config: dict[str, Any]) -> int | None:
    """Rows of the position table that text can use; None where the network counts none."""
    rows = config.get("max_position_embeddings")
    if not isinstance(rows, int):
        return None
    after = _TABLE_AFTER_PADDING.search(str(config.get("model_type", "")))
    return rows - ((config.get("pad_token_id") or 0) + 1 if after else 0)
