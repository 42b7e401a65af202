"""Splits: stratified grouped folds, nested training fractions, and a leak audit."""

from study.splits.groups import SCHEMES, group_rows
from study.splits.leakage import LeakAudit, audit_leakage
from study.splits.make import make_split
from study.splits.split import Fold, Split
from study.splits.stratify import stratify_groups

__all__ = [
    "SCHEMES",
    "Fold",
    "LeakAudit",
    "Split",
    "audit_leakage",
    "group_rows",
    "make_split",
    "stratify_groups",
]
