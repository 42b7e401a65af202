"""Parts of an encoder that are held: their weights get no gradient and their modes are frozen."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from torch import nn

from modalities import StagedEncoder
from study.errors import InputError


class FreezeSchedule:
    """Holds submodules of a module, and lets go of those held before.

    A held module is in evaluation mode, so that dropout is off and the statistics of batch norm
    do not move; its own weights get no gradient. Weights that the module never trained stay so.
    """

    def __init__(self, module: nn.Module) -> None:
        self._trainable = [values for values in module.parameters() if values.requires_grad]
        self._held: frozenset[nn.Module] | None = None

    def __call__(self, modules: Iterable[nn.Module]) -> bool:
        """Hold exactly these, each without its children; return whether that is new.

        The first call always is. Modes of the others are as the caller set them.
        """
        before, held = self._held, frozenset(modules)
        self._held = held
        for values in self._trainable:
            values.requires_grad_(True)
        for module in held:
            module.training = False
            for values in module.parameters(recurse=False):
                values.requires_grad_(False)
        return held != before


def frozen_modules(
    encoders: Iterable[nn.Module], epoch: int, *, freeze_epochs: int, top_layers: int | None
) -> Collection[nn.Module]:
    """Return what is held in an epoch, each module without its children.

    Parameters
    ----------
    encoders : iterable of Module
        Encoders that are trained.
    epoch : int
        From 1.
    freeze_epochs : int
        Epochs in which every encoder is held whole.
    top_layers : int or None
        The last stages that are trained afterwards; None: all. What lies outside the stages
        (a dropout between them) is held with them.
    """
    held: set[nn.Module] = set()
    for encoder in encoders:
        if epoch <= freeze_epochs:
            held |= set(encoder.modules())
        elif top_layers is not None:
            held |= set(encoder.modules()) - _top(encoder, top_layers)
    return held


def _top(encoder: nn.Module, layers: int) -> set[nn.Module]:
    stages = list(encoder.stages()) if isinstance(encoder, StagedEncoder) else []
    trained = [encoder] if layers == len(stages) else stages[-layers:]
    return {part for stage in trained for part in stage.modules()}


def check_layers(encoder: object, top_layers: int, name: str) -> None:
    """Check that an encoder has the layers that are to be trained.

    Raises
    ------
    InputError
        It has fewer, or none that can be trained one by one.
    """
    count = len(encoder.stages()) if isinstance(encoder, StagedEncoder) else 0
    if top_layers > count:
        raise InputError(
            f"modality '{name}': 'top_layers' asks for {top_layers} layers and its encoder has "
            f"{count}; give at most {count}, or leave it out to train all"
        )
