"""Commands that check or plan a study start quickly: nothing heavy is imported for them."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

LIGHT = """
import sys
import study.cli.app, study.planning.plan, study.results.ledger, study.reporting.tables
from study.config.loading import read_study
from study.pretraining.config import read_pretraining
from study.preview.text import format_plan
format_plan(read_study("quickstart"))
read_pretraining("graph_contrastive")
heavy = {"torch", "torch_geometric", "ray", "mlflow", "rdkit", "transformers", "mordred", "sklearn"}
print(sorted(heavy & set(sys.modules)))
"""


def test_checking_and_planning_import_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-c", LIGHT], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout == "[]\n"
