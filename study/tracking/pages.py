"""Pages of a study for a tracking store: parameters, metrics, tags and files of every run."""

from __future__ import annotations

import csv
import io
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
from study.analysis.comparison import ArmComparison, differences
from study.analysis.paired import PairedDifference
from study.config.redaction import remove_secrets
from study.config.study import digest
from study.metrics import density_fifths, macro_mean
from study.planning.trials import Arm
from study.progress import Progress, format_duration
from study.reporting.formatting import Kind, render_table
from study.reporting.tables import COLUMNS, comparison_frame
from study.results.study_results import StudyResults
from study.results.summary import ArmSummary
from study.results.trial_result import TrialResult
from study.storage.checksums import add_checksum

PARENT = "mlflow.parentRunId"
CELL = "olfaction.cell_id"
STATE = "olfaction.state"
"""Tag with the digest of what a page shows: one with the same state is up to date."""
ROLE = "olfaction.role"
"""Tag with what a page is of: ``study``, ``arm`` or ``weights``."""
VERSION = "olfaction.version"
"""Tag with what made the trials of a study: every version has a page of its own."""
Metrics = dict[str, float]
Value = tuple[str, float, int]
"""Metric, value, step."""


@dataclass(frozen=True)
class RunPage:
    """What is to be shown.

    Attributes
    ----------
    name : str
    tags, params : mapping of str to str
    metrics : sequence of (name, value, step)
    files : function of a folder
        Writes the artifacts into an empty folder.
    complete : bool
        Whether nothing is missing of what it shows.
    """

    name: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Sequence[Value]
    files: Callable[[Path], None]
    complete: bool = True


@dataclass(frozen=True)
class StoredRun:
    """What a store shows.

    Attributes
    ----------
    id : str
        The store's own name of the page.
    status : str
        ``RUNNING``, ``FINISHED``, ``FAILED`` or ``KILLED``.
    tags : mapping of str to str
    metrics : mapping of str to float
        Last values.
    ended : int
        When it was closed, in ms since 1970; 0 if it never was.
    data : frozenset of str
        Digests of the data sets it names.
    files : str
        Where its artifacts are.
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
        """Whether it was written to its end."""
        return self.status != "RUNNING"


LAYOUT = 2
"""Version of what a page shows; a change raises it, and the next projection writes all anew."""
LONGEST_PARAM, LONGEST_TAG = 6000, 5000
"""Characters that every MLflow store of our range takes."""


@dataclass(frozen=True, eq=False)
class PageContents:
    """A record by arms; making the identities of its trials is what costs, so it is done once.

    Attributes
    ----------
    record : StudyResults
    results : mapping of arm id to list of TrialResult
        Finished trials, in the order of seeds, repeats and folds.
    causes : mapping of arm id to list of str
        Why trials have failed.
    """

    record: StudyResults
    results: Mapping[str, list[TrialResult]]
    causes: Mapping[str, list[str]]

    @cached_property
    def complete(self) -> list[ArmSummary]:
        """Arms that have all their trials, as have their references."""
        record = self.record
        whole = {summary.arm.id for summary in record.summaries if summary.missing == 0}
        return [
            summary
            for summary in record.summaries
            if {summary.arm.id, record.references.get(summary.arm.id, summary.arm.id)} <= whole
        ]

    @cached_property
    def pool(self) -> ScorePool:
        """The trials as the inference takes them."""
        return build_score_pool(self.record)

    def gain(self, arm: Arm) -> Metrics:
        """Return the gain of an arm over its reference; empty without one."""
        wanted = self.record.references.get(arm.id)
        for reference in self.record.plan.arms:
            if reference.id == wanted:
                found = differences(self.pool, arm, self.pool, reference)
                return gain_metrics(*found) if found else {}
        return {}

    def state(self, summary: ArmSummary) -> str:
        """Digest of all that an arm's page shows: its trials, its reference's, its failures."""
        arm_id = summary.arm.id
        reference = self.record.references.get(arm_id, "")
        trials = [[each.id for each in self.results.get(key, ())] for key in (arm_id, reference)]
        return digest([LAYOUT, reference, trials, summary.missing, self.causes[arm_id]])[:32]


def build_contents(record: StudyResults) -> PageContents:
    """Sort a record by arms."""
    causes = {failure.id: failure.cause for failure in record.failures}
    results: dict[str, list[TrialResult]] = {}
    failed: dict[str, list[str]] = {}
    for arm in record.plan.arms:
        ids = [record.data.trial_id(trial) for trial in record.plan.trials_of(arm)]
        results[arm.id] = [record.by_id[key] for key in ids if key in record.by_id]
        failed[arm.id] = [causes[key] for key in ids if key in causes]
    return PageContents(record, results, failed)


def arm_page(
    summary: ArmSummary, contents: PageContents, parent: str, said: tuple[dict[str, str], Metrics]
) -> RunPage:
    """Return the page of an arm under its study's, with the tags and metrics of its gain."""
    record, arm = contents.record, summary.arm
    results = contents.results[arm.id]
    tags = {PARENT: parent, ROLE: "cell", CELL: arm.id, STATE: contents.state(summary)}
    tags |= arm_tags(summary, record, contents.causes[arm.id]) | said[0]
    values = {**arm_metrics(summary, results), **said[1]}
    return RunPage(
        name=str(arm),
        tags=tags,
        params=arm_params(arm),
        metrics=[(name, value, 0) for name, value in values.items()] + fold_metrics(results),
        files=lambda folder: write_arm(folder, results, record),
        complete=summary.missing == 0,
    )


def arm_params(arm: Arm) -> dict[str, str]:
    """Return every field of an arm as text."""
    numbers = arm.training.model_dump(mode="json")
    params = arm.params() | {f"training.{key}": str(value) for key, value in numbers.items()}
    for feature in arm.features:
        params[f"modality.{feature.name}"] = json.dumps(feature.choice.json_value())
    return _cut(params, LONGEST_PARAM)


def arm_tags(
    summary: ArmSummary, record: StudyResults, causes: Sequence[str] = ()
) -> dict[str, str]:
    """Return what the tracking pages can group and filter by, and why its first trial failed."""
    arm, split = summary.arm, record.spec.split
    single = "single" if arm.technique == "single" else "reference"
    role = "arm" if arm.id in record.references else single
    tags = {
        "arm_id": arm.curve_id,
        "contrast_role": role,
        "reference_cell": record.references.get(arm.id, ""),
        "stage": str(arm.fusion.options.get("stage", "label")) if arm.fusion else "",
        "split_scheme": split.groups,
        "split_digest": record.data.split.digest[:16],
        "data_digest": record.data.dataset.digest[:16],
        "missing": str(summary.missing),
    }
    if causes:
        tags["cause"] = causes[0]
    named = {f"olfaction.{key}": value for key, value in tags.items()}
    named |= {f"olfaction.{key}": value for key, value in arm.params().items()}
    return _cut(named, LONGEST_TAG)


def _cut(texts: Mapping[str, str], longest: int) -> dict[str, str]:
    """Shorten texts; the artifacts hold them whole."""
    return {key: t if len(t) <= longest else t[: longest - 4] + " ..." for key, t in texts.items()}


def arm_metrics(summary: ArmSummary, results: Sequence[TrialResult]) -> dict[str, float]:
    """Return the means of an arm; undefined ones are left out."""
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
        counts = [result.counts[key] for result in results if key in result.counts]
        values[f"n_{key}"] = float(np.mean(counts)) if counts else math.nan
    return _defined(values)


def gain_metrics(macro: PairedDifference, sparse: PairedDifference) -> Metrics:
    """Return a gain over all labels and over the sparsest fifth; undefined numbers are left out.

    The standard deviation is that of the folds, which share training molecules: it is no standard
    error.
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
    return _defined(values)


def _defined(values: Metrics) -> Metrics:
    return {name: value for name, value in values.items() if not math.isnan(value)}


def fold_metrics(results: Sequence[TrialResult]) -> list[Value]:
    """Return name, value and step of every trial of an arm; undefined values are left out."""
    values = []
    for step, result in enumerate(results):
        values.append(("auroc_macro_fold", macro_mean(result.auroc).value, step))
        values.append(("ap_macro_fold", macro_mean(result.average_precision).value, step))
    return [value for value in values if not math.isnan(value[1])]


def per_label_csv(results: Sequence[TrialResult], record: StudyResults) -> str:
    """Return the table of labels: positives, density fifth, mean AUROC and AP, AUROC by trial."""
    dataset = record.data.dataset
    fifths = density_fifths(dataset.positives)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    trials = [f"auroc_{step}" for step in range(len(results))]
    writer.writerow(["label", "positives", "fifth", "auroc", "ap", *trials])
    for column, name in enumerate(dataset.label_names if results else ()):
        aurocs = [float(result.auroc[column]) for result in results]
        ap = float(np.mean([result.average_precision[column] for result in results]))
        fixed = [name, dataset.positives[column], fifths[column] + 1]
        writer.writerow([*fixed, np.mean(aurocs), ap, *aurocs])
    return buffer.getvalue()


def write_arm(folder: Path, results: Sequence[TrialResult], record: StudyResults) -> None:
    """Write the files of an arm: the table of labels, and every trial as the ledger has it."""
    (folder / "per_label.csv").write_text(per_label_csv(results, record), encoding="utf-8")
    (folder / "trials").mkdir()
    for result in results:
        (folder / "trials" / f"{result.id}.trial").write_bytes(add_checksum(result.to_bytes()))


def verdict_page(each: ArmComparison, runs: Mapping[str, str]) -> tuple[dict[str, str], Metrics]:
    """Return what an arm's page says of its gain: tags with a link to the reference, and metrics.

    Parameters
    ----------
    each : ArmComparison
    runs : mapping of arm id to run id
    """
    level, rival = each.level, each.rival
    values = {"auroc_macro_low": level.low, "auroc_macro_high": level.high} if level else {}
    tags = {"verdict": "", "reference_run": ""}
    if rival:
        tags = {
            "verdict": str(rival.verdict),
            "reference_run": runs.get(rival.reference.id, ""),
            "equal_size": "yes" if rival.equal_size else "no",
        }
        values |= gain_metrics(rival.macro, rival.sparse) | {
            "macro_gain_p_holm": rival.verdict.p_holm,
            "macro_gain_p_corrected_t": rival.macro.corrected.p,
            "macro_gain_smallest_detectable": rival.macro.smallest,
        }
    named = {f"olfaction.{key}": value for key, value in tags.items()}
    return named, _defined(values)


COMPARISONS: Mapping[Kind, str] = {"csv": "csv", "md": "md", "json": "json", "latex": "tex"}


def opening_tags(record: StudyResults) -> dict[str, str]:
    """Return the tags that the page of a study is made with."""
    note = {"mlflow.note.content": record.spec.description}
    return {ROLE: "study", VERSION: str(record.version), **note}


def study_tags(
    record: StudyResults, compared: Sequence[ArmComparison], progress: Progress | None
) -> dict[str, str]:
    """Return how far a study is, by its ledger and by the launch under way."""
    left = progress.left if progress else None
    tags = {
        "trials_finished": len(record.by_id),
        "trials_failed": len(record.failures),
        "trials_missing": record.missing,
        "trials_running": progress.running if progress else 0,
        "progress": str(progress) if progress else "",
        "time_left": format_duration(left) if left is not None else "",
    }
    named = {f"olfaction.{name}": str(value) for name, value in tags.items()}
    return {**named, VERSION: str(record.version), STATE: study_state(record, compared)}


def study_state(record: StudyResults, compared: Sequence[ArmComparison]) -> str:
    """Digest of the files of a study's page."""
    table = render_table(comparison_frame(compared), COLUMNS, "json") if compared else ""
    spec = remove_secrets(record.spec).model_dump(mode="json")
    return digest([LAYOUT, spec, record.data.split.digest, table])[:32]


def headline(compared: Sequence[ArmComparison]) -> Metrics:
    """Return the numbers of a whole study: its best level, and how many gains are claims.

    None while it runs, when nothing is compared yet.
    """
    if not compared:
        return {}
    words = [str(each.rival.verdict.kind) for each in compared if each.rival]
    means = [each.summary.auroc for each in compared if each.level]
    levels = [mean for mean in means if not math.isnan(mean)]
    counts = {"gains": len(words), "gains_wins": words.count("wins")}
    counts["gains_suggestive"] = words.count("suggestive")
    best = {"auroc_macro_best": max(levels)} if levels else {}
    return {**{name: float(count) for name, count in counts.items()}, **best}


def write_study(folder: Path, record: StudyResults, compared: Sequence[ArmComparison]) -> None:
    """Write the files of a study: its file, its split, and the comparison once it has ended."""
    frame = comparison_frame(compared)
    for kind, suffix in COMPARISONS.items() if compared else ():
        text = render_table(frame, COLUMNS, kind)
        (folder / f"comparison.{suffix}").write_text(text, encoding="utf-8")
    shown = remove_secrets(record.spec).model_dump_json(indent=2)
    (folder / "study.json").write_text(shown, encoding="utf-8")
    record.data.split.save(folder / "split.json")


NAME = "olfaction.weights"
"""Tag with the name of weights."""


@dataclass(frozen=True)
class WeightsPage:
    """The page of one folder of weights.

    Attributes
    ----------
    name : str
    state : str
        Digest of everything shown: a page with this state is up to date.
    tags, params : mapping of str to str
    metrics : tuple of (name, value, step)
        Every number of every epoch.
    files : tuple of Path
    """

    name: str
    state: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: tuple[tuple[str, float, int], ...]
    files: tuple[Path, ...]

    def page(self) -> RunPage:
        """Return it as any store takes it."""
        tags = {ROLE: "weights", NAME: self.name, STATE: self.state, **self.tags}
        return RunPage(self.name, tags, self.params, self.metrics, self._copy)

    def _copy(self, folder: Path) -> None:
        for file in self.files:
            shutil.copy(file, folder)


def weights_page(
    card: ModelCard, folder: Path, history: Sequence[Mapping[str, float]]
) -> WeightsPage:
    """Return the page of finished weights.

    Parameters
    ----------
    card : ModelCard
    folder : Path
        Folder of the weights: the card and ``epochs.json``, which the page shows as files.
    history : sequence of mapping
        Numbers of each epoch by name, with its number under ``epoch``.
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
    return WeightsPage(card.name, state, tags, _params(card), metrics, files)


def _params(card: ModelCard) -> dict[str, str]:
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
