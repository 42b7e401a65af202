"""The reference of the study file, written from the models and the registries of components."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from griffe import Docstring
from pydantic import BaseModel

from study.config.components import ModalityConfig
from study.config.contrasts import AnalysisConfig, ArmSelector, ContrastConfig
from study.config.designs import Condition
from study.config.grid import GridBlock, ListedArm
from study.config.search import SearchConfig, SearchRange
from study.config.study import BudgetConfig, RunConfig, SplitConfig, StudySpec
from study.config.training import TrainingConfig
from study.data.recipe import DatasetConfig, dataset_presets
from study.data.source import Threshold
from study.plugins.registry import Registry
from study.pretraining.config import MoleculeTableConfig, PretrainingConfig, PretrainingSpec

SECTIONS: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("top", "The sections of the file", StudySpec),
    ("data", "`data`", DatasetConfig),
    ("threshold", "`data.threshold`", Threshold),
    ("split", "`split`", SplitConfig),
    ("modalities", "`modalities.NAME`", ModalityConfig),
    ("grid", "`grid`: a block", GridBlock),
    ("arms", "`grid.arms`: a listed arm", ListedArm),
    ("when", "`grid.when.AXIS`: a condition", Condition),
    ("training", "`training`", TrainingConfig),
    ("search", "`search`", SearchConfig),
    ("range", "`search.space.SETTING`: a range", SearchRange),
    ("contrasts", "`contrasts`: a contrast", ContrastConfig),
    ("side", "`contrasts.arm` and `contrasts.reference`: a side", ArmSelector),
    ("analysis", "`analysis`", AnalysisConfig),
    ("run", "`run`", RunConfig),
    ("budget", "`run.budget`", BudgetConfig),
)
"""Anchor, heading and model of every section of a study file."""
PRETRAINING_SECTIONS: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("pretraining-top", "The sections of a pretraining file", PretrainingSpec),
    ("molecules", "`molecules`", MoleculeTableConfig),
    ("pretraining-training", "`training` of a pretraining", PretrainingConfig),
)
FAMILIES: tuple[tuple[str, str, str], ...] = (
    ("modality", "Modalities", "modality"),
    ("operator", "Fusion operators", "fusion"),
    ("partition", "Label partitions", "partition"),
    ("source", "Sources of data", "sources"),
    ("objective", "Pretraining objectives", "objective"),
)
"""Key of a family of components, its heading and the key of the file that names one."""
_OWN_KEYS = ("name", "word", "options")
_LINKS = {
    **{model.__name__: (anchor, "mapping") for anchor, _, model in SECTIONS},
    **{model.__name__: (anchor, "mapping") for anchor, _, model in PRETRAINING_SECTIONS},
    "OperatorConfig": ("operator", "operator"),
    "PartitionConfig": ("partition", "label partition"),
    "SourceConfig": ("source", "source"),
    "ObjectiveConfig": ("objective", "objective"),
    "EncoderConfig": ("modality", "modality"),
}
_TYPES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
}


def render() -> str:
    """Return the page: every section of a study file and of a pretraining file."""
    return "\n".join([*_render_study(), *_render_components(), *_render_pretraining()])


def meanings(model: type, section: str = "attributes") -> dict[str, str]:
    """Return what a class documents of its attributes, or of its parameters, by name."""
    found: dict[str, str] = {}
    text = inspect.cleandoc(model.__doc__ or "")
    parsed = Docstring(text).parse(
        "numpy", warn_missing_types=False, warn_unknown_params=False, warnings=False
    )
    for part in parsed:
        if part.kind.value == section:
            for item in part.value:
                names = [name.strip() for name in item.name.split(",")]
                found |= dict.fromkeys(names, " ".join(item.description.split()))
    return found


def keys(model: type[BaseModel]) -> dict[str, tuple[str, str, str]]:
    """Return the type, the default and the meaning of every key of a section."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rsplit("/", 1)[-1]]
    found = meanings(model)
    fields = {name: value for name, value in schema["properties"].items() if _is_key(model, name)}
    return {
        name: (
            _describe(value),
            _format_default(model, name, value),
            found.get(name, ""),
        )
        for name, value in fields.items()
    }


def _is_key(model: type[BaseModel], name: str) -> bool:
    return model is not ModalityConfig or name not in _OWN_KEYS


def _describe(value: Mapping[str, Any]) -> str:
    """Return the type of a value of the file in words, from its JSON schema."""
    if "$ref" in value:
        name = value["$ref"].rsplit("/", 1)[-1]
        anchor, text = _LINKS.get(name, ("top", name))
        return f"[{text}](#{anchor})"
    if "enum" in value:
        return ", ".join(f"`{word}`" for word in value["enum"])
    if "const" in value:
        return f"`{value['const']}`"
    choices = value.get("anyOf") or value.get("oneOf")
    if choices:
        return " or ".join(dict.fromkeys(_describe(c) for c in choices if c.get("type") != "null"))
    if value.get("type") == "array":
        return f"list of {_describe(value.get('items', {}))}"
    if value.get("type") == "object":
        inner = value.get("additionalProperties")
        return f"mapping of name to {_describe(inner)}" if isinstance(inner, dict) else "mapping"
    kind = _TYPES.get(str(value.get("type")), "any value")
    return " ".join([kind, *_list_limits(value)])


def _list_limits(value: Mapping[str, Any]) -> Iterator[str]:
    signs = {
        "minimum": "from",
        "exclusiveMinimum": "above",
        "maximum": "to",
        "exclusiveMaximum": "below",
    }
    for key, sign in signs.items():
        if key in value:
            yield (
                f"{sign} {value[key]:,}" if isinstance(value[key], int) else f"{sign} {value[key]}"
            )


def _format_default(model: type[BaseModel], name: str, value: Mapping[str, Any]) -> str:
    field = model.model_fields[name]
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if name == "fusion":
        return "`concat`" if default else "-"
    if isinstance(default, BaseModel) or default in ((), {}, ""):
        return "-"
    return "-" if default is None else f"`{_yaml(value.get('default', default))}`"


def _table(rows: Iterable[tuple[str, ...]], *head: str) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def _section(anchor: str, heading: str, model: type[BaseModel]) -> Iterator[str]:
    yield f"## {heading} {{ #{anchor} }}\n"
    yield f"{inspect.cleandoc(model.__doc__ or '').splitlines()[0]}\n"
    rows = [(f"`{name}`", *row) for name, row in keys(model).items()]
    yield from _table(rows, "key", "type and allowed values", "default", "meaning")


def _render_study() -> Iterator[str]:
    yield "# Study file reference\n"
    yield (
        "A study file is YAML. This page is generated from the models that check it, so it lists "
        "every key. A key that is not here is refused, with the nearest one that is. `${NAME}` is "
        "replaced by the environment variable, and `--set training.epochs=20` overrides a value. "
        "Where an option of a component stands beside `modality`, `operator`, `partition` or "
        "`source`, the [components](#modality) below list it.\n"
    )
    for anchor, heading, model in SECTIONS:
        yield from _section(anchor, heading, model)
        if anchor == "data":
            yield "Presets of `data`, with the keys that they set:\n"
            rows = [
                (f"`{name}`", ", ".join(f"`{k}: {_yaml(v)}`" for k, v in values.items()))
                for name, values in dataset_presets().items()
            ]
            yield from _table(rows, "preset", "keys")
        if anchor == "modalities":
            yield "The other keys of an entry are the options of its [modality](#modality).\n"


def _yaml(value: object) -> str:
    """Return a value as it stands in a study file."""
    text = json.dumps(value)
    return text if text == '""' else text.replace('"', "")


def _render_components() -> Iterator[str]:
    for family, heading, key in FAMILIES:
        registry = Registry(family)
        yield f"## {heading} {{ #{family} }}\n"
        yield f"Allowed words of `{key}`; `{{{family}: NAME, option: value}}` sets options.\n"
        for name in registry.names():
            component = registry.load(name)
            yield f"### `{name}` {{ #{family}-{name} }}\n"
            yield f"{inspect.cleandoc(component.__doc__ or '').splitlines()[0]}\n"
            options = registry.parameters(name)
            found = meanings(component, "parameters")
            rows = [
                (
                    f"`{option}`",
                    parameter.allowed,
                    f"`{_yaml(parameter.default)}`",
                    found.get(option, ""),
                )
                for option, parameter in options.items()
            ]
            if rows:
                yield from _table(rows, "option", "allowed values", "default", "meaning")
            else:
                yield "It has no options.\n"


def _render_pretraining() -> Iterator[str]:
    for anchor, heading, model in PRETRAINING_SECTIONS:
        yield from _section(anchor, heading, model)


def undocumented() -> list[str]:
    """Return every key and option without a meaning, as ``section.key``."""
    missing = [
        f"{model.__name__}.{name}"
        for _, _, model in (*SECTIONS, *PRETRAINING_SECTIONS)
        for name, (_, _, meaning) in keys(model).items()
        if not meaning
    ]
    for family, _, _ in FAMILIES:
        registry = Registry(family)
        for name in registry.names():
            found = meanings(registry.load(name), "parameters")
            missing += [
                f"{family}.{name}.{k}" for k in registry.parameters(name) if not found.get(k)
            ]
    return missing


def sections_without_a_table() -> set[str]:
    """Return the models that a study file holds and this page leaves out."""
    shown = {model for _, _, model in (*SECTIONS, *PRETRAINING_SECTIONS)}
    held = set(StudySpec.model_json_schema()["$defs"]) | {
        *PretrainingSpec.model_json_schema()["$defs"]
    }
    components = {"OperatorConfig", "PartitionConfig", "SourceConfig", "ObjectiveConfig"}
    return held - {model.__name__ for model in shown} - components - {"EncoderConfig"}


__all__ = ["keys", "meanings", "render", "sections_without_a_table", "undocumented"]
