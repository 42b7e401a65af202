"""The contract of a pretraining objective and the rules for masking its inputs."""

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
    """What pretraining may see of a molecule: its structure and, where there is one, its name.

    Attributes
    ----------
    smiles : tuple of str, (n,)
        Canonical SMILES.
    names : tuple of str or None, (n,)
        IUPAC names; None where there is none.
    """

    smiles: tuple[str, ...]
    names: tuple[str | None, ...]

    def __post_init__(self) -> None:
        if len(self.smiles) != len(self.names):
            raise ModalityError(
                f"{len(self.smiles)} SMILES and {len(self.names)} names: give one name or None "
                "a molecule"
            )

    def __len__(self) -> int:
        return len(self.smiles)


class PretrainingObjective(Protocol):
    """One self-supervised task. The class of a file has the file's name in CamelCase.

    Options are the keyword-only parameters of the class, as for a modality.
    """

    modalities: ClassVar[tuple[str, ...]]
    """Words of the modalities whose encoders it can train."""
    named: ClassVar[bool]
    """Whether a molecule needs a name; molecules without one are left out and counted."""

    @property
    def version(self) -> str:
        """Identity of the task: changes whenever its numbers may change."""

    def prepare(self, modality: Modality, molecules: MoleculeBatch) -> Any:  # noqa: ANN401 (the objective's own)
        """Return what `collate` gathers from: done once, row i is molecule i.

        Raises
        ------
        ModalityError
            A molecule cannot be represented; the message names it.
        """

    def model(self, encoder: nn.Module, *, seed: int) -> PretrainingModel:
        """Return the encoder with the task's own heads, which start from `seed`."""

    def collate(
        self,
        examples: Any,  # noqa: ANN401 (the objective's own)
        rows: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> dict[str, torch.Tensor]:
        """Make one batch; every random view or mask is drawn from `rng`."""


class PretrainingModel(Protocol):
    """An ``nn.Module``: an encoder and what the task puts on it."""

    encoder: nn.Module
    """What is kept: its state dict is the checkpoint that the modality loads."""

    def __call__(self, batch: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """Return scalars of the batch by name.

        ``loss`` (a mean) is trained and must be there; the others (``token_accuracy``, ...) are
        measured on held-out molecules.
        """


def require_option(word: str, option: str, value: object, rule: str, holds: bool) -> None:
    """Refuse an option of an objective that breaks its rule."""
    if not holds:
        raise ModalityError(f"objective '{word}': {option} must be {rule}, not {value!r}")
