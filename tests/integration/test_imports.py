"""What starts often starts quickly: nothing heavy is imported before it is needed."""

import subprocess
import sys
from pathlib import Path

import pytest
from modality_words import WORDS, needed_options
from pretraining_words import OBJECTIVES as OBJECTIVE_WORDS

EXAMPLE = Path(__file__).parents[2] / "examples" / "my_modality"
HEAVY = {
    *("torch", "torch_geometric", "ray", "mlflow", "rdkit", "transformers", "mordred", "sklearn"),
    *("matplotlib", "statsmodels", "jinja2", "pooch"),
}
PANDAS = {"pandas"}

COMMANDS = """
import study.cli.app, study.planning.plan, study.results.ledger, study.reporting.tables
from study.config.loading import read_study
from study.pretraining.config import read_pretraining
from study.preview.text import format_plan
format_plan(read_study("quickstart"))
read_pretraining("graph_contrastive")
"""
PLUGIN = f"""
from pathlib import Path
from study.config.loading import read_study
from study.preview.text import format_plan
folder = Path({str(EXAMPLE)!r})
plugins = f"plugins=[{{folder / 'my_modality.py'}}]"
format_plan(read_study(str(folder / "composition.yaml"), [plugins]))
"""
REPORT = "import study.reporting.build, study.reporting.output, study.cli.analysis"
COMPONENTS = """
from study.plugins.registry import FAMILIES, Registry
for family in FAMILIES:
    for word in Registry(family).names():
        Registry(family).check(word, {"no_such_option": 1})
"""
RECIPE = """
from study.data import DatasetConfig
from study.plugins.registry import Registry
DatasetConfig.model_validate("gs-lf-ifra")
[Registry("source").load(word) for word in Registry("source").names()]
"""
SCHEMES = """
import study.splits
assert [*study.splits.SCHEMES] == ["molecule", "constitution", "butina", "murcko"]
"""
FUSION = """
import fusion, fusion.partitions.affinity, fusion.partitions.random_per_batch
fusion.HeadShape(); fusion.partitions.affinity.Affinity()
"""
OBJECTIVES = f"""
from importlib import import_module
for word in {OBJECTIVE_WORDS!r}:
    import_module("modalities.pretraining." + word)
"""
MODALITIES = f"""
from importlib import import_module
for word in {WORDS!r}:
    import_module("modalities." + word)
"""
FEATURES = f"""
from importlib import import_module
options = { {word: needed_options(word) for word in WORDS}!r}
for word in options:
    name = "".join(part.capitalize() for part in word.split("_"))
    getattr(import_module("modalities." + word), name)(**options[word]).featurize("CCO")
"""
SUBMISSION = "import study.submission.ray_jobs"
CASES = {
    "commands": (COMMANDS, HEAVY),
    "plugin": (PLUGIN, HEAVY),
    "report": (REPORT, HEAVY),
    "components": (COMPONENTS, HEAVY | PANDAS),
    "recipe": (RECIPE, HEAVY | PANDAS),
    "schemes": (SCHEMES, HEAVY),
    "fusion": (FUSION, HEAVY),
    "objectives": (OBJECTIVES, HEAVY),
    "modalities": (MODALITIES, HEAVY),
    "features": (FEATURES, {"torch"}),
    "submission": (SUBMISSION, HEAVY),
}


@pytest.mark.parametrize("name", CASES)
def test_nothing_heavy_is_imported(name):
    """Each in a process of its own."""
    program, heavy = CASES[name]
    tell = f"import sys\nprint(sorted({heavy!r} & set(sys.modules)))"
    command = [sys.executable, "-c", f"{program}\n{tell}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.stderr, done.stdout) == ("", "[]\n")
