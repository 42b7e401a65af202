"""Encoders built on Hugging Face transformers, from a checkpoint or from random weights."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging as library_logging

from modalities._base import ModalityError, ModalityFeatures
from modalities.weights.huggingface import Checkpoint


class LanguageEncoder(nn.Module):
    """``pool(network(tokens))``: the states of the last layer; padding takes no part.

    Parameters
    ----------
    network : nn.Module
        An encoder of the transformers library.
    pooling : {'mean', 'start', 'max'}
        Over all tokens, special ones included.
    padding : int
        Id that fills a batch.
    """

    def __init__(
        self, network: nn.Module, *, pooling: Literal["mean", "start", "max"], padding: int
    ) -> None:
        super().__init__()
        self.network = network
        self.pooling = pooling
        self.padding = padding

    @property
    def dim(self) -> int:
        """Width of the last layer's states."""
        config: Any = self.network.config
        return int(config.hidden_size)

    def stages(self) -> Sequence[nn.Module]:
        """Embeddings, each layer; what comes after the layers belongs to the last."""
        return stages_of(self.network)

    def fit(self, features: ModalityFeatures, rows: NDArray[np.int64]) -> None:
        """Fit nothing: all weights are trained."""

    def collate(
        self, features: ModalityFeatures, rows: NDArray[np.int64]
    ) -> dict[str, torch.Tensor]:
        """Pad to the longest text of the batch: tokens (b, t) and inside bool (b, t)."""
        texts = features.fields["tokens"].take(rows)
        inside = np.arange(texts.lengths.max(initial=0)) < texts.lengths[:, None]
        tokens = np.full(inside.shape, self.padding, dtype=np.int64)
        tokens[inside] = texts.values
        return {"tokens": torch.from_numpy(tokens), "inside": torch.from_numpy(inside)}

    def forward(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Embed a batch: -> (b, d)."""
        inside = batch["inside"]
        read = self.network(input_ids=batch["tokens"], attention_mask=inside.long())
        states: torch.Tensor = read.last_hidden_state  # (b, t, d)
        if self.pooling == "start":
            return states[:, 0]
        if self.pooling == "max":
            return states.masked_fill(~inside[..., None], -torch.inf).amax(dim=1)
        text = inside[..., None]
        return (states * text).sum(dim=1) / text.sum(dim=1)


def positions_of(network: nn.Module) -> int | None:
    """Most tokens that the network's table of positions can take; None without a table."""
    tables = [m for name, m in network.named_modules() if name.endswith("position_embeddings")]
    for table in tables:
        if isinstance(table, nn.Embedding):
            before = 0 if table.padding_idx is None else table.padding_idx + 1
            return table.num_embeddings - before
    return None


def stages_of(network: nn.Module) -> list[nn.Module]:
    """Cut a network at its longest list of layers: what is before, each layer, what is after."""
    lists: dict[str, nn.ModuleList] = {}
    for name, module in network.named_modules():
        inner = any(name.startswith(f"{outer}.") for outer in lists)
        if isinstance(module, nn.ModuleList) and not inner:
            lists[name] = module
    if not lists:
        return [network]
    layers = max(lists.values(), key=len)
    parts = _parts(network, layers)
    at = parts.index(layers)
    *lower, last = layers
    ends = [nn.ModuleList(parts[:at]), nn.ModuleList([last, *parts[at + 1 :]])]
    stages = [ends[0], *lower, ends[1]]
    return [stage for stage in stages if any(True for _ in stage.parameters())]


def _parts(module: nn.Module, layers: nn.Module) -> list[nn.Module]:
    """Split what contains `layers` into parts, in the order of their registration."""
    if module is layers or layers not in module.modules():
        return [module]
    own = list(module.parameters(recurse=False))
    first: list[nn.Module] = [nn.ParameterList(own)] if own else []
    return first + [part for child in module.children() for part in _parts(child, layers)]


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
