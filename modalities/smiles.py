"""SMILES text, read character by character."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from modalities._base import Record
from modalities.featurizers.characters import TextNetwork, encode_text
from modalities.featurizers.molecule import featurizer_version, parse_smiles

if TYPE_CHECKING:
    from modalities.nn.transformer import TextEncoder


class Smiles:
    """Characters of a SMILES, in the alphabet of Morris et al. (J. Chem. Inf. Model., 2020).

    Features: ``tokens`` uint8 (1 + characters,), with a start token and no end token. The encoder
    is the encoder of their translation transformer; the defaults are smaller than the published
    6 layers, width 512, 8 heads and feedforward 2048.

    Parameters
    ----------
    layers, width, heads, feedforward : int
        Shape of the transformer; `width` is also the width of the embedding.
    dropout : float
        Dropout probability in training.
    max_length : int
        Maximum number of tokens of a molecule, including the start token.
    pooling : {'mean', 'start', 'max'}
        Pooling over the tokens of a molecule; 'start' takes the state of the start token.
    weights : str
        'random' for initial weights from the seed, or a checkpoint of the encoder or of the
        published translator: a file, or a folder written by a pretraining. A relative path is
        also looked for in the folder OLFACTION_WEIGHTS.
    sha256 : str, optional
        Expected sha256 of the checkpoint.
    """

    letter: ClassVar[str] = "S"
    trainable: ClassVar[bool] = True
    fitted: ClassVar[bool] = False

    def __init__(
        self,
        *,
        layers: int = 2,
        width: int = 64,
        heads: int = 4,
        feedforward: int = 128,
        dropout: float = 0.1,
        max_length: int = 256,
        pooling: Literal["mean", "start", "max"] = "mean",
        weights: str = "random",
        sha256: str | None = None,
    ) -> None:
        self.network = TextNetwork(
            name="smiles",
            layers=layers,
            width=width,
            heads=heads,
            feedforward=feedforward,
            dropout=dropout,
            max_length=max_length,
            pooling=pooling,
            weights=weights,
            sha256=sha256,
        )

    @property
    def version(self) -> str:
        """Identity of the featurizer: the alphabet and `max_length`."""
        return featurizer_version("smiles", 1, max_length=self.network.max_length)

    def featurize(self, smiles: str) -> Record:
        """Convert the characters to token ids: ``tokens`` (1 + characters,).

        Raises
        ------
        ModalityError
            The text is not a SMILES, is too long, or has a character outside printable ASCII.
        """
        parse_smiles(smiles)
        source = f"molecule '{smiles}'"
        return {"tokens": encode_text(smiles, source, max_length=self.network.max_length)}

    def encoder(self, *, seed: int) -> TextEncoder:
        """Build the encoder with the weights of the checkpoint, or random ones from `seed`."""
        return self.network.build_encoder(seed=seed)
