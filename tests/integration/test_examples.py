"""The examples run as they are shipped."""

import shutil
from pathlib import Path

import nbclient
import nbformat
import pytest

from study.config.loading import read_study
from study.data import build_dataset

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A copy of the examples as the working directory."""
    shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.filterwarnings("ignore::DeprecationWarning:jupyter_client")
def test_the_notebook_runs_and_shows_tables_and_figures(here, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES.parent))
    notebook = nbformat.read(here / "python_api.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # shipped without outputs
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    kinds = [kind for out in outputs for kind in out.get("data", {})]
    assert kinds.count("image/png") == 2
    assert kinds.count("text/html") >= 4
    assert "30 of 30 trials finished, 0 failed" in str(outputs)
    assert (here / "report" / "report.html").is_file()


def test_the_study_of_an_own_table_is_complete(here):
    spec = read_study("own_table.yaml")
    dataset = build_dataset(spec.data)
    assert dataset.labels.shape == (338, 10)
