"""Two-dimensional molecular descriptors of Mordred."""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from modalities._base import ModalityError, Record
from modalities.featurizers.molecule import featurizer_version, parse_smiles, require_option

if TYPE_CHECKING:
    from modalities.nn.scalers import DescriptorScaler

DESCRIPTORS = 1613
"""Number of two-dimensional descriptors."""


class Mordred:
    """All two-dimensional descriptors of Mordred, scaled by statistics of the training rows.

    Moriwaki et al., J. Cheminform. 10:4 (2018), in the maintained distribution mordredcommunity,
    whose version pins the list of descriptors. Features: ``values`` float32 (1, 1613), NaN where
    a descriptor is missing, fails or is not finite.

    Parameters
    ----------
    max_missing : float
        A descriptor that is missing in a larger share of the training rows is dropped.
    max_value : float
        A descriptor with a larger absolute value in any training row is dropped: such columns are
        numerical artifacts, or grow exponentially with the size of the molecule.
    clip : float
        Scaled values are clipped to plus and minus this many standard deviations, so that a
        molecule unlike the training rows cannot saturate a network. Two folds of the 91-label
        table with one small network gave macro AUROC 0.873 at 3, 5 and 10 and 0.870 unclipped.
    """

    letter: ClassVar[str] = "M"
    trainable: ClassVar[bool] = False
    fitted: ClassVar[bool] = True

    def __init__(
        self, *, max_missing: float = 0.2, max_value: float = 1e6, clip: float = 5.0
    ) -> None:
        require_option("mordred", "max_missing", max_missing, "from 0 to 1", 0 <= max_missing <= 1)
        require_option("mordred", "max_value", max_value, "above 0", max_value > 0)
        require_option("mordred", "clip", clip, "above 0", clip > 0)
        self.max_missing = max_missing
        self.max_value = max_value
        self.clip = clip

    @property
    def version(self) -> str:
        """Identity of the featurizer; the scaling is part of the encoder and not included."""
        return featurizer_version("mordred", 1, "mordredcommunity", "rdkit")

    def featurize(self, smiles: str) -> Record:
        """Compute the descriptors of a molecule: ``values`` (1, 1613), in the library's order."""
        from mordred import is_missing
        from rdkit import rdBase

        mol = parse_smiles(smiles)
        with warnings.catch_warnings(), rdBase.BlockLogs(), np.errstate(all="ignore"):
            # Mordred turns every exception into a missing value. Where the process's filters turn
            # warnings into errors, a warning would therefore change a feature.
            warnings.simplefilter("ignore")
            results = build_calculator()(mol)
        raw = [np.nan if is_missing(value) else value for value in results]
        values = np.array(raw, dtype=np.float64)
        # Infinite values (such as log 0), and those that would be infinite in float32.
        values[np.abs(values) > np.finfo(np.float32).max] = np.nan
        return {"values": values.astype(np.float32)[None, :]}

    def encoder(self, *, seed: int) -> DescriptorScaler:  # noqa: ARG002 (nothing is random)
        """Build the transform to be fitted: filter, impute, signed log, scale, clip."""
        from modalities.nn.scalers import DescriptorScaler

        return DescriptorScaler(
            max_missing=self.max_missing, max_value=self.max_value, clip=self.clip
        )


def list_descriptor_names() -> tuple[str, ...]:
    """Return the names of the columns, (1613,)."""
    return tuple(str(descriptor) for descriptor in build_calculator().descriptors)


@cache
def build_calculator() -> Any:  # noqa: ANN401 (the library has no types)
    """Build Mordred's calculator, once per process: it takes a quarter of a second.

    Raises
    ------
    ModalityError
        The installed version has another list of descriptors.
    """
    from mordred import Calculator, descriptors

    calculator = Calculator(descriptors, ignore_3D=True)
    if len(calculator) != DESCRIPTORS:
        raise ModalityError(
            f"modality 'mordred': the installed mordredcommunity has {len(calculator)} "
            f"descriptors, not {DESCRIPTORS}; install the version in constraints.txt"
        )
    return calculator
