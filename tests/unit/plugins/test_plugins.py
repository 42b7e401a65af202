"""Components from outside: where they are found, who may claim a name, what their version says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap

import pytest

from study.config.loading import check_study, read_study
from study.data import DatasetConfig
from study.data.cache import entry_key
from study.errors import InputError, PluginError
from study.executors.base import Task
from study.executors.worker_group import attempt_serialized_task, serialize_task
from study.plugins import catalog
from study.plugins.loading import (
    load_plugins,
    load_sent_plugins,
    load_stored_plugins,
    refuse_session_components,
    serialize_plugins,
    to_component_name,
)
from study.plugins.registry import Registry, register
from study.pretraining.config import read_pretraining
from study.pretraining.workspace import build_component

MODALITY = """
from __future__ import annotations
from typing import TYPE_CHECKING, Literal
import numpy as np
from modalities import featurizer_version, parse_smiles
if TYPE_CHECKING:
    from modalities import DescriptorScaler

class Atoms:
    letter, trainable, fitted = "A", False, True

    def __init__(self, *, power: int = 1, bonds: Literal["yes", "no"] = "no") -> None:
        self.power = power

    @property
    def version(self) -> str:
        return featurizer_version("atoms", 1, "rdkit", power=self.power)

    def featurize(self, smiles: str):
        mol = parse_smiles(smiles)
        return {"values": np.array([[mol.GetNumAtoms(), 1.0]], dtype=np.float32) ** self.power}

    def encoder(self, *, seed: int) -> DescriptorScaler:
        from modalities import DescriptorScaler
        return DescriptorScaler(max_missing=0.2, max_value=1e6, clip=5.0)
"""
PARTITION = """
from fusion.partitions import LabelPartition
import numpy as np
class EveryOther:
    per_batch = needs_inner_scores = False
    def build(self, context):
        return LabelPartition(context.modalities, np.arange(context.n_labels) % context.k)
"""


@pytest.fixture(autouse=True)
def _no_plugins(monkeypatch, tmp_path):
    """Each test begins without plug-ins, in a folder of its own."""
    for name in ("_claims", "_plugins", "_broken"):
        monkeypatch.setattr(catalog, name, {})
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def atoms(tmp_path):
    """The file of a modality, in the working folder."""
    return write(tmp_path / "atoms.py", MODALITY)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def study_file(plugins, **keys):
    grid = [{"features": [["atoms"]]}]
    return {"name": "s", "data": "starter", "grid": grid, "plugins": plugins, **keys}


def test_file_of_a_study_adds_its_modality(atoms):
    spec = check_study(study_file(["./atoms.py"]), "s.yaml")
    config = spec.modality("atoms")
    assert dict(config.options) == {"power": 1, "bonds": "no"}
    assert not config.trainable
    assert spec.plugins == ("./atoms.py",)


def test_wrong_option_of_a_plugin_names_the_allowed(atoms):
    wrong = {"atoms": {"power": "x"}}
    with pytest.raises(InputError, match="atoms: option 'power' cannot be 'x'; allowed: int"):
        check_study(study_file(["./atoms.py"], modalities=wrong), "s.yaml")


def test_paths_start_beside_the_study_file(tmp_path, monkeypatch):
    write(tmp_path / "there" / "atoms.py", MODALITY)
    write(tmp_path / "there" / "s.yaml", json.dumps(study_file(["atoms.py"])))
    assert read_study("there/s.yaml").modality("atoms").name == "atoms"


def test_file_may_register_under_other_names(tmp_path):
    text = MODALITY + "\nimport study.plugins.registry as r\nr.register('modality', 'a1', Atoms)\n"
    write(tmp_path / "atoms.py", text)
    load_plugins(["./atoms.py"])
    assert "a1" in Registry("modality").names()
    assert "atoms" not in Registry("modality").names()


def test_module_on_the_path_adds_its_components(tmp_path, monkeypatch):
    write(tmp_path / "lib" / "two_parts_here" / "__init__.py", "")
    write(tmp_path / "lib" / "two_parts_here" / "inner.py", MODALITY + PARTITION)
    monkeypatch.syspath_prepend(tmp_path / "lib")
    load_plugins(["two_parts_here.inner"])
    assert Registry("modality").load("atoms")().letter == "A"
    assert Registry("partition").load("every_other").per_batch is False
    assert Registry("partition").version("every_other").startswith("two_parts_here.inner ")


@pytest.mark.parametrize(
    ("reference", "text", "message"),
    [
        ("./absent.py", None, r"'./absent.py' is not a file; looked for .*/absent.py; a path"),
        ("no_such.module", None, r"no module 'no_such'; looked for in '.*'; install its package"),
        ("not a module", None, "must be the name of a module"),
        ("./x.py", "1/0", r"'./x.py' \(.*x.py\) cannot be imported: ZeroDivisionError"),
        ("./x.py", "def", "cannot be imported: SyntaxError"),
        ("./x.py", "import no_such", "No module named 'no_such'; what it imports must be instal"),
        ("./x.py", "class Thing: pass", r"has no component; .*modality: letter, trainable"),
        ("./x.py", MODALITY.replace("int = 1", "list[int] = 1"), "option 'power' must be annot"),
        ("./x.py", MODALITY.replace("int = 1", "int = None"), "have a default of that type"),
    ],
)
def test_unusable_plugins_are_refused_by_name(reference, text, message, tmp_path):
    if text is not None:
        write(tmp_path / "x.py", text)
    with pytest.raises(InputError, match=message):
        load_plugins([reference])
    assert serialize_plugins() == []


def test_missing_file_names_both_places(tmp_path):
    (tmp_path / "there").mkdir()
    write(tmp_path / "there" / "s.yaml", json.dumps(study_file(["./a.py"])))
    with pytest.raises(InputError, match=r"plugins: .*looked for .*/there/a.py and .*/a.py;"):
        read_study("there/s.yaml")


def test_name_of_a_built_in_component_is_refused(tmp_path):
    write(tmp_path / "x.py", MODALITY.replace("class Atoms", "class Graph"))
    expected = "'graph' is claimed by modalities/graph.py of this program and by .*x.py; rename"
    with pytest.raises(InputError, match=expected):
        load_plugins(["./x.py"])
    assert Registry("modality").version("graph") == ""


def test_two_files_cannot_claim_one_name(atoms, tmp_path):
    write(tmp_path / "other.py", MODALITY + "\n")
    with pytest.raises(InputError, match=r"'atoms' is claimed by .*atoms.py and by .*other.py;"):
        load_plugins(["./atoms.py", "./other.py"])


def test_two_files_of_one_name_are_refused(atoms, tmp_path):
    write(tmp_path / "sub" / "atoms.py", PARTITION)
    with pytest.raises(InputError, match=r"two plug-ins are named 'atoms.py': .* and .*sub"):
        load_plugins(["./atoms.py", "sub/atoms.py"])


def test_the_same_file_is_loaded_once(atoms, tmp_path):
    load_plugins(["./atoms.py"])
    first = Registry("modality").load("atoms")
    load_plugins(["atoms.py", str(atoms)])
    assert Registry("modality").load("atoms") is first
    assert len(serialize_plugins()) == 1


def test_changed_file_is_another_version(atoms):
    load_plugins(["./atoms.py"])
    before = Registry("modality").load("atoms")().version
    write(atoms, MODALITY.replace('"atoms", 1', '"atoms",  1'))
    load_plugins(["./atoms.py"])
    after = Registry("modality").load("atoms")().version
    assert before != after
    assert before.startswith("atoms 1 (rdkit ")
    assert before.endswith(f", {before.rpartition(', ')[2]}")
    assert "power=1, atoms.py " in before


def test_registered_class_is_found_and_replaced():
    def make(power):
        namespace = {"__name__": "__main__"}
        exec(MODALITY.replace("int = 1", f"int = {power}"), namespace)  # noqa: S102 (a cell)
        return namespace["Atoms"]

    first = make(1)
    register("modality", "atoms", first)
    register("modality", "atoms", first)  # the same cell again
    before = Registry("modality").load("atoms")().version
    register("modality", "atoms", make(2))  # edited and run again
    assert Registry("modality").complete("atoms", {})["power"] == 2
    assert Registry("modality").load("atoms")().version != before


def test_registered_class_cannot_take_a_claimed_name(atoms):
    class Atoms(Registry("modality").load("fingerprint")):
        pass

    load_plugins(["./atoms.py"])
    with pytest.raises(InputError, match=r"'atoms' is claimed by .*atoms.py and by .*registered"):
        register("modality", "atoms", Atoms)
    assert Registry("modality").load("atoms")().letter == "A"


def test_registered_class_must_have_its_members():
    with pytest.raises(InputError, match="is no partition: it lacks needs_inner_scores, build"):
        register("partition", "mine", type("Mine", (), {"per_batch": False}))


def test_registered_class_is_refused_for_other_processes():
    kind = type("Mine", (Registry("modality").load("fingerprint"),), {})
    register("modality", "mine", kind)
    refuse_session_components([("modality", "graph")])
    with pytest.raises(InputError, match=r"the modality 'mine' was registered in this process"):
        refuse_session_components([("modality", "mine"), ("modality", "graph")])
    assert serialize_plugins() == []


def test_worker_loads_the_text_of_a_file(atoms, monkeypatch):
    load_plugins(["./atoms.py"])
    version = Registry("modality").load("atoms")().version
    sent = json.dumps(serialize_plugins())
    atoms.unlink()  # another machine does not have it
    for name in ("_claims", "_plugins"):
        monkeypatch.setattr(catalog, name, {})
    load_sent_plugins(json.loads(sent))
    assert Registry("modality").load("atoms")().version == version


def test_task_brings_its_plugins_to_another_process(atoms):
    load_plugins(["./atoms.py"])
    choice = check_study(study_file(["./atoms.py"]), "s").modality("atoms").model_dump(mode="json")
    store = str(atoms.parent / "store")
    payload = {"store": store, "choice": choice, "bucket": 0, "smiles": ["CCO"]}
    task = serialize_task(Task("t", "study.training.tasks:featurize", payload))
    atoms.unlink()
    program = (
        "import json, sys; from study.executors.worker_group import attempt_serialized_task;"
        "print(attempt_serialized_task(json.load(sys.stdin)).to_json())"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, input=json.dumps(task), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["value"] == {"made": 1}


def test_worker_without_the_module_fails_when_it_is_used():
    value = {
        "kind": "module",
        "reference": "no_such_here",
        "place": "p",
        "version": "no_such_here 1",
    }
    load_sent_plugins([{**value, "text": "", "components": [["modality", "atoms"]]}])
    assert Registry("modality").load("fingerprint")
    with pytest.raises(InputError, match=r"on the machine .*: plug-in 'no_such_here': there is no"):
        Registry("modality").load("atoms")


def test_worker_with_another_version_is_refused(tmp_path, monkeypatch):
    write(tmp_path / "lib" / "versioned_here.py", MODALITY)
    monkeypatch.syspath_prepend(tmp_path / "lib")
    load_plugins(["versioned_here"])
    (sent,) = serialize_plugins()
    load_sent_plugins([sent])
    assert Registry("modality").load("atoms")
    load_sent_plugins([{**sent, "version": "versioned_here 0123456789abcdef"}])
    with pytest.raises(InputError, match="uses the plug-in 'versioned_here 0123456789abcdef', and"):
        Registry("modality").load("atoms")


def test_task_with_an_unknown_component_names_it():
    task = {"id": "t", "work": "study.training.tasks:featurize", "payload": "{}", "plugins": "[]"}
    choice = {"word": "atoms", "options": {}}
    payload = json.dumps({"choice": choice, "store": "s", "bucket": 0, "smiles": []})
    assert "unknown modality 'atoms'" in attempt_serialized_task({**task, "payload": payload}).cause


def test_stored_study_loads_files_below_the_working_folder_only(atoms, tmp_path, monkeypatch):
    load_stored_plugins(["./atoms.py"], "s/study.json")
    assert "atoms" in Registry("modality").names()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    load_stored_plugins(["./atoms.py"], "s/study.json")  # this process has it already
    for reference in (str(tmp_path / "atoms.py"), "../atoms.py"):
        with pytest.raises(PluginError, match=r"study.json needs a plug-in: .*not below the work"):
            load_stored_plugins([reference], "s/study.json")


@pytest.mark.parametrize(
    ("class_name", "name"),
    [("Composition", "composition"), ("RandomPerBatch", "random_per_batch"), ("MyGNN", "my_gnn")],
)
def test_component_is_named_like_its_class(class_name, name):
    assert to_component_name(class_name) == name


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Name, version and entry points of a package -> the package is installed in a folder."""

    def install(name, version, entries, group="olfaction_study.modalities"):
        folder = tmp_path / "site"
        info = folder / f"{name}-{version}.dist-info"
        write(info / "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = "".join(f"{key} = {value}\n" for key, value in entries.items())
        write(info / "entry_points.txt", f"[{group}]\n{lines}")
        monkeypatch.syspath_prepend(folder)
        catalog.forget_entry_points()
        return folder

    yield install
    catalog.forget_entry_points()


def test_entry_point_adds_a_modality_with_its_version(install):
    folder = install("smells-here", "1.2", {"atoms": "smells_here:Atoms"})
    write(folder / "smells_here.py", MODALITY)
    assert "atoms" in Registry("modality").names()
    assert "smells_here" not in sys.modules  # a name costs no import
    version = Registry("modality").load("atoms")().version
    assert version.endswith(", power=1, smells-here 1.2)")
    (sent,) = serialize_plugins()
    load_sent_plugins([sent])
    load_sent_plugins([{**sent, "version": "smells-here 1.3"}])
    with pytest.raises(InputError, match=r"'smells-here 1.3', and this machine has 'smells-"):
        Registry("modality").load("atoms")


def test_two_packages_that_claim_a_name_are_both_named(install):
    install("one-here", "1", {"atoms": "one:Atoms"})
    install("two-here", "2", {"atoms": "two:Atoms", "graph": "two:Graph"})
    expected = "claimed by the package (one-here 1|two-here 2) .* and by the package (one|two)-here"
    with pytest.raises(InputError, match=expected):
        Registry("modality").parameters("atoms")
    with pytest.raises(InputError, match=r"graph.py of this program and by the package two-here 2"):
        Registry("modality").load("graph")
    assert Registry("modality").load("mordred")  # others are not concerned


def test_broken_package_is_named_when_it_is_used(install):
    install("broken-here", "1", {"atoms": "no_such_here:Atoms"})
    (mistake,) = Registry("modality").check("atoms", {})
    assert "the package broken-here 1 (atoms = no_such_here:Atoms) cannot be imported" in mistake


def test_pretraining_file_takes_an_objective_from_outside(tmp_path):
    text = "from modalities.pretraining.masked_descriptors import MaskedDescriptors\n"
    write(tmp_path / "mine.py", f"{text}class Mine(MaskedDescriptors): pass\n")
    write(tmp_path / "molecules.csv", "smiles\nCCO\n")
    content = {"name": "p", "plugins": ["./mine.py"], "objective": "mine"}
    content |= {"modality": "mordred_network", "molecules": {"file": "molecules.csv"}}
    write(tmp_path / "p.yaml", json.dumps(content))
    spec = read_pretraining("p.yaml")
    assert re.search(r"[ (]mine.py \w{16}\)$", build_component(spec.objective).version)


def test_table_of_a_changed_source_is_built_again(tmp_path):
    text = "from study.data.sources.starter import Starter\nclass Mine(Starter): pass\n"
    keys = []
    for more in ("", "# changed\n"):
        write(tmp_path / "mine.py", text + more)
        load_plugins(["./mine.py"])
        keys.append(entry_key(DatasetConfig.model_validate({"sources": ["mine"]})))
    assert keys[0] != keys[1]
