"""Encoders built on Hugging Face transformers, from a checkpoint or with random weights."""

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
    """Pooled states of the last layer of a language model: ``pool(network(tokens))``.

    Padding is neither attended to nor pooled.

    Parameters
    ----------
    network : nn.Module
        An encoder of the transformers library.
    pooling : {'mean', 'start', 'max'}
        Pooling over all tokens, special ones included.
    padding : int
        Id of the padding token.
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
        """Return the embeddings, then every layer, the last one with the modules after it."""
        return split_into_stages(self.network)

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
        output = self.network(input_ids=batch["tokens"], attention_mask=inside.long())
        states: torch.Tensor = output.last_hidden_state  # (b, t, d)
        if self.pooling == "start":
            return states[:, 0]
        mask = inside[..., None]
        if self.pooling == "max":
            return states.masked_fill(~mask, -torch.inf).amax(dim=1)
        return (states * mask).sum(dim=1) / mask.sum(dim=1)


def count_positions(network: nn.Module) -> int | None:
    """Return the number of positions in the network's position table; None without a table."""
    tables = [m for name, m in network.named_modules() if name.endswith("position_embeddings")]
    for table in tables:
        if isinstance(table, nn.Embedding):
            # With a padding id, positions are counted from the padding id + 1.
            unused = 0 if table.padding_idx is None else table.padding_idx + 1
            return table.num_embeddings - unused
    return None


def split_into_stages(network: nn.Module) -> list[nn.Module]:
    """Split a network at its longest list of layers.

    The stages are the modules before the layers, every layer, and the modules after the layers,
    which join the last layer. Stages without parameters are left out.
    """
    lists: dict[str, nn.ModuleList] = {}
    for name, module in network.named_modules():
        nested = any(name.startswith(f"{outer}.") for outer in lists)
        if isinstance(module, nn.ModuleList) and not nested:
            lists[name] = module
    if not lists:
        return [network]
    layers = max(lists.values(), key=len)
    parts = _split_around(network, layers)
    position = parts.index(layers)
    *lower, last = layers
    before, top = nn.ModuleList(parts[:position]), nn.ModuleList([last, *parts[position + 1 :]])
    stages = [before, *lower, top]
    return [stage for stage in stages if any(True for _ in stage.parameters())]


def _split_around(module: nn.Module, layers: nn.Module) -> list[nn.Module]:
    """Split a module so that `layers` is one of its parts, in the order of registration."""
    if module is layers or layers not in module.modules():
        return [module]
    parameters = list(module.parameters(recurse=False))
    parts: list[nn.Module] = [nn.ParameterList(parameters)] if parameters else []
    return parts + [part for child in module.children() for part in _split_around(child, layers)]


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
"""Errors of the library for damaged files, unknown types and code that may not run."""
_SHOWN_NAMES = 4
_AUTO_MODEL: Any = AutoModel
_LOGGING: Any = library_logging
"""Both are `Any` because the library leaves parts of them untyped."""


def load_network(checkpoint: Checkpoint) -> nn.Module:
    """Load the network of a checkpoint; only tensors are unpickled.

    Heads that are not part of the encoder are ignored.

    Raises
    ------
    ModalityError
        A file is damaged, the type of network is unknown, or weights of the encoder are missing,
        left over or of another shape.
    """
    with _report_errors(checkpoint):
        network, report = _AUTO_MODEL.from_pretrained(
            checkpoint.folder,
            config=_read_config(checkpoint),
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are rejected below, by name
            local_files_only=True,
            trust_remote_code=checkpoint.trust_code,
            weights_only=True,
            dtype=torch.float32,
        )
    _check_loading(checkpoint, network, report)
    return _extract_encoder(network)


def build_network(checkpoint: Checkpoint) -> nn.Module:
    """Build the network of a checkpoint with the random initial weights of the library.

    Raises
    ------
    ModalityError
        The configuration is damaged or of an unknown type.
    """
    with _report_errors(checkpoint):
        network = _AUTO_MODEL.from_config(
            _read_config(checkpoint), trust_remote_code=checkpoint.trust_code, dtype=torch.float32
        )
    return _extract_encoder(network)


def convert_tokenizer(checkpoint: Checkpoint) -> Tokenizer:
    """Convert the tokenizer of a checkpoint from files older than tokenizer.json.

    Raises
    ------
    ModalityError
        The files cannot be converted.
    """
    with _report_errors(checkpoint):
        original = AutoTokenizer.from_pretrained(
            checkpoint.folder, local_files_only=True, trust_remote_code=checkpoint.trust_code
        )
    tokenizer: Tokenizer | None = getattr(original, "backend_tokenizer", None)
    if tokenizer is None:
        raise ModalityError(
            f"checkpoint '{checkpoint.name}': its tokenizer {type(original).__name__} cannot be "
            "written as tokenizer.json; save it with a fast tokenizer"
        )
    return tokenizer


def _read_config(checkpoint: Checkpoint) -> Any:  # noqa: ANN401 (any class of the library)
    config = AutoConfig.from_pretrained(
        checkpoint.folder, local_files_only=True, trust_remote_code=checkpoint.trust_code
    )
    # By default MoLFormer draws new random features of its attention in every batch.
    if hasattr(config, "deterministic_eval"):
        config.deterministic_eval = True
    return config


def _extract_encoder(network: Any) -> nn.Module:  # noqa: ANN401 (any class of the library)
    """Return the network without decoder and pooler, which do not affect the hidden states."""
    if network.config.is_encoder_decoder:
        network = network.get_encoder()
    if getattr(network, "pooler", None) is not None:
        network.pooler = None
    encoder: nn.Module = network.train()
    return encoder


def _check_loading(
    checkpoint: Checkpoint, network: nn.Module, report: Mapping[str, Collection[Any]]
) -> None:
    """Raise a ModalityError unless all weights of the encoder were loaded, and none is left."""
    children = {name for name, _ in network.named_children()} - {"pooler"}
    prefix = f"{getattr(network, 'base_model_prefix', '')}."
    # Weights of heads are expected to be left over: those outside the network's children.
    left = [name for name in report["unexpected_keys"] if _get_child(name, prefix) in children]
    lists = {
        "missing": [
            name for name in report["missing_keys"] if _get_child(name, prefix) != "pooler"
        ],
        # Old checkpoints store the position ids, which the library computes now.
        "left over": [name for name in left if not name.endswith("position_ids")],
        "of another shape": [str(name) for name, *_ in report["mismatched_keys"]],
    }
    mistakes = [
        f"{len(names)} {kind} ({_shorten(sorted(names))})" for kind, names in lists.items() if names
    ]
    if mistakes:
        raise ModalityError(
            f"checkpoint '{checkpoint.name}': its weights are not those of the "
            f"{type(network).__name__} that its config.json describes: {'; '.join(mistakes)}; "
            "give the folder as save_pretrained wrote it"
        )


def _get_child(name: str, prefix: str) -> str:
    """Return the name of the network's child that a weight belongs to."""
    return name.removeprefix(prefix).partition(".")[0]


def _shorten(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


@contextmanager
def _report_errors(checkpoint: Checkpoint) -> Iterator[None]:
    """Silence the library's logs and progress bars, and turn its errors into a ModalityError."""
    level, bars = _LOGGING.get_verbosity(), _LOGGING.is_progress_bar_enabled()
    _LOGGING.set_verbosity(logging.CRITICAL)
    _LOGGING.disable_progress_bar()
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
        _LOGGING.set_verbosity(level)
        if bars:
            _LOGGING.enable_progress_bar()
