"""The contract of a pretraining objective, its input and the check of its options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from modalities._base import ModalityError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from modalities._base import Modality


@dataclass(frozen=True)
class MoleculeBatch:
    """Molecules for pretraining: structures and, where known, names.

    Attributes
    ----------
    smiles : tuple of str, (n,)
        Canonical SMILES.
    names : tuple of str or None, (n,)
        IUPAC names; None for a molecule without a name.
    """

    smiles: tuple[str, ...]
    names: tuple[str | None, ...]

    def __post_init__(self) -> None:
        if len(self.smiles) != len(self.names):
            raise ModalityError(
                f"{len(self.smiles)} SMILES and {len(self.names)} names: give one name or None "
                "per molecule"
            )

    def __len__(self) -> int:
        return len(self.smiles)


class PretrainingObjective(Protocol):
    """One self-supervised task.

    The name of the class is the name of its file in CamelCase. Options are the keyword-only
    parameters of the class, as for a modality.
    """

    modalities: ClassVar[tuple[str, ...]]
    """Names of the modalities whose encoders it can train."""
    named: ClassVar[bool]
    """Whether every molecule needs a name; molecules without one are left out and counted."""

    @property
    def version(self) -> str:
        """Identity of the task, which changes whenever its results may change."""

    def prepare(self, modality: Modality, molecules: MoleculeBatch) -> Any:  # noqa: ANN401 (type of the objective)
        """Build the examples from which `collate` gathers batches; row i is molecule i.

        Raises
        ------
        ModalityError
            A molecule cannot be represented; the message names it.
        """

    def model(self, encoder: nn.Module, *, seed: int) -> PretrainingModel:
        """Build the model: the encoder with the heads of the task, initialized from `seed`."""

    def collate(
        self,
        examples: Any,  # noqa: ANN401 (type of the objective)
        rows: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> dict[str, torch.Tensor]:
        """Build a batch of these rows; every random view or mask is drawn from `rng`."""


class PretrainingModel(Protocol):
    """An ``nn.Module``: an encoder with the heads of a task."""

    encoder: nn.Module
    """The encoder. Its state dict is the checkpoint that the modality loads."""

    def __call__(self, batch: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """Return the measures of a batch, as scalars by name.

        ``loss`` (a mean) is required and is minimized; the others (``token_accuracy``, ...) are
        computed on held-out molecules.
        """


def require_option(name: str, option: str, value: object, rule: str, holds: bool) -> None:
    """Raise a ModalityError if an option of the objective `name` breaks its rule."""
    if not holds:
        raise ModalityError(f"objective '{name}': {option} must be {rule}, not {value!r}")
