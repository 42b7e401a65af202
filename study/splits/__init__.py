"""Splits: group-aware stratified folds, nested training fractions, and their leak audit."""

from study.splits.groups import SCHEMES, group_rows
from study.splits.leakage import LeakAudit, leak_audit
from study.splits.make import make_split
from study.splits.split import Fold, Split
from study.splits.stratify import stratify

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
