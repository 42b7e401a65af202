"""The section ``training`` of a study file: settings of the optimizer, the head and stopping."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from study.config.base import ConfigModel


class TrainingConfig(ConfigModel):
    """Settings of a training: AdamW, averaged weights, early stopping on the validation part.

    Attributes
    ----------
    epochs : int
        Maximum number of epochs.
    batch_size : int
        Molecules per optimizer step, over all workers.
    learning_rate : float
        Learning rate of the head.
    weight_decay : float
        Weight decay of the head. It is AdamW's: weights shrink by learning_rate * weight_decay
        per step.
    encoder_learning_rate, encoder_weight_decay : float
        The same for trained encoders; weight decay would erase pretrained weights.
    average : float
        Decay per step of the moving average of the weights that is validated and stored; 0: none.
    dropout : float
        Dropout rate of the head.
    hidden : list of int
        Widths of the hidden layers of the head.
    patience : int
        Epochs without a better validation value before training stops.
    monitor : {'auroc', 'loss'}
        The validation value: macro AUROC, or cross-entropy.
    epoch_steps : int
        Minimum number of optimizer steps per epoch: an epoch has several passes over a small
        training part.
    workers : int
        Replicas that share every batch while an encoder is trained. It is part of the training
        settings because dropout and batch statistics depend on it.
    precision : {'float32', 'bfloat16', 'float16'}
        Precision of matrix products in the forward pass of training; weights and validation are
        float32.
    freeze_epochs : int
        First epochs in which encoders are frozen: no gradient, no dropout, no batch statistics.
    top_layers : int or None
        Number of last stages of an encoder that are trained after that; None: all.
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
