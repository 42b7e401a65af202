"""A study that was launched before: the same file goes on, another one is refused with its diff."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any

import yaml

from study.errors import InputError
from study.plan import make_plan
from study.prepare import Prepared
from study.spec import StudySpec
from study.spec_file import read_spec

_LONGEST = 40
_FREE = ("run", "description")
"""Parts of a study file that stand for no trial and no question."""


def check_same(study: Prepared, *, extend: bool) -> str:
    """Compare a study with the file it was launched with before; return a note, or nothing.

    Parameters
    ----------
    study : Prepared
    extend : bool
        Accept a file that asks for more: every trial asked for before is still asked for.

    Raises
    ------
    InputError
        The file is another one, with the differences; nothing was changed.
    """
    try:
        old = read_spec(study.home)
    except InputError as error:
        return f"{error}: it is written anew from the file given"
    if old is None:
        return ""
    lines = _diff(old, study.spec)
    if not lines:
        return ""
    if not extend:
        raise InputError(
            f"study '{study.spec.name}' was launched with another file:\n  "
            + "\n  ".join(_shortened(lines))
            + "\nadd --extend if this file asks for more of the same study, or call it something "
            "else (name: in the file, or --set name=...): trials that both ask for run once"
        )
    _check_more(study, old)
    return f"study '{study.spec.name}' is extended"


def _check_more(study: Prepared, old: StudySpec) -> None:
    """Refuse an extension that drops trials: their results would be shown no more."""
    if (old.data, old.split) != (study.spec.data, study.spec.split):
        raise InputError(
            f"--extend cannot change the data or the split of study '{study.spec.name}': every "
            "trial would be another one; call it something else (--set name=...)"
        )
    asked = {study.inputs.trial_id(trial) for trial in study.plan.trials()}
    before = {study.inputs.trial_id(t): str(t) for t in make_plan(old).trials()}
    dropped = sorted(before[trial_id] for trial_id in before.keys() - asked)
    if dropped:
        raise InputError(
            f"--extend keeps every trial of study '{study.spec.name}', and this file drops "
            f"{len(dropped)}, the first '{dropped[0]}'; keep them in the file, or call the study "
            "something else (--set name=...)"
        )


def _diff(old: StudySpec, new: StudySpec) -> list[str]:
    """Return the lines that differ, without those that stand for nothing."""
    before, after = (_lines(spec) for spec in (old, new))
    found = difflib.unified_diff(before, after, "launched", "given", lineterm="", n=1)
    return list(found)


def _lines(spec: StudySpec) -> list[str]:
    """Return a study file in full, one value a line; the order of keys stands for nothing."""
    values: dict[str, Any] = spec.model_dump(mode="json", exclude=set(_FREE))
    return yaml.safe_dump(values, width=1000).splitlines()


def _shortened(lines: Collection[str]) -> list[str]:
    kept = list(lines)[:_LONGEST]
    more = len(lines) - len(kept)
    return [*kept, f"... and {more} more lines"] if more else kept
