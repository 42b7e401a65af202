"""The Python API: each command of ``study`` is one of these functions, and printing."""

from study.api import plot
from study.api.comparison import compare
from study.api.loading import load_results, load_spec
from study.api.results import StudyResults
from study.api.running import embed, launch, plan, submit, write_report
from study.config.study import StudySpec
from study.errors import InputError, StudyError
from study.planning.plan import Plan
from study.plugins.registry import Registry as registry  # noqa: N813 (called as a function)
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
    "embed",
    "launch",
    "load_results",
    "load_spec",
    "plan",
    "plot",
    "registry",
    "submit",
    "write_report",
]
