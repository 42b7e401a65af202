"""The choices an arm is made of: vocabulary words with their options, and training numbers."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from study.numbers import Training
from study.word import Representation, Word
from study.words import Vocabulary

Calibration = Literal["frozen", "finetune", "joint"]


class Fusion(Word):
    """A fusion operator, for example ``{operator: parallel, stage: logit, combine: mean}``."""

    key: ClassVar[str] = "operator"


class Partition(Word):
    """A label partition, for example ``density`` or ``{partition: affinity, shrinkage: 5}``."""

    key: ClassVar[str] = "partition"


class ModalityChoice(Representation):
    """A modality with its options and how its encoder is calibrated.

    Attributes
    ----------
    calibration : {'frozen', 'finetune', 'joint'}, optional
        ``frozen``: starting weights as they are; ``finetune``: trained with a head of its own,
        then its embeddings are kept; ``joint``: trained through the fusion operator.
        Without it: ``frozen`` for a fitted transform or given weights, otherwise ``finetune``.
    training : Training
        Numbers of the encoder's own training (``finetune``), whatever the arms' numbers are, so
        that all arms share one encoder.
    """

    calibration: Calibration | None = None
    training: Training = Field(default_factory=Training)

    @model_validator(mode="after")
    def _consistent(self) -> ModalityChoice:
        if not self.trainable and self.calibration in ("finetune", "joint"):
            raise ValueError(
                f"'{self.word}' is a fitted transform without weights: calibration "
                f"'{self.calibration}' has nothing to train; use 'frozen'"
            )
        return self

    @cached_property
    def trainable(self) -> bool:
        """Whether the encoder has weights; kept, since every cell of a grid asks."""
        return bool(Vocabulary("modality").load(self.word).trainable)

    @cached_property
    def fitted(self) -> bool:
        """Whether the encoder learns statistics from the training rows."""
        return bool(Vocabulary("modality").load(self.word).fitted)

    @property
    def resolved(self) -> Calibration:
        """The calibration in force."""
        if self.calibration is not None:
            return self.calibration
        return "finetune" if self.trainable and self.weights is None else "frozen"

    def json_value(self) -> dict[str, Any]:
        """Return the plain value that identities are made of."""
        value = {**super().json_value(), "calibration": self.resolved}
        if self.resolved == "finetune":
            value["training"] = self.training.model_dump(mode="json")
        return value
