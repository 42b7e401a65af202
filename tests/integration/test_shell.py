"""The command line in a shell: completion, versions, and a help text for a narrow terminal."""

import importlib.metadata
import os
import shutil
import subprocess
import sys

import pytest

PROGRAM = """#!{python}
import sys
from study.cli.app import main
sys.argv[0] = "study"
main()
"""


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """A home folder, and a program ``study`` on the path."""
    program = tmp_path / "bin" / "study"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(python=sys.executable), encoding="utf-8")
    program.chmod(0o755)
    path = os.pathsep.join([str(program.parent), os.environ["PATH"]])
    source = os.pathsep.join(sys.path)
    return {
        **os.environ,
        "PATH": path,
        "HOME": str(tmp_path),
        "PYTHONPATH": source,
        "COLUMNS": "80",
    }


COMPLETE = """
. "$HOME/.bashrc"
COMP_WORDS=({words}) COMP_CWORD={last}
$(complete -p study | sed 's/.*-F \\([^ ]*\\).*/\\1/') study
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_presets_and_studies(environment, tmp_path):
    install = ["bash", "--norc", "-c", "study --install-completion; true"]  # asks what shell it is
    done = subprocess.run(install, env=environment, capture_output=True, text=True, check=False)
    assert "bash completion installed" in done.stdout, done.stderr
    (tmp_path / "studies" / "mine").mkdir(parents=True)
    (tmp_path / "studies" / "mine" / "study.json").write_text("{}", encoding="utf-8")

    def complete(*words):
        script = COMPLETE.format(words=" ".join(["study", *words]), last=len(words))
        done = subprocess.run(
            ["bash", "--norc", "-c", script],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()

    assert complete("la") == ["launch"]
    assert complete("launch", "qui") == ["quickstart"]
    assert complete("pretrain", "graph") == ["graph_contrastive"]
    assert complete("compare", "mi") == complete("status", "mi") == ["mine"]


def test_versions_are_printed_without_imports(environment):
    check = (
        "import sys; sys.argv = ['study', '--version']\n"
        "from study.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'ray', 'torch', 'rdkit', 'mlflow'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", check]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    names = ("olfaction-study", "ray", "torch", "rdkit", "mlflow")
    versions = [f"{name} {importlib.metadata.version(name)}" for name in names]
    assert done.stdout.splitlines() == [*versions, "[]"]


def test_the_help_fits_80_columns(environment):
    done = subprocess.run(
        ["study", "--help"], env=environment, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    for panel in ("Run", "Read results", "Manage studies", "Encoders", "Files and data"):
        assert any(line.startswith(f"╭─ {panel} ─") for line in lines), panel
    assert not any("..." in line for line in lines if line.startswith("│"))
