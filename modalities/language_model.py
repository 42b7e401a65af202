"""SMILES, embedded by a pretrained language model (ChemBERTa, MoLFormer and others)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from modalities._base import ModalityError, Record
from modalities.featurizers.molecule import featurizer_version, parse_smiles, require_option
from modalities.weights.huggingface import Checkpoint, find_checkpoint

if TYPE_CHECKING:
    from modalities.featurizers.tokenizer import CheckedTokenizer
    from modalities.nn.language_model import LanguageEncoder

NAME = "language_model"


class LanguageModel:
    """Tokens of a SMILES, by the tokenizer of a checkpoint of the transformers library.

    Features: ``tokens`` int32 (t,), special tokens included. The encoder is the network of the
    checkpoint without heads, pooler and decoder; the embedding has the width of its hidden states.

    A checkpoint is a folder written by ``save_pretrained`` (model and tokenizer), also looked for
    in the folder OLFACTION_WEIGHTS, or a name on the Hugging Face hub. A name that is not in the
    hub's cache is downloaded when the modality is built; a cached one needs no network.

    Parameters
    ----------
    weights : str
        'random' for the network of `architecture` with initial weights from the seed, or the
        checkpoint that provides network, tokenizer and weights.
    sha256 : str, optional
        Expected digest of the checkpoint: the output of ``sha256sum FILES | sha256sum`` in its
        folder. FILES are, in alphabetical order and as far as they exist, config.json, the files
        of the tokenizer and the weights file that is loaded (and the Python files if code is
        trusted). The error for a wrong digest states the actual one.
    architecture : str, optional
        Checkpoint that provides network and tokenizer but not the weights: the control with
        random weights. Required with random weights, and not allowed otherwise.
    revision : str, optional
        Branch, tag or commit of a hub name.
    pooling : {'mean', 'start', 'max'}
        Pooling over all tokens of a molecule, special ones included; 'start' takes the state of
        the first token.
    max_length : int
        Maximum number of tokens of a molecule, special ones included. The network's limit applies
        too.
    trust_remote_code : bool
        Whether Python files of the checkpoint may run. They can do anything you can do on this
        machine: read them first, and fix `revision` (a commit) and `sha256`.

    Raises
    ------
    ModalityError
        No checkpoint is given, it cannot be found, or it lacks a file; the message names it.
    """

    letter: ClassVar[str] = "L"
    trainable: ClassVar[bool] = True
    fitted: ClassVar[bool] = False

    def __init__(
        self,
        *,
        weights: str = "random",
        sha256: str | None = None,
        architecture: str | None = None,
        revision: str | None = None,
        pooling: Literal["mean", "start", "max"] = "mean",
        max_length: int = 512,
        trust_remote_code: bool = False,
    ) -> None:
        self.random = weights == "random"
        if self.random and not architecture:
            raise ModalityError(
                f"modality '{NAME}' needs a checkpoint: set weights to a folder or hub name "
                "(such as DeepChem/ChemBERTa-77M-MLM) with its sha256, or, for random weights, "
                "set architecture to it"
            )
        poolings = ("mean", "start", "max")
        allowed = self.random or architecture is None
        require_option(
            NAME, "architecture", architecture, "left out when weights are given", allowed
        )
        allowed = sha256 is None or not self.random
        require_option(NAME, "sha256", sha256, "left out when weights are random", allowed)
        require_option(NAME, "pooling", pooling, "mean, start or max", pooling in poolings)
        require_option(NAME, "max_length", max_length, "2 or more", max_length >= 2)
        self.name = architecture if architecture is not None else weights
        self.sha256 = sha256
        self.revision = revision
        self.pooling: Literal["mean", "start", "max"] = pooling
        self.max_length = max_length
        self.trust_remote_code = trust_remote_code
        self._find_checkpoint()

    @property
    def version(self) -> str:
        """Identity of the featurizer: configuration, tokenizer and `max_length`."""
        digest = self._find_checkpoint().digest(weights=False)
        return featurizer_version(NAME, 1, "tokenizers", files=digest, max_length=self.max_length)

    def featurize(self, smiles: str) -> Record:
        """Convert a SMILES to token ids: ``tokens`` (t,).

        Raises
        ------
        ModalityError
            The text is not a SMILES, is too long, or has a character without a token.
        """
        parse_smiles(smiles)
        return {"tokens": self._tokenizer.encode(smiles, self.max_length)}

    def encoder(self, *, seed: int) -> LanguageEncoder:
        """Build the encoder with the weights of the checkpoint, or random ones from `seed`.

        Raises
        ------
        ModalityError
            The checkpoint has another digest or is damaged, its weights do not match the network
            exactly, or the network has too few positions for `max_length`.
        """
        from modalities.nn.language_model import (
            LanguageEncoder,
            build_network,
            count_positions,
            load_network,
        )
        from modalities.nn.random import seeded

        checkpoint, tokenizer = self._find_checkpoint(), self._tokenizer
        self._check_digest(checkpoint)
        with seeded(seed):
            network = build_network(checkpoint) if self.random else load_network(checkpoint)
        positions = count_positions(network)
        fits = positions is None or tokenizer.limit(self.max_length) <= positions
        require_option(
            NAME, "max_length", self.max_length, f"at most {positions} for '{self.name}'", fits
        )
        return LanguageEncoder(network, pooling=self.pooling, padding=tokenizer.padding)

    def _find_checkpoint(self) -> Checkpoint:
        return find_checkpoint(
            self.name,
            revision=self.revision,
            trust_code=self.trust_remote_code,
            weights=not self.random,
        )

    @property
    def _tokenizer(self) -> CheckedTokenizer:
        from modalities.featurizers.tokenizer import read_tokenizer

        return read_tokenizer(self._find_checkpoint())

    def _check_digest(self, checkpoint: Checkpoint) -> None:
        if self.sha256 is None:
            return
        digest = checkpoint.digest(weights=True)
        if digest != self.sha256.lower():
            raise ModalityError(
                f"checkpoint '{self.name}': {checkpoint.folder} has digest {digest}, not "
                f"{self.sha256}; fetch it again, or correct sha256 if you mean this checkpoint"
            )
