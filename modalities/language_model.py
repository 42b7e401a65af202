"""SMILES as a pretrained language model reads them (ChemBERTa, MoLFormer and the like)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from modalities._base import ModalityError, Record
from modalities.featurizers.molecule import featurizer_version, parse_smiles, require_option
from modalities.weights.huggingface import Checkpoint, find_checkpoint

if TYPE_CHECKING:
    from modalities.featurizers.tokenizer import TokenVocabulary
    from modalities.nn.language_model import LanguageEncoder

WORD = "language_model"


class LanguageModel:
    """Tokens of a SMILES, as the tokenizer of a checkpoint of the transformers library cuts it.

    Features: ``tokens`` int32 (t,), special tokens included. The encoder is the network of the
    checkpoint without heads, pooler and decoder; its embedding has the network's width.

    A checkpoint is a folder written by ``save_pretrained`` (model and tokenizer), which may be
    inside the folder OLFACTION_WEIGHTS, or a name on the Hugging Face hub. A name that is not in
    the hub's cache yet is fetched when the modality is made; what is cached needs no network.

    Parameters
    ----------
    weights : str
        'random': weights from the seed, in the network that `architecture` names. Otherwise the
        checkpoint whose network, tokenizer and weights are taken.
    sha256 : str, optional
        Digest the checkpoint must have: the output of ``sha256sum FILES | sha256sum`` in its
        folder, FILES being, in alphabetical order, those present of config.json, the tokenizer's
        files and the weights file that is loaded (with the Python files if code is trusted).
        The error for a wrong digest gives the one found.
    architecture : str, optional
        Checkpoint whose network and tokenizer are taken, its weights left alone: the control
        with random weights. Needed with random weights, and only there.
    revision : str, optional
        Branch, tag or commit of a hub name.
    pooling : {'mean', 'start', 'max'}
        How tokens, special ones included, become a molecule; 'start' takes the first's state.
    max_length : int
        Most tokens of a molecule, special ones included; the network's own limit also holds.
    trust_remote_code : bool
        Whether Python files that come with the checkpoint may run. They can do anything you can
        do on this machine: read them first, and fix `revision` (a commit) and `sha256`.

    Raises
    ------
    ModalityError
        No checkpoint is given, or it cannot be found, or lacks a file; the message names it.
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
                f"modality '{WORD}' needs a checkpoint: set weights to a folder or hub name "
                "(such as DeepChem/ChemBERTa-77M-MLM) with its sha256, or, for random weights, "
                "set architecture to it"
            )
        poolings = ("mean", "start", "max")
        whole = self.random or architecture is None
        require_option(WORD, "architecture", architecture, "left out when weights are given", whole)
        checked = sha256 is None or not self.random
        require_option(WORD, "sha256", sha256, "left out when weights are random", checked)
        require_option(WORD, "pooling", pooling, "mean, start or max", pooling in poolings)
        require_option(WORD, "max_length", max_length, "2 or more", max_length >= 2)
        self.name = architecture if architecture is not None else weights
        self.sha256 = sha256
        self.revision = revision
        self.pooling: Literal["mean", "start", "max"] = pooling
        self.max_length = max_length
        self.code = trust_remote_code
        self._find()

    @property
    def version(self) -> str:
        """Identity of the featurizer: configuration and tokenizer, and the longest text."""
        digest = self._find().digest(weights=False)
        return featurizer_version(WORD, 1, "tokenizers", files=digest, max_length=self.max_length)

    def featurize(self, smiles: str) -> Record:
        """Turn a SMILES into token ids: ``tokens`` (t,).

        Raises
        ------
        ModalityError
            Not a SMILES, too long, or the tokenizer lacks a character of it.
        """
        parse_smiles(smiles)
        return {"tokens": self._tokens.ids(smiles, self.max_length)}

    def encoder(self, *, seed: int) -> LanguageEncoder:
        """Return the network with the checkpoint's weights, or random ones from `seed`.

        Raises
        ------
        ModalityError
            The checkpoint has another digest, is damaged, or its weights are not exactly those
            of the network.
        """
        from modalities.nn.language_model import (
            LanguageEncoder,
            load_network,
            positions_of,
            random_network,
        )
        from modalities.nn.random import seeded

        checkpoint, tokens = self._find(), self._tokens
        self._check_digest(checkpoint)
        with seeded(seed):
            network = random_network(checkpoint) if self.random else load_network(checkpoint)
        places = positions_of(network)
        fits = places is None or tokens.longest(self.max_length) <= places
        require_option(
            WORD, "max_length", self.max_length, f"at most {places} for '{self.name}'", fits
        )
        return LanguageEncoder(network, pooling=self.pooling, padding=tokens.padding)

    def _find(self) -> Checkpoint:
        return find_checkpoint(
            self.name, revision=self.revision, code=self.code, weights=not self.random
        )

    @property
    def _tokens(self) -> TokenVocabulary:
        from modalities.featurizers.tokenizer import read_tokens

        return read_tokens(self._find())

    def _check_digest(self, checkpoint: Checkpoint) -> None:
        if self.sha256 is None:
            return
        found = checkpoint.digest(weights=True)
        if found != self.sha256.lower():
            raise ModalityError(
                f"checkpoint '{self.name}': {checkpoint.folder} has digest {found}, not "
                f"{self.sha256}; fetch it again, or correct sha256 if you mean this checkpoint"
            )
