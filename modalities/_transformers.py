"""Networks of the transformers library, loaded whole or not at all."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging as library_logging

from modalities._base import ModalityError
from modalities._checkpoint import Checkpoint

_UNREADABLE = (
    OSError,
    RuntimeError,
    ValueError,
    KeyError,
    EOFError,
    TypeError,
    AttributeError,
    ImportError,
    SafetensorError,
    pickle.UnpicklingError,
)
"""What the library raises for damaged files, unknown types and code that may not run."""
_SHOWN_NAMES = 4
_AUTO: Any = AutoModel
_MESSAGES: Any = library_logging
"""The library leaves parts of these untyped."""


def load_network(checkpoint: Checkpoint) -> nn.Module:
    """Load a checkpoint; nothing but tensors is unpickled.

    Raises
    ------
    ModalityError
        A file is damaged, the type of network is unknown, or weights of the encoder are missing,
        left over or of another shape. Heads that the encoder has no use for are ignored.
    """
    with _reading(checkpoint):
        network, found = _AUTO.from_pretrained(
            checkpoint.folder,
            config=_config(checkpoint),
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # to refuse them below, by name
            local_files_only=True,
            trust_remote_code=checkpoint.code,
            weights_only=True,
            dtype=torch.float32,
        )
    _refuse_partial(checkpoint, network, found)
    return _encoder_of(network)


def random_network(checkpoint: Checkpoint) -> nn.Module:
    """Build the architecture of a checkpoint, its weights drawn as the library draws them.

    Raises
    ------
    ModalityError
        The configuration is damaged or of an unknown type.
    """
    with _reading(checkpoint):
        network = _AUTO.from_config(
            _config(checkpoint), trust_remote_code=checkpoint.code, dtype=torch.float32
        )
    return _encoder_of(network)


def convert_tokenizer(checkpoint: Checkpoint) -> Tokenizer:
    """Make a tokenizer from files older than tokenizer.json.

    Raises
    ------
    ModalityError
        It cannot be made from what the folder has.
    """
    with _reading(checkpoint):
        made = AutoTokenizer.from_pretrained(
            checkpoint.folder, local_files_only=True, trust_remote_code=checkpoint.code
        )
    tokenizer: Tokenizer | None = getattr(made, "backend_tokenizer", None)
    if tokenizer is None:
        raise ModalityError(
            f"checkpoint '{checkpoint.name}': its tokenizer {type(made).__name__} cannot be "
            "written as tokenizer.json; save it with a fast tokenizer"
        )
    return tokenizer


def _config(checkpoint: Checkpoint) -> Any:  # noqa: ANN401 (any class of the library)
    config = AutoConfig.from_pretrained(
        checkpoint.folder, local_files_only=True, trust_remote_code=checkpoint.code
    )
    if hasattr(config, "deterministic_eval"):  # MoLFormer draws its attention anew in each batch
        config.deterministic_eval = True
    return config


def _encoder_of(network: Any) -> nn.Module:  # noqa: ANN401 (any class of the library)
    """Drop what the states of the last layer do not pass through: decoder and pooler."""
    if network.config.is_encoder_decoder:
        network = network.get_encoder()
    if getattr(network, "pooler", None) is not None:
        network.pooler = None
    encoder: nn.Module = network.train()
    return encoder


def _refuse_partial(
    checkpoint: Checkpoint, network: nn.Module, found: Mapping[str, Collection[Any]]
) -> None:
    inside = {name for name, _ in network.named_children()} - {"pooler"}
    prefix = f"{getattr(network, 'base_model_prefix', '')}."
    left = [name for name in found["unexpected_keys"] if _top(name, prefix) in inside]
    lists = {
        "missing": [name for name in found["missing_keys"] if _top(name, prefix) != "pooler"],
        "left over": [name for name in left if not name.endswith("position_ids")],
        "of another shape": [str(name) for name, *_ in found["mismatched_keys"]],
    }
    wrong = [f"{len(n)} {what} ({_some(sorted(n))})" for what, n in lists.items() if n]
    if wrong:
        raise ModalityError(
            f"checkpoint '{checkpoint.name}': its weights are not those of the "
            f"{type(network).__name__} that its config.json describes: {'; '.join(wrong)}; "
            "give the folder as save_pretrained wrote it"
        )


def _top(name: str, prefix: str) -> str:
    """Child of the network that a weight belongs to."""
    return name.removeprefix(prefix).partition(".")[0]


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


@contextmanager
def _reading(checkpoint: Checkpoint) -> Iterator[None]:
    """Silence the library's reports and progress bars; say what it cannot read."""
    level, bars = _MESSAGES.get_verbosity(), _MESSAGES.is_progress_bar_enabled()
    _MESSAGES.set_verbosity(logging.CRITICAL)
    _MESSAGES.disable_progress_bar()
    try:
        yield
    except _UNREADABLE as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise ModalityError(
            f"checkpoint '{checkpoint.name}': {checkpoint.folder} cannot be loaded "
            f"({type(error).__name__}: {reason}); a file is damaged, of a type this transformers "
            "library does not know, or needs trust_remote_code"
        ) from error
    finally:
        _MESSAGES.set_verbosity(level)
        if bars:
            _MESSAGES.enable_progress_bar()
