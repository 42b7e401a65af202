"""Results of a study as pandas tables, for Python and notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from study.analysis.arm_scores import ScorePool, build_score_pool
from study.analysis.comparison import compare_arms
from study.analysis.study_analysis import StudyAnalysis
from study.errors import InputError
from study.metrics import density_fifths, fifth_means, macro_mean
from study.planning.contrasts import build_contrasts
from study.reporting.context import ReportContext
from study.reporting.tables import (
    TablePart,
    build_comparison_frame,
    build_finding_frame,
    build_scaling_tables,
)
from study.results.trial_result import TrialResult

if TYPE_CHECKING:
    from pandas import DataFrame

    from study.artifacts.version import Version
    from study.config.study import StudySpec
    from study.data import OdorDataset
    from study.planning.plan import Plan
    from study.planning.trials import Arm
    from study.results.study_results import ResultSnapshot
    from study.splits import Split


class StudyResults:
    """Results of a study: finished trials, and what follows from them.

    Every table is a DataFrame with one row per trial, arm, label or contrast. Undefined numbers
    are missing values. The results are those of one moment; `refresh` reads what has finished
    since.

    Parameters
    ----------
    snapshot : ResultSnapshot
        Made by `study.launch` and `study.load_results`.

    Examples
    --------
    >>> import study
    >>> results = study.load_results("quickstart")  # doctest: +SKIP
    >>> results.arms()[["features", "technique", "auroc"]]  # doctest: +SKIP
    """

    def __init__(self, snapshot: ResultSnapshot) -> None:
        self._snapshot = snapshot

    def __repr__(self) -> str:
        arms, per_arm = len(self.plan.arms), self.plan.trials_per_arm
        finished = len(self._snapshot.by_id)
        return (
            f"<StudyResults '{self.name}': {finished} of {arms * per_arm} trials finished, "
            f"{len(self._snapshot.failures)} failed, {arms} arms, "
            f"{len(self.dataset)} molecules x {len(self.dataset.label_names)} labels>"
        )

    def _repr_html_(self) -> str:
        """Return the summary and the table of arms, as shown in a notebook."""
        from html import escape

        columns = ["features", "technique", "fusion", "partition", "fraction", "auroc", "ap"]
        columns += ["auroc_q5", "gain", "gain_low", "gain_high", "verdict", "trials"]
        table = self.arms()[columns].to_html(index=False, float_format="{:.4f}".format, na_rep="-")
        return f"<p>{escape(repr(self).strip('<>'))}</p>{table}"

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.spec.name

    @property
    def spec(self) -> StudySpec:
        """The study file."""
        return self._snapshot.spec

    @property
    def plan(self) -> Plan:
        """Arms and trials of the study."""
        return self._snapshot.plan

    @property
    def dataset(self) -> OdorDataset:
        """Molecules and labels."""
        return self._snapshot.data.dataset

    @property
    def split(self) -> Split:
        """Test folds, and the training and validation rows of each."""
        return self._snapshot.data.split

    @property
    def version(self) -> Version:
        """What made the results: training code, featurizers, libraries."""
        return self._snapshot.version

    @property
    def missing(self) -> int:
        """Number of trials without a result."""
        return self._snapshot.missing

    @property
    def complete(self) -> bool:
        """Whether every trial has finished."""
        return self.missing == 0

    @property
    def snapshot(self) -> ResultSnapshot:
        """The finished trials as stored in the ledger."""
        return self._snapshot

    @cached_property
    def analysis(self) -> StudyAnalysis:
        """The inference behind the tables; computed on first access."""
        return StudyAnalysis(self._snapshot, build_contrasts(self.spec, self.plan))

    @cached_property
    def context(self) -> ReportContext:
        """The analysis as the report and its figures use it."""
        return ReportContext(self.analysis)

    @cached_property
    def pool(self) -> ScorePool:
        """Scores of the arms, for comparisons with other studies."""
        return build_score_pool(self._snapshot)

    def refresh(self) -> StudyResults:
        """Return the results with those of trials that have finished since."""
        return StudyResults(self._snapshot.refresh())

    def find_arm(self, arm: str) -> Arm:
        """Return an arm by its identity or by its name, as in the column ``arm`` of `trials`.

        Raises
        ------
        InputError
            No arm, or more than one, matches.
        """
        matches = [a for a in self.plan.arms if arm in (a.id, str(a))]
        if not matches:
            matches = [a for a in self.plan.arms if arm in str(a)]
        if len(matches) == 1:
            return matches[0]
        names = "\n  ".join(str(a) for a in matches or self.plan.arms)
        problem = f"matches {len(matches)} arms" if matches else "is not an arm"
        raise InputError(f"'{arm}' {problem} of study '{self.name}'; choose one of\n  {names}")

    def trials(self) -> DataFrame:
        """Return one row per planned trial.

        Returns
        -------
        DataFrame
            ``trial_id``, ``arm_id``, ``arm``, ``features``, ``technique``, ``fusion``,
            ``partition``, ``fraction``, ``seed``, ``repeat``, ``fold``, ``state`` (``finished``,
            ``failed`` or ``missing``), ``cause`` of a failure, ``auroc``, ``average_precision``,
            ``auroc_sparse`` (mean over the fifth of the labels with the fewest positives),
            ``epochs``, ``best_epoch``, ``parameters``, ``seconds``.
        """
        from pandas import DataFrame

        causes = {failure.id: failure.cause for failure in self._snapshot.failures}
        fifths = density_fifths(self.dataset.positives)
        rows = []
        for trial_id, trial in self._snapshot.study.trials_by_id().items():
            result = self._snapshot.by_id.get(trial_id)
            state = "finished" if result else "failed" if trial_id in causes else "missing"
            rows.append(
                {
                    "trial_id": trial_id,
                    "arm_id": trial.arm.id,
                    "arm": str(trial.arm),
                    **trial.arm.params(),
                    "fraction": trial.arm.fraction,
                    "seed": trial.seed,
                    "repeat": trial.repeat,
                    "fold": trial.fold,
                    "state": state,
                    "cause": causes.get(trial_id, "") if result is None else "",
                    **_build_score_columns(result, fifths),
                }
            )
        return DataFrame(rows)

    def arms(self, baseline: Mapping[str, str] | None = None) -> DataFrame:
        """Return one row per arm, with the columns of ``study compare --format csv``.

        The index is the name of the arm, as `find_arm` takes it.

        Parameters
        ----------
        baseline : mapping of column to value, optional
            Selects the one arm that all others are compared with, e.g.
            ``{"features": "mordred", "technique": "single"}``. Default: each arm is compared with
            its own reference.

        Raises
        ------
        InputError
            The baseline does not match exactly one arm.
        """
        from pandas import Index

        compared = compare_arms([self.pool], baseline)
        frame = _infer(build_comparison_frame(compared))
        frame.index = Index([str(row.summary.arm) for row in compared], name="arm")
        return frame

    def labels(self, arm: str | None = None) -> DataFrame:
        """Return one row per arm and label.

        Parameters
        ----------
        arm : str, optional
            Only this arm; see `find_arm`.

        Returns
        -------
        DataFrame
            ``arm_id``, ``arm``, ``label``, ``positives`` in the whole table, ``density_fifth``
            (1 the densest), ``auroc`` and ``average_precision`` (means over the trials; missing
            where a fold has no positives or no negatives).
        """
        from pandas import DataFrame

        chosen = self.plan.arms if arm is None else (self.find_arm(arm),)
        fifths, positives = density_fifths(self.dataset.positives), self.dataset.positives
        frames = []
        for one in chosen:
            trials = self._snapshot.results_of(one)
            if not trials:
                continue
            frames.append(
                {
                    "arm_id": one.id,
                    "arm": str(one),
                    "label": self.dataset.label_names,
                    "positives": positives,
                    "density_fifth": fifths + 1,
                    "auroc": np.mean([trial.auroc for trial in trials], axis=0),
                    "average_precision": np.mean([t.average_precision for t in trials], axis=0),
                }
            )
        return _concat([DataFrame(columns) for columns in frames])

    def predictions(self, arm: str, *, seed: int | None = None) -> DataFrame:
        """Return out-of-fold probabilities: every molecule is scored by models that never saw it.

        Parameters
        ----------
        arm : str
            See `find_arm`.
        seed : int, optional
            Only the trials of this seed. Default: the mean over seeds and repeats.

        Returns
        -------
        DataFrame
            Molecules x labels, indexed by SMILES. A molecule whose fold has not finished is
            missing.

        Raises
        ------
        InputError
            There is no such arm, or it has no finished trial of this seed.
        """
        from pandas import DataFrame, Index

        chosen = self.find_arm(arm)
        trials = [
            trial
            for trial in self._snapshot.results_of(chosen)
            if seed is None or trial.spec.seed == seed
        ]
        if not trials:
            raise InputError(
                f"study '{self.name}': arm '{chosen}' has no finished trial"
                + ("" if seed is None else f" of seed {seed}; seeds: {list(self.plan.seeds)}")
            )
        total = np.zeros(self.dataset.labels.shape)
        count = np.zeros(len(self.dataset))
        for trial in trials:
            total[trial.test_rows] += trial.scores
            count[trial.test_rows] += 1
        with np.errstate(invalid="ignore"):
            scores = total / count[:, None]
        index = Index(self.dataset.smiles, name="smiles")
        return DataFrame(scores, index=index, columns=list(self.dataset.label_names))

    def contrasts(self, family: str | None = None) -> DataFrame:
        """Return one row per declared contrast with trials on both sides.

        Parameters
        ----------
        family : str, optional
            Only the contrasts of this question.

        Returns
        -------
        DataFrame
            Columns of ``study compare --contrasts all --format csv``: ``family``, ``arm``,
            ``reference``, ``difference`` with its interval, ``p``, ``p_holm``, ``verdict``, the
            difference in average precision and those by density fifth.

        Raises
        ------
        InputError
            There is no such family.
        """
        findings = self.analysis.findings
        families = list(dict.fromkeys(c.family for c in self.analysis.contrasts))
        if family is not None and family not in families:
            raise InputError(
                f"study '{self.name}' has no contrasts '{family}'; allowed: {', '.join(families)}"
            )
        chosen = [f for f in findings if family in (None, f.contrast.family)]
        return _infer(build_finding_frame(chosen))

    def learning_curves(self) -> DataFrame:
        """Return one row per arm and training fraction: molecules, AUROC and its interval.

        Raises
        ------
        InputError
            No arm has finished trials at two fractions.
        """
        return self._scaling_table("curves")

    def power_laws(self) -> DataFrame:
        """Return the power laws fitted to the learning curves; errors as `learning_curves`."""
        return self._scaling_table("power_laws")

    def data_efficiency(self) -> DataFrame:
        """Return the fraction at which an arm reaches another's score with all data.

        Errors as `learning_curves`.
        """
        return self._scaling_table("efficiencies")

    def histories(self) -> DataFrame:
        """Return one row per finished trial and epoch.

        Returns
        -------
        DataFrame
            ``trial_id``, ``arm_id``, ``arm``, ``seed``, ``repeat``, ``fold``, ``epoch`` (from 1)
            and the monitored values, e.g. ``loss`` and ``validation``.
        """
        from pandas import DataFrame

        frames = []
        for trial_id, trial in self._snapshot.study.trials_by_id().items():
            result = self._snapshot.by_id.get(trial_id)
            if result is None or not any(result.history.values()):
                continue
            epochs = max(map(len, result.history.values()))
            frame = DataFrame(
                {
                    "trial_id": trial_id,
                    "arm_id": trial.arm.id,
                    "arm": str(trial.arm),
                    "seed": trial.seed,
                    "repeat": trial.repeat,
                    "fold": trial.fold,
                    "epoch": np.arange(1, epochs + 1),
                }
            )
            for name, values in result.history.items():
                padded = [*values, *[np.nan] * (epochs - len(values))]
                frame[name] = padded
            frames.append(frame)
        return _concat(frames)

    @cached_property
    def _scaling_tables(self) -> Mapping[str, TablePart]:
        return {part.name: part for part in build_scaling_tables(self.analysis)}

    def _scaling_table(self, name: str) -> DataFrame:
        return _infer(self._scaling_tables[name].frame)


def _build_score_columns(result: TrialResult | None, fifths: Any) -> dict[str, Any]:  # noqa: ANN401 (an array)
    if result is None:
        names = ["auroc", "average_precision", "auroc_sparse", "epochs", "best_epoch"]
        return dict.fromkeys([*names, "parameters", "seconds"], np.nan)
    return {
        "auroc": macro_mean(result.auroc).value,
        "average_precision": macro_mean(result.average_precision).value,
        "auroc_sparse": float(fifth_means(result.auroc, fifths)[-1]),
        **{name: result.counts.get(name, np.nan) for name in ("epochs", "best_epoch")},
        "parameters": result.counts.get("parameters", np.nan),
        "seconds": result.seconds,
    }


def _infer(frame: DataFrame) -> DataFrame:
    """Give columns of numbers a numeric dtype, with NaN for undefined numbers."""
    return frame.infer_objects()


def _concat(frames: Sequence[DataFrame]) -> DataFrame:
    from pandas import DataFrame, concat

    return concat(frames, ignore_index=True) if frames else DataFrame()
