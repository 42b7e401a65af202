"""Results outlive the version of the program that made them: found, named, kept apart."""

from __future__ import annotations

import csv
import io
import shutil
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from mlflow.tracking import MlflowClient

from modalities.featurizers.molecule import featurizer_version
from study.analysis.arm_scores import build_score_pool
from study.analysis.comparison import compare_arms
from study.artifacts.version import Version, choose_version
from study.cli.app import main
from study.errors import InputError
from study.results.ledger import Ledger
from study.results.study_results import load_snapshot
from study.results.versions import FILE
from study.runner.sync import sync_study
from study.storage.storage import Storage

# MLflow uses a loader that SQLAlchemy 2.1 has deprecated
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")

CODE = 4
"""The training code of the golden study, which stands for the earlier program here."""
GOLDEN = Path(__file__).parents[1] / "golden"
TRIALS, ARMS, FITS = 56, 14, 10
OLD, NEW = "code 4, rdkit 2026.9.1", "code 5, rdkit 2026.9.1"
LAUNCH = ("launch", "frozen.yaml", "--no-ray", "--no-mlflow")
SOME = ("--rerun", "--set", f"run.budget.trials={FITS}")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a finished study that code 4 left, in its storage `studies`."""
    with tarfile.open(GOLDEN / "store.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "store").rename(tmp_path / "studies")
    text = (GOLDEN / "frozen.yaml").read_text(encoding="utf-8")
    (tmp_path / "frozen.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def earlier(monkeypatch):
    """Begin with the training code of the golden study."""
    monkeypatch.setattr("study.artifacts.study_data.CODE", CODE)


@pytest.fixture
def upgrade(monkeypatch):
    """Go on with another number of the training code."""
    return lambda code=CODE + 1: monkeypatch.setattr("study.artifacts.study_data.CODE", code)


@pytest.fixture
def command(monkeypatch, capsys):
    """Run a command in this process: -> exit code, what it printed, what it said of errors."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["study", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code or 0, *capsys.readouterr()

    return run


def trial_files(folder):
    return {file.name: file.read_bytes() for file in (folder / "studies/ledger").glob("*.trial")}


def golden(name):
    return (GOLDEN / name).read_text(encoding="utf-8")


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_the_current_version_is_the_one_of_the_frozen_store():
    assert OLD.startswith(f"code {CODE},")


def test_status_reads_the_results_of_another_version(folder, command, upgrade):
    upgrade()
    code, shown, _ = command("status", "frozen")
    assert code == 0
    lines = shown.splitlines()
    assert lines[0] == f"frozen: {TRIALS} of {TRIALS} trials finished"
    assert lines[1] == f"version: results of '{OLD}' (56 trials); no other version is mixed in"
    assert lines[2] == f"others:  '{NEW}' (0 trials, current)"
    code, shown, _ = command("status", "frozen", "--version", "5")
    assert (code, shown.splitlines()[0]) == (3, f"frozen: 0 of {TRIALS} trials finished")


def test_a_comparison_of_another_version_keeps_its_numbers_and_names_it(folder, command, upgrade):
    upgrade()
    code, shown, _ = command("compare", "frozen", "--format", "csv")
    assert code == 0
    found = rows(shown)
    assert {row.pop("version") for row in found} == {OLD}
    assert found == rows(golden("compare.csv.txt"))
    table = command("compare", "frozen")[1]
    assert table.splitlines()[0].startswith("version ")
    assert f"results of '{OLD}'" in table
    contrasts = command("compare", "frozen", "--contrasts", "all", "--format", "csv")[1]
    assert {row["version"] for row in rows(contrasts)} == {OLD}


def test_learning_curves_and_report_name_another_version(folder, command, upgrade):
    upgrade()
    code, shown, _ = command("scaling", "frozen")
    assert code == 0
    assert shown.startswith(golden("scaling.txt"))
    assert f"results of '{OLD}'" in shown
    code, shown, said = command("scaling", "frozen", "--format", "csv")
    assert OLD not in shown
    assert f"results of '{OLD}'" in said
    code, shown, _ = command("report", "frozen", "--out", "report", "--no-mlflow")
    assert code == 0
    assert f"results of '{OLD}'" in shown
    assert f"'{OLD}' (56 trials)" in (folder / "report/report.md").read_text(encoding="utf-8")


def test_a_launch_that_would_train_anew_is_refused_with_what_it_costs(folder, command, upgrade):
    upgrade()
    before = trial_files(folder)
    code, shown, said = command(*LAUNCH)
    assert (code, shown) == (2, "")
    assert f"finished trials of another version: '{OLD}' (56 trials)" in said
    assert "56 trials: about " in said
    assert "from recorded" not in said
    assert "recorded trials of 12 arms" in said
    assert "--rerun" in said
    assert "--keep" in said
    assert trial_files(folder) == before


def test_a_launch_that_keeps_finished_arms_trains_nothing(folder, command, upgrade):
    upgrade()
    before = trial_files(folder)
    code, shown, _ = command(*LAUNCH, "--keep")
    assert code == 0
    assert shown.splitlines()[0] == "nothing to train: complete results of 14 arms are kept"
    assert f"results of '{OLD}' (56 trials)" in shown
    assert trial_files(folder) == before
    assert command(*LAUNCH, "--keep", "--rerun")[0] == 2


def test_a_launch_anew_keeps_the_old_results_and_never_mixes_them(folder, command, upgrade):
    upgrade()
    before = trial_files(folder)
    code, shown, _ = command(*LAUNCH, *SOME)
    assert code == 3
    assert f"results of '{NEW}' (12 trials, current)" in shown
    assert f"others:  '{OLD}' (56 trials)" in shown
    assert "missing in this version: 44 trials" in shown
    after = trial_files(folder)
    assert before.items() <= after.items()
    assert len(after) == TRIALS + FITS + 2  # and two averages of them

    home = folder / "studies/frozen"
    old, new = load_snapshot(home), load_snapshot(home, "5")
    assert {result.code for result in old.by_id.values()} == {0}  # they name no code
    assert {result.code for result in new.by_id.values()} == {5}
    assert (len(old.by_id), len(new.by_id)) == (TRIALS, FITS + 2)
    assert rows(command("compare", "frozen", "--format", "csv")[1])[0]["version"] == OLD
    code, shown, _ = command("compare", "frozen", "--version", "5", "--format", "csv")
    found = rows(shown)
    assert (code, {row["version"] for row in found}) == (3, {NEW})
    assert sum(int(row["trials"].split("/")[0]) for row in found) == FITS + 2

    upgrade(CODE)  # and back: nothing is missing
    code, shown, _ = command(*LAUNCH)
    assert (code, shown.splitlines()[0]) == (0, "56 trials, 56 already in the ledger")
    assert f"others:  '{NEW}' (12 trials)" in shown


def test_a_launch_anew_goes_on_where_it_was(folder, command, upgrade):
    upgrade()
    command(*LAUNCH, *SOME)
    assert command(*LAUNCH)[0] == 2
    code, shown, _ = command(*LAUNCH, "--rerun")
    assert code == 0
    assert shown.splitlines()[0] == "56 trials, 12 already in the ledger"
    text = command("status", "frozen")[1]  # of equal ones the newest
    assert f"results of '{NEW}' (56 trials, current)" in text
    assert f"others:  '{OLD}' (56 trials)" in text
    assert command(*LAUNCH)[0] == 0


def another_rdkit(monkeypatch):
    """Featurize with another rdkit, as far as versions say."""

    def version(*words, **options):
        return featurizer_version(*words, **options).replace("rdkit 2026.9.1", "rdkit 2027.3.1")

    monkeypatch.setattr("modalities.fingerprint.featurizer_version", version)


def test_another_rdkit_hides_nothing(folder, command, monkeypatch):
    """The arms of characters alone do not depend on it: they are of both versions."""
    another_rdkit(monkeypatch)
    shown = command("status", "frozen")[1]
    assert f"results of '{OLD}' (56 trials)" in shown
    assert "others:  'code 4, rdkit 2027.3.1' (8 trials, current)" in shown
    code, _, said = command(*LAUNCH)
    assert code == 2
    assert "48 trials: about " in said


def test_text_that_names_no_single_version_is_refused(folder, command, upgrade):
    upgrade()
    for text, count in {"3": 0, "rdkit 2026.9.1": 2}.items():
        code, shown, said = command("compare", "frozen", "--version", text)
        assert (code, shown) == (2, "")
        assert f"'{text}' matches {count} of the versions with results" in said
        assert OLD in said


@pytest.mark.parametrize("text", [OLD, "4", "code 4", "rdkit 2026.9.1, code 4"])
def test_a_version_is_chosen_by_some_of_its_words(text):
    old, new = Version.parse(OLD), Version.parse(NEW)
    assert str(old) == OLD
    assert choose_version([old, new], text) == old
    with pytest.raises(InputError):
        choose_version([old, new], "rdkit 2026.9.1")


def test_arms_of_two_versions_are_never_paired(folder, upgrade):
    pool = build_score_pool(load_snapshot(folder / "studies/frozen"))
    baseline = {"study": "frozen", "features": "counts", "technique": "single"}
    twin = replace(pool, spec=pool.spec.model_copy(update={"name": "twin"}))
    paired = [each for each in compare_arms([pool, twin], baseline) if each.paired]
    assert {each.study for each in paired} == {"frozen", "twin"}
    newer = replace(twin, version=Version.parse(NEW))
    paired = [each for each in compare_arms([pool, newer], baseline) if each.paired]
    assert {each.study for each in paired} == {"frozen"}


def test_a_record_says_what_made_it_and_what_was_asked(tiny, spec_of, run_tiny, upgrade, tmp_path):
    old = run_tiny(spec_of(tiny, tmp_path / "old"))[1]
    upgrade()
    new = run_tiny(spec_of(tiny, tmp_path / "new"))[1]
    assert {result.code for result in old.by_id.values()} == {CODE}
    assert {result.code for result in new.by_id.values()} == {CODE + 1}
    asked = [{result.asked for result in each.by_id.values()} for each in (old, new)]
    assert asked[0] == asked[1]
    assert len(asked[0]) == len(old.by_id)
    assert not old.by_id.keys() & new.by_id.keys()


def test_a_kept_study_trains_whole_new_arms_alone(tiny, command, upgrade, tmp_path, monkeypatch):
    """The new arm is an average: its members are trained with it."""
    monkeypatch.chdir(tmp_path)
    blocks = tiny["grid"]
    blocks[1]["technique"] = ["mlp_head"]
    file = tmp_path / "tiny.yaml"
    launch = ("launch", "tiny.yaml", "--no-ray", "--no-mlflow")
    file.write_text(yaml.safe_dump(tiny), encoding="utf-8")
    assert command(*launch)[0] == 0
    upgrade()
    blocks[1]["technique"] = ["mlp_head", "independent_mean"]
    file.write_text(yaml.safe_dump(tiny), encoding="utf-8")
    assert command(*launch, "--extend")[0] == 2
    code, shown, _ = command(*launch, "--extend", "--keep")
    assert (code, shown.splitlines()[1]) == (0, "6 trials, 0 already in the ledger")
    ledger = Ledger(Storage(str(tmp_path / "studies/ledger")))
    made = [result for result in ledger.get_many(ledger.ids()) if result.code == CODE + 1]
    assert {r.spec.arm.technique for r in made} == {"single", "independent_mean"}
    assert len(made) == 6
    assert command(*launch, "--keep")[0] == 0


def test_records_are_opened_once_and_what_is_known_of_them_may_be_lost(
    folder, command, upgrade, monkeypatch
):
    upgrade()
    shown = command("status", "frozen")
    opened = []
    origins = Ledger.read_origins
    monkeypatch.setattr(
        Ledger, "read_origins", lambda self, ids: opened.append(len(ids)) or origins(self, ids)
    )
    assert command("status", "frozen") == shown
    assert opened == []
    index = folder / "studies/ledger" / FILE
    index.write_bytes(index.read_bytes()[:100])
    assert command("status", "frozen") == shown
    assert command("status", "frozen") == shown
    index.unlink()
    assert command("status", "frozen") == shown
    assert opened == [TRIALS, TRIALS]


def test_a_damaged_record_of_another_version_is_missing(folder, command, upgrade):
    """As one of the current version, it is no finished trial."""
    (folder / "studies/ledger" / FILE).unlink(missing_ok=True)
    for file in (folder / "studies/ledger").glob("*.trial"):
        file.write_bytes(b"damaged")
    upgrade()
    code, shown, _ = command("status", "frozen")
    assert (code, shown.splitlines()[0]) == (3, f"frozen: 0 of {TRIALS} trials finished")


def pages():
    """Every page of the study: everything that a reader sees of it, by its identity."""
    client = MlflowClient(tracking_uri=f"sqlite:///{Path('studies/mlflow.db').resolve()}")
    found = client.get_experiment_by_name("frozen")
    runs = client.search_runs([found.experiment_id], max_results=1000)
    return {run.info.run_id: (run.info.status, run.info.end_time, run.data.tags) for run in runs}


@pytest.fixture(scope="module")
def shown_by_four(tmp_path_factory):
    """The storage with the pages that code 4 wrote: made once, to be copied."""
    place = tmp_path_factory.mktemp("pages")
    with tarfile.open(GOLDEN / "store.tar.gz") as archive:
        archive.extractall(place, filter="data")
    sync_study("frozen", str(place / "store"), None)
    return place / "store" / "mlflow.db"


@pytest.fixture
def tracked(folder, shown_by_four):
    shutil.copy(shown_by_four, folder / "studies/mlflow.db")
    return folder


@pytest.mark.parametrize("tagged", [True, False])
def test_pages_of_another_version_stay_as_they_are(tracked, command, upgrade, tagged):
    """Also those written before pages named their version."""
    if not tagged:
        client = MlflowClient(tracking_uri=f"sqlite:///{tracked / 'studies/mlflow.db'}")
        for run_id, (*_, tags) in pages().items():
            if "olfaction.version" in tags:
                client.delete_tag(run_id, "olfaction.version")
    before = pages()
    assert len(before) == 1 + ARMS
    assert {status for status, *_ in before.values()} == {"FINISHED"}
    upgrade()
    code, shown, _ = command("sync", "frozen", "--version", "5")
    assert (code, shown.partition(":")[0]) == (3, f"{ARMS} of {ARMS} pages written, 0 up to date")
    after = pages()
    assert before.items() <= after.items()
    assert len(after) == 2 * (1 + ARMS)
    new = [tags for run, (*_, tags) in after.items() if run not in before]
    assert [tags["olfaction.version"] for tags in new if "olfaction.version" in tags] == [NEW]
    place = ("--tracking-uri", f"sqlite:///{tracked / 'studies/mlflow.db'}", "--format", "csv")
    assert {row["version"] for row in rows(command("compare", "frozen", *place)[1])} == {OLD}
    assert command("sync", "frozen", "--version", "5", "--anew")[0] == 3
    assert before.items() <= pages().items()


def test_sync_after_an_upgrade_changes_nothing(tracked, command, upgrade):
    before = pages()
    upgrade()
    for _ in range(2):
        code, shown, _ = command("sync", "frozen")
        assert (code, shown.partition(":")[0]) == (0, f"0 of {ARMS} pages written, 14 up to date")
        assert pages() == before


def test_a_launch_anew_leaves_the_finished_pages(tracked, command, upgrade):
    before = pages()
    upgrade()
    assert command(*LAUNCH[:-1], *SOME)[0] == 3
    after = pages()
    assert before.items() <= after.items()
    assert len(after) == 2 * (1 + ARMS)
    assert command("sync", "frozen")[0] == 0  # the version with most finished trials
    ends = [{run: page[:2] for run, page in each.items()} for each in (pages(), after)]
    assert ends[0] == ends[1]
