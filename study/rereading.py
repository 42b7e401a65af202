"""Reading a study that is being written, again and again."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Protocol

from study.inputs import Inputs
from study.ledger import Ledger
from study.plan import Plan
from study.record import StudyRecord, read_record
from study.result import TrialResult
from study.spec import StudySpec


class Studied(Protocol):
    """A study that has a ledger: prepared, or opened in its folder."""

    @property
    def spec(self) -> StudySpec:
        """The study file."""

    @property
    def plan(self) -> Plan:
        """Its arms and trials."""

    @property
    def inputs(self) -> Inputs:
        """Its table and split."""

    @property
    def ledger(self) -> Ledger:
        """What is known."""


class Rereader:
    """Reads a study's record from any thread; each result is read once."""

    def __init__(self, study: Studied) -> None:
        self._study, self._turn = study, threading.Lock()
        self._seen: Mapping[str, TrialResult] = {}

    def __call__(self) -> StudyRecord:
        """Return the study as it stands.

        Raises
        ------
        StudyError, OSError
            A record is damaged, or went while it was read; reading again may do.
        """
        study = self._study
        with self._turn:
            record = read_record(study.spec, study.plan, study.inputs, study.ledger, self._seen)
            self._seen = record.results
        return record
