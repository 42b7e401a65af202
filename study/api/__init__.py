"""The Python API: each command of ``study`` is one of these functions, and printing."""

from study.api import plot
from study.api.comparison import compare
from study.api.loading import load_results, load_spec
from study.api.managing import delete_study, describe_study, list_studies, rename_study
from study.api.results import StudyResults
from study.api.running import embed, launch, plan, submit, write_report
from study.config.study import StudySpec
from study.errors import InputError, StudyError
from study.planning.plan import Plan
from study.plugins.registry import Registry as registry  # noqa: N813 (called as a function)
from study.plugins.registry import register
from study.progress import ProgressCallback, RichProgress

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
