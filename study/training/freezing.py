"""Freeze parts of an encoder: no gradient for their weights, evaluation mode for their layers."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from torch import nn

from modalities import StagedEncoder
from study.errors import InputError


class FreezeSchedule:
    """Freezes submodules of a module and unfreezes those frozen before.

    A frozen submodule is in evaluation mode, so that dropout is off and the statistics of batch
    norm do not change; its own weights get no gradient. Weights that had no gradient at the start
    are never unfrozen.
    """

    def __init__(self, module: nn.Module) -> None:
        self._trainable = [weight for weight in module.parameters() if weight.requires_grad]
        self._frozen: frozenset[nn.Module] | None = None

    def __call__(self, modules: Iterable[nn.Module]) -> bool:
        """Freeze exactly these modules, each without its children; return whether that changes it.

        The first call always returns True. The modes of other modules are left to the caller.
        """
        before, frozen = self._frozen, frozenset(modules)
        self._frozen = frozen
        for weight in self._trainable:
            weight.requires_grad_(True)
        for module in frozen:
            module.training = False
            for weight in module.parameters(recurse=False):
                weight.requires_grad_(False)
        return frozen != before


def frozen_modules(
    encoders: Iterable[nn.Module], epoch: int, *, freeze_epochs: int, top_layers: int | None
) -> Collection[nn.Module]:
    """Return the modules to freeze in an epoch, each without its children.

    Parameters
    ----------
    encoders : iterable of Module
        Encoders that are trained.
    epoch : int
        From 1.
    freeze_epochs : int
        Epochs in which every encoder is frozen as a whole.
    top_layers : int or None
        Number of last stages trained afterwards; None: all. Modules outside the stages (a dropout
        between them) are then frozen too.
    """
    frozen: set[nn.Module] = set()
    for encoder in encoders:
        if epoch <= freeze_epochs:
            frozen |= set(encoder.modules())
        elif top_layers is not None:
            frozen |= set(encoder.modules()) - _top_modules(encoder, top_layers)
    return frozen


def _top_modules(encoder: nn.Module, layers: int) -> set[nn.Module]:
    stages = list(encoder.stages()) if isinstance(encoder, StagedEncoder) else []
    trained = [encoder] if layers == len(stages) else stages[-layers:]
    return {module for stage in trained for module in stage.modules()}


def check_layers(encoder: object, top_layers: int, name: str) -> None:
    """Check that an encoder has as many layers as ``top_layers`` says.

    Raises
    ------
    InputError
        It has fewer, or is not divided into stages.
    """
    count = len(encoder.stages()) if isinstance(encoder, StagedEncoder) else 0
    if top_layers > count:
        raise InputError(
            f"modality '{name}': 'top_layers' asks for {top_layers} layers and its encoder has "
            f"{count}; set it to at most {count}, or leave it out to train all layers"
        )
