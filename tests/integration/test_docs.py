"""No command, option, key, preset, module or file that README or docs name is wrong."""

from __future__ import annotations

import ast
import importlib.util
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import typer.main
import yaml

from study.cli.app import app
from study.config.base import ValidationContext
from study.config.loading import check_file, check_study, preset_names
from study.config.study import StudySpec
from study.data import dataset_presets
from study.errors import InputError
from study.planning.contrasts import declare_contrasts
from study.planning.plan import make_plan
from study.plugins.registry import FAMILIES, Registry
from study.pretraining.config import PRESETS as PRETRAININGS
from study.pretraining.config import PretrainingSpec

ROOT = Path(__file__).parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
        *sorted((ROOT / "docs").glob("*.md")),
    )
}
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CLI = typer.main.get_command(app)
BASE = {"name": "base", "data": "starter", "grid": [{"features": [["mordred"]]}]}
"""What a fragment of a study file is put into."""
NOT_MODULES = (".json", ".yaml", ".table", ".css")
"""Endings of files whose names look like those of modules."""
every_page = pytest.mark.parametrize("page", PAGES)


def blocks(page, *languages):
    return [text for language, text in FENCE.findall(PAGES[page]) if language in languages]


def inline(page):
    """Every piece of code inside a sentence or a table."""
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", PAGES[page]))


def commands(page):
    """Every command of this program, as words, without comments and continued lines."""
    text = "\n".join(blocks(page, "sh", "bash", "console")).replace("\\\n", " ")
    lines = [line.strip().removeprefix("$ ") for line in text.splitlines()]
    lines += inline(page)
    for line in lines:
        start = re.search(r"(?:^|-- )(study [a-z].*)", line)
        if start:
            yield shlex.split(start[1].split(" > ")[0].split(" &")[0], comments=True)


def find_command(words):
    """The command that these words start, and its arguments."""
    command, rest = CLI, list(words)
    while rest and hasattr(command, "commands"):
        name = rest.pop(0)
        assert name in command.commands, f"no command '{name}' in {' '.join(words)}"
        command = command.commands[name]
    return command, rest


def options_of(command):
    return {name for parameter in command.params for name in parameter.opts}


@cache
def all_options():
    groups = [CLI, *(c for c in CLI.commands.values() if hasattr(c, "commands"))]
    members = [c for group in groups for c in group.commands.values()]
    return {name for command in (CLI, *members) for name in options_of(command)} | {"--help"}


@every_page
def test_its_commands_and_options_exist(page):
    for words in commands(page):
        if "COMMAND" in words:
            continue
        command, arguments = find_command(words[1:])
        given = {word.split("=")[0] for word in arguments if word.startswith("-")}
        assert given <= options_of(command) | {"--help"}, words


@every_page
def test_options_in_its_sentences_exist(page):
    given = {code.split()[0].split("=")[0] for code in inline(page) if code.startswith("--")}
    assert given <= all_options()


@every_page
def test_its_presets_exist(page):
    written = {yaml.safe_load(text).get("name") for p in PAGES for text in whole_files(p)}
    for words in commands(page):
        command, arguments = words[1], [word for word in words[2:] if not word.startswith("-")]
        if command not in ("plan", "launch", "compare", "report", "scaling", "pretrain"):
            continue
        name = arguments[0] if arguments else "FILE"
        known = preset_names(PRETRAININGS if command == "pretrain" else preset_folder())
        free = name.isupper() or name.endswith(".yaml") or name in written
        assert free or name in known, words


def preset_folder():
    return ROOT / "study" / "presets"


def whole_files(page):
    """Its complete study files and pretraining files."""
    return [text for text in blocks(page, "yaml") if re.search(r"^name:", text, re.MULTILINE)]


def own_components(page):
    """Components that the examples of a page define, which are no built-in ones."""
    return set(re.findall(r"^# (\w+)\.py$", PAGES[page], re.MULTILINE))


@every_page
def test_its_study_files_and_fragments_are_valid(page):
    for text in blocks(page, "yaml"):
        value = yaml.safe_load(text)
        if any(name in text for name in own_components(page)):
            continue  # run by `test_extensions_of_the_docs_run`
        absent = "not found (tried"  # weights, which are not shipped
        assert [line for line in find_mistakes(value) if absent not in line] == [], text


def find_mistakes(value):
    """What the checker says of a study file, a pretraining file or a fragment."""
    try:
        if "objective" in value:
            check_file(PretrainingSpec, value, "file", ValidationContext())
        else:
            check_study(value if "name" in value else {**BASE, **value}, "file")
    except InputError as error:
        return str(error).splitlines()[1:]
    return []


def test_the_file_of_the_readme_gives_a_plan():
    (text,) = whole_files("README.md")
    spec = check_study(yaml.safe_load(text), "README.md")
    plan = make_plan(spec)
    assert plan.arms
    assert declare_contrasts(spec, plan).contrasts


@cache
def all_keys():
    """Every key of the files, and every option of a component."""
    keys = {"data"} | set(FAMILIES)
    for model in (StudySpec, PretrainingSpec):
        schema = model.model_json_schema()
        for part in (schema, *schema["$defs"].values()):
            keys |= set(part.get("properties", ()))
    for family in FAMILIES:
        registry = Registry(family)
        keys |= {key for name in registry.names() for key in registry.parameters(name)}
    return keys - {"word", "options"}  # of stored files


@every_page
def test_keys_in_its_sentences_exist(page):
    for code in inline(page):
        if re.fullmatch(r"[a-z_]+: ?\S.*", code) and "://" not in code:
            assert set(mapping_keys(yaml.safe_load(code))) <= all_keys(), code


def mapping_keys(value):
    """The keys of a fragment of a file at every level, without names that users choose."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            if key not in ("modalities", "when", "without"):
                yield from mapping_keys(item)
    elif isinstance(value, list):
        for item in value:
            yield from mapping_keys(item)


@every_page
def test_its_dotted_keys_exist(page):
    for code in inline(page):
        section, dot, key = code.partition(".")
        if dot and section in StudySpec.model_fields and key.isidentifier():
            model = StudySpec.model_fields[section].annotation
            assert key in getattr(model, "model_fields", {key: None}), code


@every_page
def test_its_paths_exist(page):
    paths = re.findall(
        r"`((?:tests|fusion|study|modalities|docs|examples)/[\w/.]*\w/?)`", PAGES[page]
    )
    outside = {"study/presets/NAME.yaml"}
    assert [path for path in paths if path not in outside and not (ROOT / path).exists()] == []
    links = re.findall(r"\]\(([\w/.-]+\.(?:md|png|svg|cff))\b", PAGES[page])
    generated = {"study_file.md", "command_line.md", "python_api.md"}
    folder = (ROOT / page).parent
    assert [link for link in set(links) - generated if not (folder / link).is_file()] == []


@every_page
def test_its_modules_exist(page):
    for code in inline(page):
        name = re.fullmatch(r"(?:study|modalities|fusion)(?:\.\w+)+", code)
        if name and not code.endswith(NOT_MODULES):
            pkgutil.resolve_name(code)
    for source in blocks(page, "python"):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in (
                "study",
                "modalities",
                "fusion",
            ):
                for alias in node.names:
                    pkgutil.resolve_name(f"{node.module}:{alias.name}")


@every_page
def test_its_data_presets_exist(page):
    for name in re.findall(r"^data: ([a-z-]+)", PAGES[page], re.MULTILINE):
        assert name in dataset_presets()


def test_every_benchmark_is_run_by_make_and_named():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    listed = re.search(r"^BENCHES \?= ([\w ]+)$", makefile, re.MULTILINE)
    assert listed is not None
    files = {file.stem for file in (ROOT / "tests" / "benchmarks").glob("bench_*.py")}
    assert {f"bench_{name}" for name in listed[1].split()} == files
    named = {f"bench_{name}" for name in re.findall(r"\(`(\w+)`[,)]", PAGES["docs/benchmarks.md"])}
    assert named
    assert named <= files


def test_every_promise_names_its_test():
    rows = re.findall(r"^\| (.+) \| (.+) \|$", PAGES["docs/reliability.md"], re.MULTILINE)
    promises = [tests for _, tests in rows if tests not in ("test", "---")]
    assert len(promises) > 20
    assert all(re.search(r"`tests/[\w/.]+`", tests) for tests in promises)


@pytest.fixture(scope="module")
def reference():
    """The module that writes the reference of the study file."""
    pytest.importorskip("griffe", reason="the extra 'docs' is not installed")
    path = ROOT / "docs" / "generate" / "study_file.py"
    spec = importlib.util.spec_from_file_location("docs_study_file", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_key_of_the_reference_has_a_meaning(reference):
    assert reference.undocumented() == []
    assert reference.sections_without_a_table() == set()


def test_the_reference_has_every_key_and_component(reference):
    page = reference.render()
    assert [key for key in all_keys() if f"| `{key}` |" not in page and key not in FAMILIES] == []
    names = [(family, name) for family in FAMILIES for name in Registry(family).names()]
    assert [name for family, name in names if f"{{ #{family}-{name} }}" not in page] == []


@pytest.mark.slow
def test_the_site_builds_without_a_broken_link(tmp_path):
    pytest.importorskip("mkdocs", reason="the extra 'docs' is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "learning_rate" in (tmp_path / "study_file" / "index.html").read_text(encoding="utf-8")
    assert "study launch" in (tmp_path / "command_line" / "index.html").read_text(encoding="utf-8")
