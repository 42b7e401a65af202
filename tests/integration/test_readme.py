"""The README does what it says: its commands, its table, its example of a new modality."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ (.+)$", README, re.MULTILINE)


def block(opening: str) -> str:
    """The fenced block that begins with this line."""
    found = re.search(rf"```\w+\n({re.escape(opening)}.*?)```", README, re.DOTALL)
    assert found, opening
    return found[1]


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
    shown = [line.split() for line in block("30 trials").splitlines()]
    arms = {(line[0], line[1]): line for line in shown if len(line) > 10 and line[-1] == "3/3"}
    assert len(arms) == len(quickstart_rows)
    for row in quickstart_rows:
        auroc = float(arms[row["features"], row["technique"]][5])
        assert auroc == pytest.approx(float(row["auroc"]), abs=0.02), row


def test_every_benchmark_is_run_by_make_and_named():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    listed = re.search(r"^BENCHES \?= ([\w ]+)$", makefile, re.MULTILINE)
    assert listed is not None
    files = {file.stem for file in (ROOT / "tests" / "benchmarks").glob("bench_*.py")}
    assert {f"bench_{name}" for name in listed[1].split()} == files
    part = README[README.index("## Benchmarks") : README.index("## Limits")]
    assert {f"bench_{name}" for name in re.findall(r"\(`(\w+)`[,)]", part)} <= files


def test_its_files_exist():
    for path in re.findall(r"`((?:tests|fusion|study)/[\w/.]+)`", README):
        assert (ROOT / path).exists(), path


def test_its_modality_is_complete(tmp_path):
    for package in ("study", "modalities", "fusion"):
        shutil.copytree(ROOT / package, tmp_path / package)
    source = block("# modalities/composition.py")
    (tmp_path / "modalities" / "composition.py").write_text(source, encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(
        "{name: mine, data: starter, split: {folds: 2}, training: {epochs: 2, hidden: [8]},"
        " grid: [{features: [[composition]]}]}",
        encoding="utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "study", "launch", "mine.yaml", "--no-ray", "--no-mlflow"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"composition +single", done.stdout)
