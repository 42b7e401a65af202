"""Ablation studies of multimodal odor models: plan, launch, compare and report them.

Names are loaded on first use, so that ``import study`` loads neither torch, Ray nor MLflow.

>>> import study
>>> len(study.plan("quickstart").arms)
10
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from study.api import (
        InputError,
        Plan,
        ProgressCallback,
        RichProgress,
        StudyError,
        StudyResults,
        StudySpec,
        compare,
        delete_study,
        describe_study,
        embed,
        launch,
        list_studies,
        load_results,
        load_spec,
        plan,
        plot,
        register,
        registry,
        rename_study,
        submit,
        write_report,
    )

__version__ = version("olfaction-study")

__all__ = [
    "InputError",
    "Plan",
    "ProgressCallback",
    "RichProgress",
    "StudyError",
    "StudyResults",
    "StudySpec",
    "compare",
    "delete_study",
    "describe_study",
    "embed",
    "launch",
    "list_studies",
    "load_results",
    "load_spec",
    "plan",
    "plot",
    "register",
    "registry",
    "rename_study",
    "submit",
    "write_report",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'study' has no attribute '{name}'")
    return getattr(import_module("study.api"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
