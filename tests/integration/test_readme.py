"""The README does what it says, and the examples of the docs run: commands, table, extensions."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import study

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXTENDING = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ (.+)$", README, re.MULTILINE)
LONGEST = 150


def block(opening: str) -> str:
    """The fenced block that begins with this line."""
    found = re.search(rf"```\w+\n({re.escape(opening)}.*?)```", README, re.DOTALL)
    assert found, opening
    return found[1]


def test_it_is_short():
    assert len(README.splitlines()) <= LONGEST


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_run(command, quickstart, study_command, quickstart_store):
    words = shlex.split(command)
    assert words[0] == "study"
    done = subprocess.run(
        [*study_command, *words[1:]],
        cwd=quickstart_store.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


def test_its_table_is_the_one_that_is_printed(quickstart_rows):
    shown = [line.split() for line in block("quickstart: 726").splitlines()]
    arms = {(line[0], line[1]): line for line in shown if len(line) > 10 and line[-1] == "3/3"}
    assert len(arms) == len(quickstart_rows)
    for row in quickstart_rows:
        auroc = float(arms[row["features"], row["technique"]][5])
        assert auroc == pytest.approx(float(row["auroc"]), abs=0.02), row


def test_its_study_file_launches(quickstart, quickstart_store, study_command):
    folder = quickstart_store.parent
    (folder / "mine.yaml").write_text(block("name: mine"), encoding="utf-8")
    done = subprocess.run(
        [*study_command, "launch", "mine.yaml", "--no-ray", "--no-mlflow"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    finished = re.search(r"(\d+) trials, (\d+) already in the ledger", done.stdout)
    assert finished
    assert 0 < int(finished[2]) < int(finished[1])  # those of the quickstart
    assert len(re.findall(r" 3/3$", done.stdout, re.MULTILINE)) == int(finished[1]) / 3


@pytest.mark.skipif(not hasattr(study, "load_snapshot"), reason="this version has no Python API")
def test_its_python_runs(quickstart, quickstart_store):
    source = block("import study")
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=quickstart_store.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "mordred" in done.stdout


def test_extensions_of_the_docs_run(tmp_path):
    written = re.findall(r"```python\n(# (\w+\.py)\n.*?)```", EXTENDING, re.DOTALL)
    assert len(written) == 4
    for source, name in written:
        (tmp_path / name).write_text(source, encoding="utf-8")
    plugins = ", ".join(f"./{name}" for _, name in written)
    (tmp_path / "mine.yaml").write_text(
        f"{{name: mine, plugins: [{plugins}], data: starter, split: {{folds: 2}},"
        " training: {epochs: 2, hidden: [8]},"
        " modalities: {attention_graph: {width: 8, layers: 1, training: {epochs: 1}}},"
        " grid: [{features: [[composition]]}, {features: [[attention_graph, composition]],"
        " technique: [mlp_head, label_balancer], fusion: [gated], partition: [rare_first]}]}",
        encoding="utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "study", "launch", "mine.yaml", "--no-ray", "--no-mlflow"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    for arm in ("composition +single", "mlp_head +gated", "label_balancer +- +rare_first"):
        assert re.search(arm, done.stdout), arm
