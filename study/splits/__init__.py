"""Splits: group-aware stratified folds, nested training fractions, and their leak audit."""

from study.splits._audit import LeakAudit, leak_audit
from study.splits._groups import SCHEMES, group_rows
from study.splits._make import make_split
from study.splits._split import Fold, Split
from study.splits._stratify import stratify

__all__ = [
    "SCHEMES",
    "Fold",
    "LeakAudit",
    "Split",
    "group_rows",
    "leak_audit",
    "make_split",
    "stratify",
]
