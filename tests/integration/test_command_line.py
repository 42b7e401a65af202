"""The command line: exit codes, named errors without a traceback, nothing half-written."""

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from study.cli.app import app, main
from study.errors import TrialError
from study.executors.logs import VARIABLE
from study.training import trial as trial_module

CLEAN = ["--no-ray", "--no-mlflow"]


@pytest.fixture
def study(monkeypatch, capsys):
    """Run the command as the shell would: -> exit code, output, errors."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["study", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return (stop.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def write(tmp_path, tiny):
    """Write a study file with these sections; its storage is below the test's folder."""

    def make(**sections):
        path = tmp_path / "study.yaml"
        place = {"run": {"storage": str(tmp_path / "out")}}
        path.write_text(yaml.safe_dump({**tiny, **place, **sections}))
        return path

    return make


@pytest.fixture
def table(tmp_path):
    """Write a csv table and return the data section that reads it."""

    def make(text):
        path = tmp_path / "table.csv"
        path.write_text(text)
        source = {"source": "csv", "file": str(path)}
        return {"sources": [source], "vocabulary": "union", "unlabelled": "keep"}

    return make


def test_every_command_takes_the_option_for_logs():
    groups = [app, *(group.typer_instance for group in app.registered_groups)]
    commands = [command for group in groups for command in group.registered_commands]
    assert len(commands) > 12
    for command in commands:
        assert "verbose" in inspect.signature(command.callback).parameters


@pytest.mark.parametrize(("option", "levels"), [("-v", {"INFO"}), ("-vv", {"INFO", "DEBUG"})])
def test_logs_go_to_standard_error_and_leave_the_output_alone(option, levels, write, monkeypatch):
    """In a process of its own: loggers and their level are a process's."""
    monkeypatch.delenv(VARIABLE, raising=False)
    start = [sys.executable, "-m", "study"]
    file = str(write())
    outputs = {}
    for name, options in (("quiet", []), ("loud", [option])):
        command = [*start, "launch", file, *CLEAN, *options]
        if name == "loud":
            command += ["--storage", str(Path(file).parent / "other")]
        outputs[name] = subprocess.run(command, capture_output=True, text=True, check=True)
    quiet, loud = outputs["quiet"], outputs["loud"]
    assert quiet.stderr == ""
    logged = re.findall(
        r"^[-\d]+ [\d:,]+ (INFO|DEBUG) study(?:\.\w+)+: ", loud.stderr, re.MULTILINE
    )
    assert set(logged) == levels
    assert "to run: " in loud.stderr
    assert _table(loud.stdout) == _table(quiet.stdout)


def _table(output):
    return [line for line in output.splitlines() if " AUROC" in line or line.startswith("tiny:")]


def rows(labels, n=12):
    return "".join(f"{'C' * (i + 1)}O,{labels(i)}\n" for i in range(n))


def test_a_launch_and_a_comparison_end_with_0(study, write, tmp_path):
    code, out, err = study("launch", write(), *CLEAN)
    assert (code, err) == (0, "")
    assert "tiny: 120 molecules x 6 labels" in out
    assert f"results: {tmp_path / 'out' / 'ledger'}" in out
    code, again, _ = study("launch", write(), *CLEAN)
    assert code == 0
    assert "10 trials, 10 already in the ledger" in again
    code, text, _ = study("compare", "tiny", "--storage", tmp_path / "out", "--format", "json")
    assert code == 0
    found = json.loads(text)
    assert len(found) == 5
    assert all(row["trials"] == "2/2" for row in found)
    assert {row["features"] for row in found} == {"counts", "characters", "counts+characters"}
    for kind, start in (("csv", "features,"), ("md", "| features "), ("table", "features ")):
        code, text, _ = study("compare", write(), "--storage", tmp_path / "out", "--format", kind)
        assert (code, text.startswith(start)) == (0, True)
    code, text, _ = study(
        "compare", "tiny", "tiny", "--storage", tmp_path / "out", "--format", "csv"
    )
    assert (code, text.count("\n"), text.startswith("study,features,")) == (0, 11, True)


def test_a_failing_trial_ends_with_3_and_is_named(study, write, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise TrialError("the training loss became nan in epoch 3")

    monkeypatch.setattr(trial_module, "fit", broken)
    file = write(grid=[{"features": [["counts"]]}])
    code, out, _ = study("launch", file, *CLEAN)
    assert code == 3
    cause = "the training loss became nan in epoch 3"
    assert (
        f"failed: 2 trials, the first counts / single / 1 / repeat 0 fold 0 seed 0: {cause}" in out
    )
    assert "2 trials are missing; run the same command again to run them" in out
    code, _, err = study("compare", "tiny", "--storage", tmp_path / "out")
    assert (code, err) == (
        2,
        "error: study 'tiny' has no finished trial yet; `study launch` runs it\n",
    )


@pytest.mark.parametrize(
    ("sections", "text", "message"),
    [
        (
            {},
            "smiles,sweet\nCCO,1\nC1CC,0\n",
            "table.csv row 3",
        ),
        ({}, "smiles,sweet,sour\n" + rows(lambda i: f"{i % 2},0"), "sour"),
        (
            {"split": {"folds": 5, "min_positives": 5}},
            "smiles,sweet\n" + rows(lambda i: int(i < 6)),
            "sweet",
        ),
        ({"data": {"preset": "gs-lf-ifra", "archive": "/nowhere"}}, None, "/nowhere lacks goodsc"),
        (
            {"modalities": {"graph": {"weights": "NO_FILE", "sha256": "0" * 64}}},
            "smiles,sweet\n" + rows(lambda i: i % 2),
            "modality 'graph': ",
        ),
        (
            {"modalities": {"graph": {"weights": __file__, "sha256": "0" * 64}}},
            "smiles,sweet\n" + rows(lambda i: i % 2),
            f"not {'0' * 64}",
        ),
        (
            {"modalities": {"graph": {"modality": "fingerprint", "size": -1}}},
            "smiles,sweet\n" + rows(lambda i: i % 2),
            "modality 'graph': ",
        ),
        (
            {"grid": [{"features": [["graph", "mordred"]], "fusion": ["con"]}]},
            None,
            "fusion operator 'con'",
        ),
        (
            {"grid": [{"features": [["graph", "mordred"]], "partition": ["density"]}]},
            None,
            "needs the technique 'label_balancer'",
        ),
        ({"run": {"storage": "/proc/none"}}, None, "/proc/none"),
    ],
)
def test_bad_input_is_named_ends_with_2_and_writes_no_study(
    sections, text, message, study, write, table, tmp_path
):
    if text is not None:
        sections = {"data": table(text), "grid": [{"features": [["graph"]]}], **sections}
    code, _, err = study("launch", write(**sections), *CLEAN)
    assert code == 2
    assert err.startswith("error: ")
    assert message in err
    assert "Traceback" not in err
    written = {path.name for path in (tmp_path / "out").glob("*")}
    assert written <= {"cache"}


def test_a_storage_below_a_file_is_named(study, write, tmp_path):
    (tmp_path / "file").write_text("x")
    code, _, err = study("launch", write(), *CLEAN, "--storage", tmp_path / "file" / "below")
    assert code == 2
    assert str(tmp_path / "file" / "below") in err


def test_a_study_whose_folder_is_a_file_is_named(study, write, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "tiny").write_text("x")
    code, _, err = study("launch", write(), *CLEAN)
    assert code == 2
    assert "out/tiny' cannot be written" in err
    assert not (tmp_path / "out" / "ledger").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "no_such_file"], "neither a study file nor a preset; presets: "),
        (["plan", "quickstart", "--set", "training.epoch=3"], "did you mean 'epochs'"),
        (["compare", "no_such_study"], "holds no study: launch it first, or pass --storage"),
        (["compare", "x", "--format", "pdf"], "'pdf' is not one of"),
        (["no_such_command"], "No such command"),
    ],
)
def test_wrong_commands_end_with_2(arguments, message, study):
    code, _, err = study(*arguments)
    assert code == 2
    assert message in " ".join(err.split())


def test_an_interrupted_launch_ends_with_130(study, write, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(trial_module, "fit", interrupted)
    code, _, err = study("launch", write(), *CLEAN)
    assert code == 130
    assert "interrupted: finished work is kept; run the same command again to continue" in err


def test_a_folder_named_by_a_number_is_text(study, write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = study("plan", write(), "--storage", "2024")
    assert (code, "cells     5 distinct arms" in out) == (0, True)


def test_audit_of_the_starter_table():
    result = CliRunner().invoke(app, ["data", "audit", "quickstart"])
    assert result.exit_code == 0
    for words in ("curation", "with the fewest positives", "constitution groups, digest"):
        assert words in result.stdout
    assert "fold 2 of repeat 0" in result.stdout


WITHOUT = """
import sys
sys.modules["ray"] = sys.modules["mlflow"] = None
sys.argv = ["study", "launch", sys.argv[1], "--no-ray", "--no-mlflow"]
from study.cli.app import main
main()
"""


def test_a_study_runs_where_ray_and_mlflow_cannot_be_imported(write):
    file = write(grid=[{"features": [["counts"], ["characters"]]}])
    command = [sys.executable, "-c", WITHOUT, str(file)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "characters" in done.stdout
