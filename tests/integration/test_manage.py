"""Management of the studies of a storage: nothing that another study needs is ever removed."""

import copy
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import yaml

from study.artifacts.study_folder import CACHE, NAME, RENAMING
from study.errors import InputError
from study.results import versions
from study.results.study_results import load_snapshot
from study.runner.manage import (
    StudyState,
    delete_study,
    describe_study,
    list_studies,
    rename_study,
)
from study.runner.status import build_progress_file
from study.storage.checksums import add_json_checksum
from study.storage.lock import LockedError, StudyLock, is_lock, read_holder
from study.storage.mirror import local_folder
from study.storage.storage import Storage
from study.training.checkpoints import StoredCheckpoints


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(scope="session")
def template(tmp_path_factory, tiny_study, spec_of, run_tiny):
    """A storage with two studies that share the arm ``counts``; read only."""
    root = tmp_path_factory.mktemp("manage") / "studies"
    run_tiny(spec_of(tiny_study, root))
    other = copy.deepcopy(tiny_study)
    other |= {"name": "other", "grid": [{"features": [["counts"], ["near"]]}]}
    other["modalities"]["near"] = {"modality": "fingerprint", "size": 256, "radius": 1}
    run_tiny(spec_of(other, root))
    return root


def _copy(template, storage):
    """Copy the storage; its studies then use the caches of the copy."""
    if storage.is_local:  # without a flush to the disk for every file
        shutil.copytree(template, storage.address)
    else:
        for file in filter(Path.is_file, template.rglob("*")):
            if file.suffix != ".lock":
                storage.write(file.relative_to(template).as_posix(), file.read_bytes())
    for name in ("tiny", "other"):
        cache = {"cache": storage.subfolder("cache").address}
        storage.subfolder(name).write(CACHE, add_json_checksum(cache))


@pytest.fixture
def folder(template, tmp_path):
    """A copy of the storage for one test, in a folder."""
    storage = Storage(str(tmp_path / "studies"))
    _copy(template, storage)
    return storage


@pytest.fixture(params=["folder", "bucket"])
def root(request, template, tmp_path, monkeypatch):
    """A copy of the storage for one test, in a folder or in an object store."""
    if request.param == "folder":
        return request.getfixturevalue("folder")
    storage = Storage(f"{request.getfixturevalue('bucket')}/{tmp_path.name}")
    monkeypatch.setenv("OLFACTION_CACHE", str(tmp_path / "copies"))
    _copy(template, storage)
    return storage


def files_of(storage):
    """Return the files below a folder, without locks and the cache that every reader may write."""
    return {
        name
        for name in storage.sizes("")
        if not is_lock(name.rpartition("/")[2]) and name != f"ledger/{versions.FILE}"
    }


def scores_of(storage, name):
    results = load_snapshot(storage.subfolder(name))
    return {key: result.scores for key, result in results.by_id.items()}, results.missing


def assert_same(found, expected):
    (scores, missing), (expected_scores, expected_missing) = found, expected
    assert (scores.keys(), missing) == (expected_scores.keys(), expected_missing)
    for key, value in scores.items():
        np.testing.assert_array_equal(value, expected_scores[key])


def test_a_list_has_states_and_tables(root):
    home = root.subfolder("tiny")
    build_progress_file(home).close()
    ledger = root.subfolder("ledger")
    ledger.remove(ledger.names(".trial")[0])
    root.subfolder("broken").write(NAME, b"{}")
    broken, other, tiny = list_studies(root.url)
    assert (broken.name, broken.state, broken.planned) == ("broken", StudyState.UNREADABLE, None)
    assert f"{root.subfolder('broken').path(NAME)} is damaged" in broken.note
    assert (other.name, other.planned, other.molecules, other.labels) == ("other", 4, 120, 6)
    assert (tiny.name, tiny.planned, tiny.data) == ("tiny", 10, "simulated")
    states = {study.state for study in (tiny, other) if study.finished < study.planned}
    assert states == {StudyState.INCOMPLETE}
    assert abs((datetime.now(UTC) - tiny.last_run).total_seconds()) < 60
    assert other.last_run <= datetime.now(UTC)  # it has no progress file


def test_a_running_study_is_listed_with_its_owner(folder):
    with StudyLock(folder.subfolder("tiny")).hold():
        (tiny,) = (study for study in list_studies(folder.url) if study.name == "tiny")
        assert tiny.state == StudyState.RUNNING
        assert str(read_holder(folder.subfolder("tiny"))) in tiny.note
    assert [study.state for study in list_studies(folder.url)] == [StudyState.COMPLETE] * 2


def test_a_storage_without_studies_lists_none(tmp_path):
    assert list_studies(str(tmp_path / "nothing")) == []


def test_a_description_counts_the_files_of_a_study(root):
    found = describe_study(root.url, "other")
    assert found.split == "constitution groups, 2 folds"
    assert (found.fractions, found.seeds) == ((1,), (0,))
    assert found.arms == ("counts / single / 1", "near / single / 1")
    assert found.file == root.subfolder("other").path(NAME)
    assert found.places["results"] == root.subfolder("ledger").address
    assert found.files["results"].files == 4
    assert describe_study(root.url, "tiny").files["embeddings"].files == 1
    assert found.files["embeddings"].files == 0
    assert (
        0
        < found.files["folder"].size
        == sum(
            size
            for name, size in root.sizes("other").items()
            if not is_lock(name.rpartition("/")[2])
        )
    )


def test_deletion_removes_what_no_other_study_uses(root):
    expected, before = scores_of(root, "other"), files_of(root)
    planned = delete_study(root.url, "tiny", dry_run=True)
    assert files_of(root) == before
    done = delete_study(root.url, "tiny")
    assert done == planned
    gone = before - files_of(root)
    assert_same(scores_of(root, "other"), expected)
    assert expected[1] == 0
    assert {name.split("/")[0] for name in gone} == {"tiny", "ledger", "cache"}
    assert (done.freed["results"].files, done.kept["results"].files) == (8, 2)
    assert done.used_by == ("other",)
    assert done.freed["embeddings"].files == 1
    assert done.freed["tables"].files == 0  # both studies have the same table
    assert sum(count.files for count in done.freed.values()) == len(gone)
    assert [study.name for study in list_studies(root.url)] == ["other"]
    assert root.sizes("tiny") == {}
    if root.is_local:
        assert not Path(root.address, "tiny").exists()


def test_the_other_study_is_launched_again_without_training(root, tiny, spec_of, run_tiny):
    delete_study(root.url, "other")
    _, results, notes = run_tiny(spec_of(tiny, root.url))
    assert notes.notes == ["10 trials, 10 already in the ledger"]
    assert (notes.stages, results.missing) == ({}, 0)


def test_the_last_study_leaves_no_shared_file(root):
    delete_study(root.url, "other")
    delete_study(root.url, "tiny")
    rest = {name for name in files_of(root) if not name.endswith(".lock")}
    assert rest == set()


def test_checkpoints_failures_and_damaged_records_go_too(folder, tiny, spec_of):
    results = load_snapshot(folder.subfolder("tiny"))
    own = sorted(results.by_id.keys() - load_snapshot(folder.subfolder("other")).by_id.keys())
    StoredCheckpoints(results.data.checkpoints, own[0]).save({"epoch": 1})
    StoredCheckpoints(results.data.checkpoints, "0" * 32).save({"epoch": 1})
    folder.subfolder("ledger").write(f"{own[1]}.failed.json", b"{}")
    folder.subfolder("ledger").write(f"{own[2]}.trial.corrupt", b"x")
    delete_study(folder.url, "tiny")
    left = files_of(folder)
    assert not any(key in name for key in own for name in left)
    assert f"cache/checkpoints/{'0' * 32}.checkpoint" in left  # of nobody that is known


def test_deletion_refuses_if_another_study_is_unreadable(folder):
    folder.subfolder("other").remove("dataset.table")
    before = files_of(folder)
    with pytest.raises(InputError, match=r"study 'other' uses cannot be told \(.*dataset.table is"):
        delete_study(folder.url, "tiny")
    assert files_of(folder) == before
    done = delete_study(folder.url, "tiny", keep_shared=True)
    assert before - files_of(folder) == {name for name in before if name.startswith("tiny/")}
    assert done.freed.keys() == {"folder"}


def test_an_unreadable_study_keeps_its_results(folder):
    folder.subfolder("tiny").write(NAME, b"{")
    with pytest.raises(InputError, match=r"study 'tiny' uses cannot be told"):
        delete_study(folder.url, "tiny")
    delete_study(folder.url, "tiny", keep_shared=True)
    assert [study.name for study in list_studies(folder.url)] == ["other"]


def test_deletion_waits_for_nobody(folder):
    with StudyLock(folder.subfolder("tiny")).hold():
        with pytest.raises(LockedError, match="cannot be deleted while it is being launched by"):
            delete_study(folder.url, "tiny")
        with pytest.raises(LockedError, match="cannot be renamed while it is being launched by"):
            rename_study(folder.url, "tiny", "new")
    assert scores_of(folder, "tiny")[1] == 0


def test_a_first_launch_has_no_file_to_ask(root):
    before = files_of(root)
    with (
        StudyLock(root.subfolder("begins")).hold(),
        pytest.raises(InputError, match=r"'begins' uses cannot be told .*for the first time by"),
    ):
        delete_study(root.url, "tiny")
    assert files_of(root) == before


def test_a_running_pretraining_keeps_the_features(folder):
    with StudyLock(folder.subfolder("weights", "mine")).hold():
        done = delete_study(folder.url, "tiny", dry_run=True)
    assert done.freed["features"].files == 0
    assert done.used_by == ("other", "the pretraining of mine")
    assert delete_study(folder.url, "tiny", dry_run=True).freed["features"].files > 0


@pytest.mark.parametrize("name", ["ledger", "cache", "weights", "..", "a/b", "", "mlflow.db"])
def test_names_that_no_study_has_are_refused(folder, name):
    before = files_of(folder)
    for act in (
        lambda: delete_study(folder.url, name),
        lambda: rename_study(folder.url, "tiny", name),
        lambda: rename_study(folder.url, name, "new"),
        lambda: describe_study(folder.url, name),
    ):
        with pytest.raises(InputError, match="cannot be the name of a study"):
            act()
    assert files_of(folder) == before


def test_what_is_not_there_is_named(folder):
    with pytest.raises(InputError, match="nothing holds no study: `study list` shows"):
        delete_study(folder.url, "nothing")
    with pytest.raises(InputError, match="nothing holds no study: `study list` shows"):
        describe_study(folder.url, "nothing")
    with pytest.raises(InputError, match="nothing holds no study: `study list` shows"):
        rename_study(folder.url, "nothing", "new")
    assert not Path(folder.address, "nothing").exists()
    assert not Path(folder.address, "new").exists()


def test_a_renamed_study_keeps_its_results(root, tiny, spec_of, run_tiny):
    expected, before = scores_of(root, "tiny"), files_of(root.subfolder("tiny"))
    done = rename_study(root.url, "tiny", "new")
    assert done.folder == root.subfolder("new").address
    assert files_of(root.subfolder("new")) == before
    assert_same(scores_of(root, "new"), expected)
    assert load_snapshot(root.subfolder("new")).spec.name == "new"
    assert [study.name for study in list_studies(root.url)] == ["new", "other"]
    assert root.sizes("tiny") == {}
    _, results, notes = run_tiny(spec_of({**tiny, "name": "new"}, root.url))
    assert notes.notes == ["10 trials, 10 already in the ledger"]
    assert results.missing == 0


def test_a_name_in_use_is_refused(folder):
    with pytest.raises(InputError, match="there is a study 'other' in that storage already"):
        rename_study(folder.url, "tiny", "other")
    with pytest.raises(InputError, match="has that name already"):
        rename_study(folder.url, "tiny", "tiny")
    folder.subfolder("full").write("notes.txt", b"mine")
    with pytest.raises(InputError, match=r"is not empty: it holds notes\.txt"):
        rename_study(folder.url, "tiny", "full")
    assert files_of(folder.subfolder("full")) == {"notes.txt"}


def test_one_renaming_is_finished_before_another(folder):
    state = json.dumps({"to": "new"}).encode()
    folder.subfolder("tiny").write(RENAMING, state)
    (tiny,) = (study for study in list_studies(folder.url) if study.name == "tiny")
    assert tiny.note == "half renamed: `study rename tiny new` finishes it"
    with pytest.raises(InputError, match="finish that first with `study rename tiny new`"):
        rename_study(folder.url, "tiny", "another")
    rename_study(folder.url, "tiny", "new")
    assert [study.name for study in list_studies(folder.url)] == ["new", "other"]


@pytest.fixture
def kill(monkeypatch):
    """Let the storage end the process at its i-th change; -> whether it got that far."""

    def at(number, act):
        left = number

        def counted(change):
            def run(self, name, *data):
                nonlocal left
                if not is_lock(name):
                    left -= 1
                    if left == 0:
                        raise Killed
                return change(self, name, *data)

            return run

        with monkeypatch.context() as patch:
            for method in ("write", "remove"):
                patch.setattr(Storage, method, counted(getattr(Storage, method)))
            try:
                act()
            except Killed:
                return True
        return False

    return at


def _reset(storage, template):
    """Bring the folder of a test back to its first state."""
    shutil.rmtree(storage.address)
    _copy(template, storage)


def test_a_rename_killed_anywhere_is_finished_by_the_next(folder, template, kill):
    expected, before, steps = scores_of(folder, "tiny"), files_of(folder.subfolder("tiny")), 0
    while kill(steps + 1, lambda: rename_study(folder.url, "tiny", "new")):
        steps += 1
        readable = [study.name for study in list_studies(folder.url) if study.planned]
        assert {"tiny", "new"} & set(readable), steps
        for name in {"tiny", "new"} & set(readable):
            assert_same(scores_of(folder, name), expected)
        rename_study(folder.url, "tiny", "new")
        assert files_of(folder.subfolder("new")) == before
        assert not Path(folder.address, "tiny").exists()
        assert_same(scores_of(folder, "new"), expected)
        _reset(folder, template)
    assert steps > 2 * len(before)


def test_a_deletion_killed_anywhere_is_finished_by_the_next(folder, template, kill):
    expected, steps = scores_of(folder, "other"), 0
    delete_study(folder.url, "tiny")
    left = files_of(folder)
    _reset(folder, template)
    count = sum(c.files for c in delete_study(folder.url, "tiny", dry_run=True).freed.values())
    while kill(steps + 1, lambda: delete_study(folder.url, "tiny")):
        steps += 1
        assert_same(scores_of(folder, "other"), expected)
        tiny = [study for study in list_studies(folder.url) if study.name == "tiny"]
        assert all(study.state != StudyState.UNREADABLE for study in tiny)
        delete_study(folder.url, "tiny")
        assert files_of(folder) == left, steps
        _reset(folder, template)
        steps += 7 if steps < count - 20 else 0  # the first steps are all alike
    assert steps >= count


@pytest.mark.usefixtures("bucket")
def test_copies_of_an_object_store_go_with_the_study(bucket, template, tmp_path, monkeypatch):
    monkeypatch.setenv("OLFACTION_CACHE", str(tmp_path / "copies"))
    storage = Storage(f"{bucket}/{tmp_path.name}")
    for file in filter(Path.is_file, (template / "tiny").rglob("*")):
        storage.write(file.relative_to(template).as_posix(), file.read_bytes())
    report = local_folder(storage.subfolder("tiny")) / "report"
    report.mkdir(parents=True)
    (report / "report.html").write_text("", encoding="utf-8")
    delete_study(storage.url, "tiny", keep_shared=True)
    assert not report.exists()


# The command line


@pytest.fixture
def pages(folder, tiny, spec_of, run_study):
    """The storage with tracking pages of the study ``tiny``."""
    done = run_study("sync", "tiny", "--storage", folder.url)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def test_commands_say_what_becomes_of_the_pages(pages, run_study):
    place = ("--storage", pages.url)
    uri = f"sqlite:///{pages.address}/mlflow.db"
    remove = f"MLFLOW_TRACKING_URI={uri} mlflow experiments delete --experiment-id 1"
    assert remove in run_study("delete", "tiny", "--dry-run", *place).stdout
    done = run_study("rename", "tiny", "new", *place)
    assert (done.returncode, done.stderr) == (0, "")
    assert "write `name: new` into your study file" in done.stdout
    assert f"`study sync new --storage {pages.url}` writes pages of the new name" in done.stdout
    assert remove in done.stdout
    shown = json.loads(run_study("show", "new", *place, "--format", "json").stdout)
    assert shown["places"]["tracking"] == uri
    assert shown["overview"]["state"] == "complete"
    assert shown["files"]["results"]["files"] == 10


def test_the_table_and_the_json_of_a_list_agree(folder, command):
    code, out = command("list", "--storage", folder.url)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["study", "state", "trials", "data", "set", "last", "run", "(UTC)"]
    assert "tiny   complete  10/10   simulated (120 x 6)" in lines[3]
    assert max(map(len, lines)) <= 80
    code, out = command("list", "--storage", folder.url, "--format", "json")
    assert [(study["name"], study["finished"]) for study in json.loads(out)] == [
        ("other", 4),
        ("tiny", 10),
    ]
    assert command("list", "--storage", f"{folder.url}/none") == (
        0,
        f"no study has been launched in {folder.url}/none\n",
    )


def test_a_study_is_shown_by_its_file(folder, command, tiny, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(tiny), encoding="utf-8")
    code, out = command("show", file, "--storage", folder.url)
    assert code == 0
    assert "state        complete, 10 of 10 trials" in out
    assert "5 arms\n  counts / single / 1\n" in out
    assert f"file         {folder.subfolder('tiny').path(NAME)}" in out


def test_a_script_deletes_with_yes(folder, command):
    code, out = command("delete", "tiny", "--storage", folder.url)
    assert (code, out) == (
        2,
        "error: study delete asks on a terminal; give --yes to delete without asking\n",
    )
    code, out = command("delete", "tiny", "--storage", folder.url, "--dry-run")
    assert code == 0
    assert "kept, in use by other" in out
    assert scores_of(folder, "tiny")[1] == 0
    code, out = command("delete", "tiny", "--storage", folder.url, "--yes")
    assert code == 0
    assert "'tiny' is deleted: " in out
    assert [study.name for study in list_studies(folder.url)] == ["other"]


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("y", 0)])
def test_a_terminal_is_asked(folder, answer, code, monkeypatch):
    from typer.testing import CliRunner

    from study.cli import manage
    from study.cli.app import app

    monkeypatch.setattr(manage, "is_terminal", lambda: True)
    done = CliRunner().invoke(app, ["delete", "tiny", "--storage", folder.url], input=f"{answer}\n")
    assert done.exit_code == code
    assert "Delete it? [y/N]" in done.output
    assert ("nothing was removed" in done.output) is (answer == "n")
    assert len(list_studies(folder.url)) == (2 if answer == "n" else 1)
