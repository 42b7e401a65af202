"""Numbers of a training, as a study file writes them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from study.config.base import ConfigModel


class TrainingConfig(ConfigModel):
    """Numbers of a training: AdamW, averaged weights, early stopping on the validation part.

    Attributes
    ----------
    epochs, batch_size, learning_rate, weight_decay
        As usual; the decay is AdamW's: a share learning_rate * weight_decay a step.
    encoder_learning_rate, encoder_weight_decay : float
        The same of encoders that are trained; decay would take pretrained weights away.
    average : float
        Decay a step of the moving average of the weights that is validated and kept; 0: none.
    dropout, hidden
        Shape of the head.
    patience : int
        Epochs without a better validation value after which training stops.
    monitor : {'auroc', 'loss'}
        The validation value: macro AUROC, or cross-entropy.
    epoch_steps : int
        Fewest optimizer steps of an epoch: passes over a small training part are joined until
        there are so many.
    workers : int
        Replicas that share every batch while an encoder is trained; a number of the training,
        because dropout and batch statistics depend on it.
    precision : {'float32', 'bfloat16', 'float16'}
        Of matrix products in the forward pass of training; weights and validation are float32.
    freeze_epochs : int
        First epochs in which encoders are held: no gradient, no dropout, no batch statistics.
    top_layers : int or None
        The last stages of an encoder that are trained after that; None: all.
    """

    epochs: Annotated[int, Field(ge=1)] = 150
    batch_size: Annotated[int, Field(ge=2)] = 128
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    encoder_learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    weight_decay: Annotated[float, Field(ge=0)] = 1.0
    encoder_weight_decay: Annotated[float, Field(ge=0)] = 0.0
    average: Annotated[float, Field(ge=0, lt=1)] = 0.99
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    hidden: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (256,)
    patience: Annotated[int, Field(ge=1)] = 10
    monitor: Literal["auroc", "loss"] = "auroc"
    epoch_steps: Annotated[int, Field(ge=1)] = 25
    workers: Annotated[int, Field(ge=1)] = 1
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    freeze_epochs: Annotated[int, Field(ge=0)] = 0
    top_layers: Annotated[int, Field(ge=1)] | None = None
