"""The floors of the house: who may import what, and that nothing circles."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("study", "modalities", "fusion")
FILES = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]


def module_of(file):
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): file for file in FILES}


def imports(nodes):
    """Every module that these nodes import: ``from a import b`` gives a and a.b."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def roots(file):
    """Names of the packages a file imports anywhere, also inside functions."""
    return {name.split(".")[0] for name in imports(ast.walk(ast.parse(file.read_text())))}


@pytest.mark.parametrize(
    ("library", "place"), [("ray", "study.cluster"), ("mlflow", "study.tracking")]
)
def test_a_platform_library_is_imported_in_one_file(library, place):
    assert [name for name, file in MODULES.items() if library in roots(file)] == [place]


@pytest.mark.parametrize(
    ("package", "others"),
    [("modalities", {"fusion", "study"}), ("fusion", {"modalities", "study", "rdkit"})],
)
def test_the_lower_packages_know_nothing_of_the_others(package, others):
    files = {name: file for name, file in MODULES.items() if name.split(".")[0] == package}
    assert len(files) > 5
    assert {
        name: roots(file) & others for name, file in files.items() if roots(file) & others
    } == {}


def test_torch_stays_in_fusion_encoders_and_training():
    names = "branches checkpoints course heads holding loop numerics ranks steps training trial"
    names += " worker embed pretraining.course pretraining.work search.alone"
    names += " quick_adamw stacked stacked_auroc stacked_batched stacked_inputs stacked_members"
    allowed = {f"study.{name}" for name in names.split()}
    users = {name for name, file in MODULES.items() if "torch" in roots(file)}
    assert {name for name in users if name.startswith("study")} <= allowed


def needed_at_import(file):
    """Modules of the project that a file needs while it is imported."""
    top = ast.parse(file.read_text()).body
    own = module_of(file)
    names = imports(top) & MODULES.keys() - {own}
    return {name for name in names if not own.startswith(f"{name}.")}  # not its own packages


def test_no_imports_circle():
    graph = {name: needed_at_import(file) for name, file in MODULES.items()}
    assert len(list(TopologicalSorter(graph).static_order())) == len(MODULES)


LIGHT = """
import sys
import study.choices, study.spec, study.words, study.options, study.reading, study.cells
import study.plan, study.estimate, study.result, study.metrics, study.ledger, study.storage
import study.analysis.summary, study.report.table, study.cli
study.estimate.plan_text(study.reading.read_study("quickstart"))
import study.pretraining.spec
study.pretraining.spec.read_pretraining("graph_contrastive")
heavy = {"torch", "torch_geometric", "ray", "mlflow", "rdkit", "transformers", "mordred", "sklearn"}
print(sorted(heavy & set(sys.modules)))
"""


def test_checking_and_planning_import_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-c", LIGHT], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout == "[]\n"
