"""The Python API: tables and figures of a launched study, and studies from memory."""

import doctest
import importlib
import io
import shutil

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from typer.testing import CliRunner

import study
import study.api
from study.cli.app import app
from study.errors import InputError
from study.metrics import auroc


@pytest.fixture(scope="module")
def home(launched):
    """Folder of results of the launched study, and its name."""
    prepared = launched[0]
    return str(prepared.folder.parent), prepared.spec.name


@pytest.fixture(scope="module")
def results(home):
    storage, name = home
    return study.load_results(name, storage)


def arms(results):
    """The comparison table without the names of the arms in its index."""
    return results.arms().reset_index(drop=True)


def run(*words):
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_public_names_are_those_of_the_api():
    assert study.__all__ == study.api.__all__
    assert set(study.__all__) <= set(dir(study))
    with pytest.raises(AttributeError, match="no attribute 'launches'"):
        study.launches  # noqa: B018 (the access is the test)


@pytest.mark.parametrize(
    "module", ["study", "study.api.loading", "study.api.running", "study.api.results"]
)
def test_examples_of_docstrings_run(module):
    tried = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert tried.failed == 0


def test_trials_have_scores_of_their_results(results):
    trials = results.trials()
    assert len(trials) == len(results.plan.arms) * results.plan.trials_per_arm
    assert set(trials["state"]) == {"finished"}
    row = trials.iloc[3]
    stored = results.snapshot.by_id[row["trial_id"]]
    assert row["auroc"] == pytest.approx(np.mean(auroc(stored.test_labels, stored.scores)))
    assert (row["fold"], row["seed"]) == (stored.spec.fold, stored.spec.seed)


def test_missing_and_failed_trials_are_named(partial):
    trials = study.StudyResults(partial).trials()
    failed = trials[trials["state"] == "failed"]
    assert failed["cause"].str.contains("loss became nan").tolist() == [True]
    assert failed["auroc"].isna().all()


def test_api_and_command_line_give_equal_comparisons(results, home):
    storage, name = home
    text = run("compare", name, "--storage", storage, "--format", "csv")
    assert results.arms().to_csv(index=False, lineterminator="\n") == text
    assert_frame_equal(arms(results), study.compare(name, storage=storage))
    text = run("compare", name, "--storage", storage, "--contrasts", "all", "--format", "csv")
    assert results.contrasts().to_csv(index=False, lineterminator="\n") == text


@pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")
def test_mlflow_gives_the_same_comparison(results, tracker):
    tracker.sync(results.snapshot)
    stored = study.compare(results.name, tracking=tracker.uri)
    assert_frame_equal(stored, arms(results))


def test_a_baseline_is_compared_with_every_arm(results):
    first = results.arms().loc[str(results.plan.arms[0])]
    columns = ("features", "technique", "fusion", "partition")
    baseline = {column: first[column] for column in columns}
    compared = results.arms(baseline)
    assert compared["gain"].notna().sum() == len(compared) - 1
    with pytest.raises(InputError, match="matches"):
        results.arms({"features": "nothing"})


def test_predictions_are_out_of_fold_means(results):
    arm = results.plan.arms[0]
    predictions = results.predictions(arm.id)
    assert tuple(predictions.index) == results.dataset.smiles
    assert tuple(predictions.columns) == results.dataset.label_names
    row = 5
    scores = [
        trial.scores[trial.test_rows == row][0]
        for trial in results.snapshot.results_of(arm)
        if row in trial.test_rows
    ]
    np.testing.assert_allclose(predictions.iloc[row], np.mean(scores, axis=0), rtol=1e-6)
    with pytest.raises(InputError, match="no finished trial of seed 99"):
        results.predictions(arm.id, seed=99)


def test_labels_have_means_over_trials(results):
    arm = results.plan.arms[0]
    labels = results.labels(arm.id)
    trials = results.snapshot.results_of(arm)
    np.testing.assert_allclose(labels["auroc"], np.mean([t.auroc for t in trials], axis=0))
    assert len(results.labels()) == len(results.plan.arms) * len(labels)


def test_histories_have_one_row_an_epoch(results):
    histories = results.histories()
    trial_id, rows = next(iter(histories.groupby("trial_id")))
    stored = results.snapshot.by_id[trial_id]
    assert len(rows) == stored.counts["epochs"]
    for name, values in stored.history.items():
        np.testing.assert_array_equal(rows[name], values)


def test_an_unknown_arm_is_named_with_the_known_ones(results):
    with pytest.raises(InputError, match="is not an arm of study") as refused:
        results.find_arm("graph / nothing")
    assert str(results.plan.arms[0]) in str(refused.value)


@pytest.mark.parametrize("name", ["forest", "heat_map", "sparse_gain", "training_curves"])
def test_figures_are_those_of_matplotlib(results, name):
    draw = getattr(study.plot, name)
    trained = next(a for a in results.plan.arms if a.technique != "independent_mean")
    figure = draw(results, trained.id) if name == "training_curves" else draw(results)
    assert isinstance(figure, matplotlib.figure.Figure)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    assert image.getvalue().startswith(b"\x89PNG")


def test_a_figure_without_data_is_refused_by_name(results):
    with pytest.raises(InputError, match="no figure 1 of learning curves"):
        study.plot.learning_curves(results)
    with pytest.raises(InputError, match="no figure of the question 'taste'"):
        study.plot.forest(results, "taste")


def test_results_show_as_a_table_in_a_notebook(results):
    assert repr(results).startswith(f"<StudyResults '{results.name}': ")
    html = results._repr_html_()
    assert html.count("<tr") == len(results.plan.arms) + 1
    assert "<table" in results.plan._repr_html_()


@pytest.fixture
def table(launched):
    dataset = launched[0].data.dataset
    labels = pd.DataFrame(dataset.labels, columns=list(dataset.label_names)).astype(bool)
    return labels.assign(molecule=dataset.smiles)


def test_a_study_of_a_frame_is_launched(table, tiny, tmp_path):
    data = {"key": "isomeric", "unlabelled": "keep"}
    content = {**tiny, "data": data, "run": {"storage": str(tmp_path)}}
    spec = study.load_spec(content, {"name": "frame"}, table=table, smiles="molecule")
    lines = []

    class Notes(study.ProgressCallback):
        def stage(self, name, total):
            lines.append((name, total))

    results = study.launch(spec, executor="local", pages=False, callbacks=[Notes()])
    assert results.complete
    assert len(results.dataset) == len(table)
    assert "trials" in dict(lines)
    again = study.launch(spec, executor="local", pages=False)
    assert_frame_equal(again.arms(), results.arms())
    assert study.write_report(results, tmp_path / "report").is_file()


def test_a_frame_without_smiles_is_refused(table, tiny, tmp_path):
    content = {**tiny, "run": {"storage": str(tmp_path)}}
    with pytest.raises(InputError, match=r"no column 'smiles'; its columns: .*molecule"):
        study.load_spec(content, table=table)
    assert not list(tmp_path.iterdir())


def test_molecules_that_cannot_be_embedded_are_named():
    with pytest.raises(InputError, match=r"molecule 1: .*skip_bad=True|skip_bad=True"):
        study.embed(["CCO", "C1CC"], "fingerprint")
    rows = study.embed(["CCO", "C1CC", "CCO"], "smiles", skip_bad=True)
    assert np.isnan(rows[1]).all()
    np.testing.assert_array_equal(rows[0], rows[2])


def test_studies_are_listed_renamed_and_deleted(launched, tmp_path):
    shutil.copytree(launched[0].folder.parent, tmp_path, dirs_exist_ok=True)
    storage, name = str(tmp_path), launched[0].spec.name
    listed = study.list_studies(storage)
    assert listed["name"].tolist() == [name]
    before = study.load_results(name, storage).arms()
    study.rename_study(name, "other", storage)
    assert_frame_equal(study.load_results("other", storage).arms(), before)
    assert study.describe_study("other", storage).overview.name == "other"
    study.delete_study("other", storage, dry_run=True)
    assert len(study.list_studies(storage)) == 1
    study.delete_study("other", storage)
    assert study.list_studies(storage).empty
