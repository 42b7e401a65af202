"""Morgan count fingerprint: how often each circular atom environment occurs."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from modalities._base import Record
from modalities.featurizers.molecule import featurizer_version, parse_smiles, require_option

if TYPE_CHECKING:
    from modalities.nn.scalers import LogCounts


class Fingerprint:
    """Hashed Morgan counts (Rogers and Hahn, J. Chem. Inf. Model. 50:742, 2010), as log(1 + n).

    Features: ``counts`` uint16 (1, size). The encoder drops the environments whose count is
    constant over the training rows; nothing else is fitted.

    Parameters
    ----------
    radius : int
        Radius of an environment in bonds.
    size : int
        Length of the hashed vector.
    chirality : bool
        Whether environments that differ only in a stereocenter are counted separately.
    """

    letter: ClassVar[str] = "F"
    trainable: ClassVar[bool] = False
    fitted: ClassVar[bool] = True

    def __init__(self, *, radius: int = 2, size: int = 2048, chirality: bool = False) -> None:
        require_option("fingerprint", "radius", radius, "0 or more", radius >= 0)
        require_option("fingerprint", "size", size, "1 or more", size >= 1)
        self.radius = radius
        self.size = size
        self.chirality = chirality

    @property
    def version(self) -> str:
        """Identity of the featurizer: the version of RDKit and every option."""
        options = {"radius": self.radius, "size": self.size, "chirality": self.chirality}
        return featurizer_version("fingerprint", 1, "rdkit", **options)

    def featurize(self, smiles: str) -> Record:
        """Count the environments of a molecule: ``counts`` (1, size)."""
        generator = _build_generator(self.radius, self.size, self.chirality)
        counts = generator.GetCountFingerprintAsNumPy(parse_smiles(smiles))
        return {"counts": counts.astype(np.uint16)[None, :]}

    def encoder(self, *, seed: int) -> LogCounts:  # noqa: ARG002 (nothing is random)
        """Build the transform: drop constant columns, then log(1 + n)."""
        from modalities.nn.scalers import LogCounts

        return LogCounts()


@cache
def _build_generator(radius: int, size: int, chirality: bool) -> Any:  # noqa: ANN401 (untyped library)
    """Build a fingerprint generator, once per process."""
    from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

    return GetMorganGenerator(radius=radius, fpSize=size, includeChirality=chirality)
