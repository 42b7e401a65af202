"""The tokenizer of a checkpoint, which must not lose a character of a molecule. No torch.

A tokenizer silently replaces (unknown token), drops or rewrites (lower case) characters that it
cannot represent; here each of these is an error.
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

_POSITIONS_AFTER_PADDING = re.compile("roberta|camembert|longformer|data2vec-text|xmod|ibert|mpnet")
"""Model types whose first position is the padding id + 1."""
_WORD_START = "\u2581"
"""Character that SentencePiece puts before a word."""


@dataclass(frozen=True)
class CheckedTokenizer:
    """A tokenizer that rejects what it cannot represent.

    Attributes
    ----------
    name : str
        Name of the checkpoint, for messages.
    tokenizer : Tokenizer
        The library's tokenizer, which neither truncates nor pads.
    unknown : int or None
        Id of the unknown token.
    padding : int
        Id of the padding token.
    positions : int or None
        Maximum number of tokens of the network; None if its configuration does not state it.
    """

    name: str
    tokenizer: Tokenizer
    unknown: int | None
    padding: int
    positions: int | None

    def encode(self, smiles: str, max_length: int) -> NDArray[np.int32]:
        """Convert a SMILES to token ids (t,), special tokens included.

        Raises
        ------
        ModalityError
            A character has no token or is rewritten, or the text is too long.
        """
        encoding = self.tokenizer.encode(smiles)
        fault = _find_rewriting(self.tokenizer, smiles) or self._find_loss(encoding, smiles)
        if fault:
            raise ModalityError(
                f"molecule '{smiles}': the tokenizer of checkpoint '{self.name}' {fault}; choose a "
                "checkpoint whose vocabulary has it, or drop the molecule"
            )
        self._check_length(smiles, len(encoding.ids), max_length)
        return np.array(encoding.ids, dtype=np.int32)

    def limit(self, max_length: int) -> int:
        """Return the maximum number of tokens: `max_length`, or `positions` if that is smaller."""
        return min(max_length, self.positions or max_length)

    def _check_length(self, smiles: str, length: int, max_length: int) -> None:
        if length <= self.limit(max_length):
            return
        if self.limit(max_length) == max_length:
            rule, remedy = f"max_length={max_length}", "raise max_length"
        else:
            rule = f"the {self.positions} positions of checkpoint '{self.name}'"
            remedy = "choose a checkpoint with more"
        raise ModalityError(
            f"molecule '{smiles}': {length} tokens (special ones included) are more than {rule}; "
            f"{remedy}, or drop the molecule"
        )

    def _find_loss(self, encoding: Encoding, smiles: str) -> str:
        """Describe the first piece without a token of its own; '' if nothing is lost."""
        tokens = [
            (token, span)
            for token, span, special in zip(
                encoding.ids, encoding.offsets, encoding.special_tokens_mask, strict=True
            )
            if not special
        ]
        unknown = [smiles[slice(*span)] for token, span in tokens if token == self.unknown]
        if unknown:
            return f"has no token for {unknown[0]!r}"
        covered = {position for _, span in tokens for position in range(*span)}
        if covered >= set(range(len(smiles))):
            return ""
        # Offsets after a dropped character are wrong, so each character is tokenized alone.
        dropped = (character for character in smiles if not self._has_token(character))
        return f"drops the character {next(dropped, smiles)!r}"

    def _has_token(self, text: str) -> bool:
        return bool(self.tokenizer.encode(text, add_special_tokens=False).ids)


def _find_rewriting(tokenizer: Tokenizer, smiles: str) -> str:
    """Describe how the normalizer changes a molecule; '' if it does not."""
    if tokenizer.normalizer is None:
        return ""
    text = tokenizer.normalizer.normalize_str(smiles).replace(_WORD_START, "").strip()
    return "" if text == smiles else f"reads it as '{text}'"


def read_tokenizer(checkpoint: Checkpoint) -> CheckedTokenizer:
    """Read the tokenizer of a checkpoint; cached until one of its files changes.

    Raises
    ------
    ModalityError
        A file is damaged, or needs code that may not run.
    """
    return read_tokenizer_version(checkpoint, checkpoint.digest(weights=False))


@lru_cache(maxsize=8)
def read_tokenizer_version(checkpoint: Checkpoint, digest: str) -> CheckedTokenizer:  # noqa: ARG001 (cache key)
    """Read the tokenizer of a checkpoint; `digest` is that of its files, the key of the cache."""
    tokenizer = _read_tokenizer_file(checkpoint)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    unknown, padding = (_find_special_id(checkpoint, tokenizer, kind) for kind in ("unk", "pad"))
    config = checkpoint.config
    declared = config.get("pad_token_id")
    padding = declared if declared is not None else padding
    positions = read_max_tokens(config)
    return CheckedTokenizer(checkpoint.name, tokenizer, unknown, padding or 0, positions)


def _read_tokenizer_file(checkpoint: Checkpoint) -> Tokenizer:
    """Read tokenizer.json; older formats are converted by transformers, which loads torch."""
    path = checkpoint.folder / "tokenizer.json"
    if not path.is_file():
        from modalities.nn.language_model import convert_tokenizer

        return convert_tokenizer(checkpoint)
    try:
        return Tokenizer.from_file(str(path))
    # The library raises a plain Exception for a damaged file, so nothing narrower can be caught;
    # exceptions of a subclass have another cause and pass.
    except Exception as error:
        if type(error) is not Exception:
            raise
        raise checkpoint.build_read_error(path.name, error) from error


def _find_special_id(checkpoint: Checkpoint, tokenizer: Tokenizer, kind: str) -> int | None:
    """Return the id of the special token 'unk' or 'pad', from its files or from its model."""
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        entry: Any = checkpoint.read_json(file).get(f"{kind}_token")
        token = entry.get("content") if isinstance(entry, dict) else entry
        if token is not None:
            return tokenizer.token_to_id(token)
    token = getattr(tokenizer.model, f"{kind}_token", None)
    return None if token is None else tokenizer.token_to_id(token)


def read_max_tokens(config: dict[str, Any]) -> int | None:
    """Return the maximum number of tokens of a network; None if it is not configured."""
    rows = config.get("max_position_embeddings")
    if not isinstance(rows, int):
        return None
    after_padding = _POSITIONS_AFTER_PADDING.search(str(config.get("model_type", "")))
    return rows - ((config.get("pad_token_id") or 0) + 1 if after_padding else 0)
