"""SMILES text, read character by character."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from modalities._base import Record
from modalities.featurizers.characters import TextNetwork, character_ids
from modalities.featurizers.molecule import featurizer_version, parse_smiles

if TYPE_CHECKING:
    from modalities.nn.transformer import TextEncoder


class Smiles:
    """Characters of a SMILES, in the alphabet of Morris et al. (J. Chem. Inf. Model., 2020).

    Features: ``tokens`` uint8 (1 + characters,), start first and no end. The encoder is that of
    their translation transformer, by default a small one; theirs has 6 layers, width 512,
    8 heads and feedforward 2048.

    Parameters
    ----------
    layers, width, heads, feedforward : int
        Shape of the transformer; the embedding has `width` numbers.
    dropout : float
        While training.
    max_length : int
        Most tokens of a molecule, the start included.
    pooling : {'mean', 'start', 'max'}
        How tokens become a molecule; 'start' takes the first one's state.
    weights : str
        'random' (from the seed), or a checkpoint of the encoder or of the published translator:
        a file or a folder made by a pretraining; a relative path may also be inside the folder
        OLFACTION_WEIGHTS.
    sha256 : str, optional
        Hash the checkpoint must have.
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
        """Identity of the featurizer: the alphabet and the longest text it takes."""
        return featurizer_version("smiles", 1, max_length=self.network.max_length)

    def featurize(self, smiles: str) -> Record:
        """Turn characters into ids: ``tokens`` (1 + characters,).

        Raises
        ------
        ModalityError
            Not a SMILES, too long, or a character outside printable ASCII.
        """
        parse_smiles(smiles)
        place = f"molecule '{smiles}'"
        return {"tokens": character_ids(smiles, place, max_length=self.network.max_length)}

    def encoder(self, *, seed: int) -> TextEncoder:
        """Return the network with the weights of the checkpoint, or random ones from `seed`."""
        return self.network.encoder(seed=seed)
