"""Content of the runs of a tracking store: parameters, metrics, tags and files."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from modalities import sha256_of
from modalities.weights.model_card import CARD, ModelCard
from study.analysis.arm_scores import ScorePool, build_score_pool
from study.analysis.comparison import ArmComparison, estimate_gains
from study.analysis.paired import PairedDifference
from study.config.redaction import remove_secrets
from study.config.study import digest
from study.metrics import density_fifths, macro_mean
from study.planning.trials import Arm
from study.progress import Progress, format_duration
from study.reporting.formatting import Kind, render_table
from study.reporting.tables import COLUMNS, build_comparison_frame
from study.results.study_results import ResultSnapshot
from study.results.summary import ArmSummary
from study.results.trial_result import TrialResult
from study.storage.checksums import add_checksum

PARENT = "mlflow.parentRunId"
ARM_ID = "olfaction.cell_id"
STATE = "olfaction.state"
"""Tag with the digest of a run's content; a run with the same state is up to date."""
ROLE = "olfaction.role"
"""Tag with the kind of a run: ``study``, ``cell`` (an arm) or ``weights``."""
VERSION = "olfaction.version"
"""Tag with the version that produced the trials; every version of a study has a separate run."""
Metrics = dict[str, float]
Value = tuple[str, float, int]
"""Metric name, value, step."""


@dataclass(frozen=True)
class RunPage:
    """Content of a run that is to be written.

    Attributes
    ----------
    name : str
    tags, params : mapping of str to str
    metrics : sequence of (name, value, step)
    files : function of a folder
        Writes the artifacts to an empty folder.
    complete : bool
        Whether all trials are included.
    """

    name: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Sequence[Value]
    files: Callable[[Path], None]
    complete: bool = True


@dataclass(frozen=True)
class StoredRun:
    """A run as the tracking store has it.

    Attributes
    ----------
    id : str
        Identity of the run in the store.
    status : str
        ``RUNNING``, ``FINISHED``, ``FAILED`` or ``KILLED``.
    tags : mapping of str to str
    metrics : mapping of str to float
        Last value of each metric.
    ended : int
        End time in ms since 1970; 0 if the run was never closed.
    data : frozenset of str
        Digests of the data sets that are logged as its inputs.
    files : str
        Address of its artifacts.
    """

    id: str
    status: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    ended: int = 0
    data: frozenset[str] = frozenset()
    files: str = ""

    @property
    def closed(self) -> bool:
        """Whether the run is complete or was ended."""
        return self.status != "RUNNING"


LAYOUT = 2
"""Version of the content of runs; raise it with every change, so that all runs are rewritten."""
LONGEST_PARAM, LONGEST_TAG = 6000, 5000
"""Maximum number of characters that all supported versions of MLflow accept."""


@dataclass(frozen=True, eq=False)
class PageContents:
    """Results of a study by arm; built once, because computing trial identities is expensive.

    Attributes
    ----------
    results : ResultSnapshot
    trials : mapping of arm id to list of TrialResult
        Finished trials, in the order of seeds, repeats and folds.
    causes : mapping of arm id to list of str
        Causes of failed trials.
    """

    results: ResultSnapshot
    trials: Mapping[str, list[TrialResult]]
    causes: Mapping[str, list[str]]

    @cached_property
    def complete(self) -> list[ArmSummary]:
        """Arms whose trials are complete, as are those of their references."""
        summaries, references = self.results.summaries, self.results.references
        complete = {summary.arm.id for summary in summaries if summary.missing == 0}
        return [
            summary
            for summary in summaries
            if {summary.arm.id, references.get(summary.arm.id, summary.arm.id)} <= complete
        ]

    @cached_property
    def pool(self) -> ScorePool:
        """The trials as a pool for comparisons."""
        return build_score_pool(self.results)

    def estimate_gain(self, arm: Arm) -> Metrics:
        """Return the metrics of the gain of an arm over its reference; empty without one."""
        reference_id = self.results.references.get(arm.id)
        for reference in self.results.plan.arms:
            if reference.id == reference_id:
                gains = estimate_gains(self.pool, arm, self.pool, reference)
                return build_gain_metrics(*gains) if gains else {}
        return {}

    def compute_state(self, summary: ArmSummary) -> str:
        """Return a digest of an arm's run: its trials, those of its reference, its failures."""
        arm_id = summary.arm.id
        reference = self.results.references.get(arm_id, "")
        trials = [[trial.id for trial in self.trials.get(key, ())] for key in (arm_id, reference)]
        return digest([LAYOUT, reference, trials, summary.missing, self.causes[arm_id]])[:32]


def build_contents(results: ResultSnapshot) -> PageContents:
    """Group the results of a study by arm."""
    cause_by_id = {failure.id: failure.cause for failure in results.failures}
    trials: dict[str, list[TrialResult]] = {}
    causes: dict[str, list[str]] = {}
    for arm in results.plan.arms:
        ids = [results.data.trial_id(trial) for trial in results.plan.trials_of(arm)]
        trials[arm.id] = [results.by_id[key] for key in ids if key in results.by_id]
        causes[arm.id] = [cause_by_id[key] for key in ids if key in cause_by_id]
    return PageContents(results, trials, causes)


def build_arm_page(
    summary: ArmSummary, contents: PageContents, parent: str, gain: tuple[dict[str, str], Metrics]
) -> RunPage:
    """Build the run of an arm below the run `parent`, with the tags and metrics of its gain."""
    results, arm = contents.results, summary.arm
    trials = contents.trials[arm.id]
    tags = {PARENT: parent, ROLE: "cell", ARM_ID: arm.id, STATE: contents.compute_state(summary)}
    tags |= build_arm_tags(summary, results, contents.causes[arm.id]) | gain[0]
    values = {**build_arm_metrics(summary, trials), **gain[1]}
    return RunPage(
        name=str(arm),
        tags=tags,
        params=build_arm_params(arm),
        metrics=[(name, value, 0) for name, value in values.items()] + build_fold_metrics(trials),
        files=lambda folder: write_arm_files(folder, trials, results),
        complete=summary.missing == 0,
    )


def build_arm_params(arm: Arm) -> dict[str, str]:
    """Build the MLflow parameters of an arm: every field as text."""
    numbers = arm.training.model_dump(mode="json")
    params = arm.params() | {f"training.{key}": str(value) for key, value in numbers.items()}
    for feature in arm.features:
        params[f"modality.{feature.name}"] = json.dumps(feature.config.json_value())
    return _truncate(params, LONGEST_PARAM)


def build_arm_tags(
    summary: ArmSummary, results: ResultSnapshot, causes: Sequence[str] = ()
) -> dict[str, str]:
    """Build the tags that runs can be grouped and filtered by, and the first cause of a failure."""
    arm, split = summary.arm, results.spec.split
    single = "single" if arm.technique == "single" else "reference"
    role = "arm" if arm.id in results.references else single
    tags = {
        "arm_id": arm.curve_id,
        "contrast_role": role,
        "reference_cell": results.references.get(arm.id, ""),
        "stage": str(arm.fusion.options.get("stage", "label")) if arm.fusion else "",
        "split_scheme": split.groups,
        "split_digest": results.data.split.digest[:16],
        "data_digest": results.data.dataset.digest[:16],
        "missing": str(summary.missing),
    }
    if causes:
        tags["cause"] = causes[0]
    prefixed = {f"olfaction.{key}": value for key, value in tags.items()}
    prefixed |= {f"olfaction.{key}": value for key, value in arm.params().items()}
    return _truncate(prefixed, LONGEST_TAG)


def _truncate(texts: Mapping[str, str], longest: int) -> dict[str, str]:
    """Shorten texts to `longest` characters; the artifacts have the full text."""
    return {key: t if len(t) <= longest else t[: longest - 4] + " ..." for key, t in texts.items()}


def build_arm_metrics(summary: ArmSummary, trials: Sequence[TrialResult]) -> dict[str, float]:
    """Build the summary metrics of an arm; undefined ones are left out."""
    values = {
        "auroc_macro": summary.auroc,
        "auroc_macro_sd": summary.auroc_sd,
        "ap_macro": summary.average_precision,
        "n_labels_undefined": float(summary.undefined),
        "n_unconverged": float(summary.unconverged),
        "fit_seconds": summary.seconds,
        "fraction": summary.arm.fraction,
    }
    values |= {f"auroc_q{i}": value for i, value in enumerate(summary.fifths, start=1)}
    for key in ("fit", "test", "parameters"):
        counts = [trial.counts[key] for trial in trials if key in trial.counts]
        values[f"n_{key}"] = float(np.mean(counts)) if counts else math.nan
    return _drop_undefined(values)


def build_gain_metrics(macro: PairedDifference, sparse: PairedDifference) -> Metrics:
    """Build the metrics of a gain over all labels and over the sparsest fifth, if defined.

    ``*_sd`` is the standard deviation over the folds. The folds share training molecules, so it is
    not a standard error.
    """
    values: Metrics = {}
    for name, difference in {"macro_gain": macro, "sparse_gain": sparse}.items():
        spread = np.std(difference.folds, ddof=1) if len(difference.folds) > 1 else math.nan
        values |= {
            name: difference.estimate,
            f"{name}_sd": float(spread),
            f"{name}_low": difference.low,
            f"{name}_high": difference.high,
        }
    return _drop_undefined(values)


def _drop_undefined(values: Metrics) -> Metrics:
    return {name: value for name, value in values.items() if not math.isnan(value)}


def build_fold_metrics(trials: Sequence[TrialResult]) -> list[Value]:
    """Build name, value and step of the metrics of every trial; undefined ones are left out."""
    values = []
    for step, trial in enumerate(trials):
        values.append(("auroc_macro_fold", macro_mean(trial.auroc).value, step))
        values.append(("ap_macro_fold", macro_mean(trial.average_precision).value, step))
    return [value for value in values if not math.isnan(value[1])]


def format_label_table(trials: Sequence[TrialResult], results: ResultSnapshot) -> str:
    """Return a CSV table of labels: positives, density fifth, mean AUROC and AP, AUROC by trial."""
    from pandas import DataFrame

    dataset = results.data.dataset
    fifths = density_fifths(dataset.positives)
    rows = []
    for column, name in enumerate(dataset.label_names if trials else ()):
        aurocs = [float(trial.auroc[column]) for trial in trials]
        ap = float(np.mean([trial.average_precision[column] for trial in trials]))
        counts = [int(dataset.positives[column]), int(fifths[column]) + 1]
        rows.append([name, *counts, float(np.mean(aurocs)), ap, *aurocs])
    steps = [f"auroc_{step}" for step in range(len(trials))]
    header = ["label", "positives", "fifth", "auroc", "ap", *steps]
    table = DataFrame(rows, columns=header)
    return table.to_csv(index=False, lineterminator="\n", na_rep="nan")


def write_arm_files(folder: Path, trials: Sequence[TrialResult], results: ResultSnapshot) -> None:
    """Write the files of an arm: the table of labels, and every trial as stored in the ledger."""
    (folder / "per_label.csv").write_text(format_label_table(trials, results), encoding="utf-8")
    (folder / "trials").mkdir()
    for trial in trials:
        (folder / "trials" / f"{trial.id}.trial").write_bytes(add_checksum(trial.to_bytes()))


def build_verdict(row: ArmComparison, runs: Mapping[str, str]) -> tuple[dict[str, str], Metrics]:
    """Build the tags of an arm's gain, with a link to the run of the reference, and its metrics.

    Parameters
    ----------
    row : ArmComparison
    runs : mapping of arm id to run id
    """
    level, paired = row.level, row.paired
    values = {"auroc_macro_low": level.low, "auroc_macro_high": level.high} if level else {}
    tags = {"verdict": "", "reference_run": ""}
    if paired:
        tags = {
            "verdict": str(paired.verdict),
            "reference_run": runs.get(paired.reference.id, ""),
            "equal_size": "yes" if paired.equal_size else "no",
        }
        values |= build_gain_metrics(paired.macro, paired.sparse) | {
            "macro_gain_p_holm": paired.verdict.p_holm,
            "macro_gain_p_corrected_t": paired.macro.corrected.p,
            "macro_gain_smallest_detectable": paired.macro.smallest,
        }
    prefixed = {f"olfaction.{key}": value for key, value in tags.items()}
    return prefixed, _drop_undefined(values)


COMPARISONS: Mapping[Kind, str] = {"csv": "csv", "md": "md", "json": "json", "latex": "tex"}


def build_opening_tags(results: ResultSnapshot) -> dict[str, str]:
    """Build the tags that the run of a study is created with."""
    note = {"mlflow.note.content": results.spec.description}
    return {ROLE: "study", VERSION: str(results.version), **note}


def build_study_tags(
    results: ResultSnapshot, comparisons: Sequence[ArmComparison], progress: Progress | None
) -> dict[str, str]:
    """Build the progress tags of a study, from its ledger and from the running launch."""
    left = progress.left if progress else None
    tags = {
        "trials_finished": len(results.by_id),
        "trials_failed": len(results.failures),
        "trials_missing": results.missing,
        "trials_running": progress.running if progress else 0,
        "progress": str(progress) if progress else "",
        "time_left": format_duration(left) if left is not None else "",
    }
    prefixed = {f"olfaction.{name}": str(value) for name, value in tags.items()}
    return {
        **prefixed,
        VERSION: str(results.version),
        STATE: compute_study_state(results, comparisons),
    }


def compute_study_state(results: ResultSnapshot, comparisons: Sequence[ArmComparison]) -> str:
    """Return a digest of the files of a study's run."""
    table = (
        render_table(build_comparison_frame(comparisons), COLUMNS, "json") if comparisons else ""
    )
    spec = remove_secrets(results.spec).model_dump(mode="json")
    return digest([LAYOUT, spec, results.data.split.digest, table])[:32]


def build_headline_metrics(comparisons: Sequence[ArmComparison]) -> Metrics:
    """Build the metrics of a whole study: its best level, and the number of gains by verdict.

    Empty while the study runs, because nothing is compared yet.
    """
    if not comparisons:
        return {}
    verdicts = [str(row.paired.verdict.kind) for row in comparisons if row.paired]
    means = [row.summary.auroc for row in comparisons if row.level]
    levels = [mean for mean in means if not math.isnan(mean)]
    counts = {"gains": len(verdicts), "gains_wins": verdicts.count("wins")}
    counts["gains_suggestive"] = verdicts.count("suggestive")
    best = {"auroc_macro_best": max(levels)} if levels else {}
    return {**{name: float(count) for name, count in counts.items()}, **best}


def write_study_files(
    folder: Path, results: ResultSnapshot, comparisons: Sequence[ArmComparison]
) -> None:
    """Write the files of a study: study file, split, and the comparison once it has ended."""
    frame = build_comparison_frame(comparisons)
    for kind, suffix in COMPARISONS.items() if comparisons else ():
        text = render_table(frame, COLUMNS, kind)
        (folder / f"comparison.{suffix}").write_text(text, encoding="utf-8")
    spec = remove_secrets(results.spec).model_dump_json(indent=2)
    (folder / "study.json").write_text(spec, encoding="utf-8")
    results.data.split.save(folder / "split.json")


NAME = "olfaction.weights"
"""Tag with the name of pretrained weights."""


@dataclass(frozen=True)
class WeightsPage:
    """Content of the run of one folder of pretrained weights.

    Attributes
    ----------
    name : str
    state : str
        Digest of the whole content; a run with this state is up to date.
    tags, params : mapping of str to str
    metrics : tuple of (name, value, step)
        Every metric of every epoch.
    files : tuple of Path
    """

    name: str
    state: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: tuple[tuple[str, float, int], ...]
    files: tuple[Path, ...]

    def to_run_page(self) -> RunPage:
        """Return the content as that of a run."""
        tags = {ROLE: "weights", NAME: self.name, STATE: self.state, **self.tags}
        return RunPage(self.name, tags, self.params, self.metrics, self._copy_files)

    def _copy_files(self, folder: Path) -> None:
        for file in self.files:
            shutil.copy(file, folder)


def build_weights_page(
    card: ModelCard, folder: Path, history: Sequence[Mapping[str, float]]
) -> WeightsPage:
    """Build the run of pretrained weights.

    Parameters
    ----------
    card : ModelCard
    folder : Path
        Folder of the weights, with the model card and ``epochs.json``; both become artifacts.
    history : sequence of mapping
        Metrics of each epoch by name; ``epoch`` is the number of the epoch.
    """
    metrics = tuple(
        (name, value, int(epoch["epoch"]))
        for epoch in history
        for name, value in epoch.items()
        if name != "epoch"
    )
    files = (folder / CARD, folder / "epochs.json")
    state = sha256_of(b"".join(file.read_bytes() for file in files))
    tags = {"weights_sha256": card.sha256, "identity": card.identity}
    return WeightsPage(card.name, state, tags, _build_weights_params(card), metrics, files)


def _build_weights_params(card: ModelCard) -> dict[str, str]:
    sections = {
        "modality": {"word": card.modality, **card.options, "started_from": card.started_from},
        "objective": {"word": card.objective, **card.objective_options},
        "training": card.training,
        "data": card.data,
    }
    return {
        f"{section}.{key}": (value if isinstance(value, str) else json.dumps(value))[:LONGEST_PARAM]
        for section, values in sections.items()
        for key, value in values.items()
    }
