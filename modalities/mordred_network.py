"""Two-dimensional descriptors, embedded by a network that can be pretrained."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from modalities._base import Record
from modalities.featurizers.molecule import require_option
from modalities.mordred import DESCRIPTORS, Mordred

if TYPE_CHECKING:
    from modalities.nn.tabular import TabularEncoder

NAME = "mordred_network"


class MordredNetwork:
    """A network on the descriptors of `modalities.mordred.Mordred`, whose features it shares.

    The scaler (filter, impute, signed log, scale, clip) is fitted on the training rows and always
    has width 1613: a dropped descriptor is 0. A pretrained checkpoint contains the scaler of its
    pretraining molecules, which `fit` does not change. If those molecules include test molecules,
    the scaler, like the weights, depends on their structures, but never on a label (transductive
    in structures).

    Parameters
    ----------
    width, layers, embedding : int
        Width and number of the hidden layers, and width of the embedding.
    dropout : float
        Dropout probability after each hidden layer in training.
    weights : str
        'random' for initial weights from the seed, or a checkpoint of this network: a file, or a
        folder written by a pretraining. A relative path is also looked for in the folder
        OLFACTION_WEIGHTS.
    sha256 : str, optional
        Expected sha256 of the checkpoint.
    max_missing, max_value, clip : float
        As in `modalities.mordred.Mordred`; the first two have no effect with a checkpoint.
    """

    letter: ClassVar[str] = "MN"
    trainable: ClassVar[bool] = True
    fitted: ClassVar[bool] = True

    def __init__(
        self,
        *,
        width: int = 512,
        layers: int = 2,
        embedding: int = 256,
        dropout: float = 0.3,
        weights: str = "random",
        sha256: str | None = None,
        max_missing: float = 0.2,
        max_value: float = 1e6,
        clip: float = 5.0,
    ) -> None:
        for name, size in {"width": width, "layers": layers, "embedding": embedding}.items():
            require_option(NAME, name, size, "1 or more", size >= 1)
        require_option(NAME, "dropout", dropout, "from 0 to below 1", 0 <= dropout < 1)
        allowed = sha256 is None or weights != "random"
        require_option(NAME, "sha256", sha256, "left out with random weights", allowed)
        self.width, self.layers, self.embedding = width, layers, embedding
        self.dropout = dropout
        self.weights = weights
        self.sha256 = sha256
        self._descriptors = Mordred(max_missing=max_missing, max_value=max_value, clip=clip)

    @property
    def version(self) -> str:
        """Identity of the featurizer, which is that of `mordred`: both share stored features."""
        return self._descriptors.version

    def featurize(self, smiles: str) -> Record:
        """Compute the descriptors of a molecule: ``values`` (1, 1613)."""
        return self._descriptors.featurize(smiles)

    def encoder(self, *, seed: int) -> TabularEncoder:
        """Build the encoder with the weights of the checkpoint, or random ones from `seed`."""
        from modalities.nn.random import seeded
        from modalities.nn.tabular import ScaledColumns, TabularEncoder
        from modalities.weights.checkpoint import find_weights, load_weights

        mordred = self._descriptors
        limits = {name: getattr(mordred, name) for name in ("max_missing", "max_value", "clip")}
        with seeded(seed):
            network = TabularEncoder(
                ScaledColumns(DESCRIPTORS, **limits),
                columns=DESCRIPTORS,
                width=self.width,
                layers=self.layers,
                embedding=self.embedding,
                dropout=self.dropout,
            )
        if self.weights != "random":
            load_weights(network, find_weights(self.weights), sha256=self.sha256)
        return network
