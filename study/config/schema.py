"""The JSON schema of study and pretraining files, for editors.

It is the schema that pydantic makes of the models, rewritten where a file is not what a model
stores: components stand as a name or as ``{modality: name, option: ...}``, single values may stand
for lists, and ``${NAME}`` for a value of the environment.

It accepts every file that the checker accepts, except for numbers in quotes and numbers for true
and false. What takes the whole file or the disk to see (names in feature sets, sha256 of weights,
designs) only the checker refuses.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter

from study.config.components import Component, ModalityConfig, OperatorConfig, PartitionConfig
from study.config.contrasts import FAMILIES, ArmSelector, ContrastConfig
from study.config.designs import Condition
from study.config.grid import AXES, GridBlock, ListedArm
from study.config.search import NOT_SEARCHED, SearchConfig, SearchRange
from study.config.study import RESERVED_NAMES, SplitConfig, StudySpec
from study.config.training import TrainingConfig
from study.data.recipe import DatasetConfig, SourceConfig, dataset_presets
from study.plugins.registry import Registry
from study.splits import SCHEMES

Json = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE: Json = {
    "type": "string",
    "pattern": r"\$\{\w+\}",
    "description": "A value from the environment: ${NAME}.",
}
_VARIABLE_REF: Json = {"$ref": "#/$defs/Variable"}
_STORED = {field.alias or name for name, field in Component.model_fields.items()}
"""Keys of a component as it is stored, which no file has."""


def build_schema(model: type[BaseModel]) -> Json:
    """Return the JSON schema (draft 2020-12) of the files of a model.

    Parameters
    ----------
    model : type
        `StudySpec` or `study.pretraining.config.PretrainingSpec`.
    """
    whole = model.model_json_schema()
    definitions: Json = whole.pop("$defs")
    for section_model in _find_models(model):
        name = section_model.__name__
        section = whole if section_model is model else definitions[name]
        rewritten = _rewrite(section, section_model)
        if section_model is model:
            whole = rewritten
        else:
            definitions[name] = rewritten
    definitions["Variable"] = _VARIABLE
    return {"$schema": DIALECT, "title": f"{model.__name__} of olfaction-study", **whole} | {
        "$defs": definitions
    }


def read_field_notes(model: type[BaseModel]) -> dict[str, str]:
    """Return the description of each field of a model, from the section Attributes of its docs."""
    _, _, attributes = inspect.cleandoc(model.__doc__ or "").partition("Attributes\n----------\n")
    notes, names = dict[str, list[str]](), list[str]()
    for line in attributes.splitlines():
        if re.match(r"\S", line):
            names = [name.strip() for name in line.partition(" : ")[0].split(",")]
            kind = line.partition(" : ")[2]
            for name in names:
                notes[name] = [f"({kind})"] if kind.startswith("{") else []
        else:
            for name in names:
                notes[name].append(line.strip())
    return {name: " ".join(filter(None, lines)) for name, lines in notes.items() if any(lines)}


def _find_models(
    annotation: object, found: Sequence[type[BaseModel]] = ()
) -> list[type[BaseModel]]:
    """Return the models inside an annotation and inside their fields, each once."""
    models = list(found)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation in models:
            return models
        models.append(annotation)
        inner: Iterator[object] = (field.annotation for field in annotation.model_fields.values())
    else:
        inner = iter(get_args(annotation))
    for part in inner:
        models = _find_models(part, models)
    return models


def _rewrite(section: Json, model: type[BaseModel]) -> Json:
    """Return the schema of a section as it stands in a file."""
    properties, notes = section["properties"], read_field_notes(model)
    defaults = {name: field["default"] for name, field in properties.items() if "default" in field}
    for name, field in properties.items():
        properties[name] = _open_to_variables(_without_titles(field))
        if name in notes:
            properties[name]["description"] = notes[name]
        if not _is_plain(field.get("default")):
            del properties[name]["default"]
    section = _without_titles(section)
    section["description"] = inspect.cleandoc(model.__doc__ or "").partition("\n")[0]
    if issubclass(model, Component):
        further = {name: field for name, field in properties.items() if name not in _STORED}
        return {"description": section["description"], **_describe_family(model.key, further)}
    rewrite = _REWRITERS.get(model)
    return section if rewrite is None else rewrite(section, defaults)


def _without_titles(schema: Json) -> Json:
    """Return a schema without the titles that pydantic makes of names."""
    return {key: value for key, value in schema.items() if key != "title"}


def _is_plain(default: object) -> bool:
    """Return whether a default can be shown as it would stand in a file."""
    items = default if isinstance(default, list) else [default]
    return not any(isinstance(item, dict | list) for item in items) and items != []


def _open_to_variables(schema: Json) -> Json:
    """Return a schema in which ``${NAME}`` may stand for numbers and words."""
    opened = _without_titles(schema)
    for key in ("items", "additionalProperties"):
        if isinstance(opened.get(key), dict):
            opened[key] = _open_to_variables(opened[key])
    for key in ("anyOf", "oneOf"):
        if key in opened:
            members = [_without_titles(member) for member in opened.pop(key)]
            some = any(_is_narrow(member) for member in members)
            parts = [m if _is_narrow(m) else _open_to_variables(m) for m in members]
            opened["anyOf"] = [*parts, *([_VARIABLE_REF] if some else [])]
    if not _is_narrow(opened):
        return opened
    about: Json = {key: opened.pop(key) for key in ("default", "description") if key in opened}
    return {"anyOf": [opened, _VARIABLE_REF], **about}


def _is_narrow(schema: Json) -> bool:
    """Return whether a schema takes single values, but not every text."""
    kinds = ("integer", "number", "boolean")
    return schema.get("type") in kinds or not {"enum", "pattern"}.isdisjoint(schema)


def _describe_family(key: str, further: Mapping[str, Json]) -> Json:
    """Return the schema of a component: a name, or a mapping with its options.

    Parameters
    ----------
    key : str
        Family, and key of the name in a mapping.
    further : mapping of str to schema
        Fields that stand next to the options.
    """
    names = list(Registry(key).names())
    word = _open_to_variables({"enum": names})
    mapping = {
        "type": "object",
        "required": [key],
        "properties": {key: word},
        "allOf": [
            {
                "if": {"properties": {key: {"const": name}}, "required": [key]},
                "then": _describe_options(key, name, {key: {}, **further}),
            }
            for name in names
        ],
    }
    return {"anyOf": [word, mapping]}


def _describe_options(key: str, name: str, further: Mapping[str, Json]) -> Json:
    """Return the schema of a mapping with the options of a component, and these other keys."""
    options: Json = {}
    for option, parameter in Registry(key).parameters(name).items():
        kind = TypeAdapter(parameter.annotation).json_schema()
        # The options of components are not converted: a text from the environment is no number.
        options[option] = {**kind, "default": parameter.default}
        if "enum" in kind:
            options[option] = _open_to_variables(options[option])
    return {"properties": {**options, **further}, "additionalProperties": False}


def _describe_modalities(further: Mapping[str, Json]) -> Json:
    """Return the schema of the section ``modalities``: an entry's name can be its modality."""
    component = {"$ref": f"#/$defs/{ModalityConfig.__name__}"}
    unnamed = {"type": "object", "not": {"required": ["modality"]}}
    return {
        "type": "object",
        "propertyNames": {"pattern": r"^[a-z][a-z0-9_]*$"},
        "properties": {
            name: {
                "if": unnamed,
                "then": _describe_options("modality", name, further),
                "else": component,
            }
            for name in Registry("modality").names()
        },
        "additionalProperties": component,
    }


def _training_setting(name: str) -> Json:
    return {"$ref": f"#/$defs/{TrainingConfig.__name__}/properties/{name}"}


def _training_settings(wrap: Callable[[Json], Json]) -> Json:
    """Return the properties of a mapping of training settings, each schema wrapped."""
    return {name: wrap(_training_setting(name)) for name in TrainingConfig.model_fields}


def _ref(model: type[BaseModel]) -> Json:
    return {"$ref": f"#/$defs/{model.__name__}"}


def _add(section: Json, changes: Mapping[str, Json]) -> Json:
    """Add keys to the properties of a section; descriptions and defaults stay."""
    for name, change in changes.items():
        field = section["properties"][name]
        about = {key: field[key] for key in ("default", "description") if key in field}
        section["properties"][name] = {**about, **change}
    return section


def _rewrite_study(section: Json, _: Json) -> Json:
    properties = section["properties"]
    calibration = ModalityConfig.model_json_schema()["properties"]["calibration"]
    note = {"description": read_field_notes(ModalityConfig)["calibration"]}
    further = {
        "calibration": {**_open_to_variables(calibration), **note},
        "training": _ref(TrainingConfig),
    }
    name = {"allOf": [{"not": {"enum": list(RESERVED_NAMES)}}], **properties["name"]}
    return _add(
        section,
        {
            "name": name,
            "fractions": {**properties["fractions"], "uniqueItems": True},
            "seeds": {**properties["seeds"], "uniqueItems": True},
            "modalities": _describe_modalities(further),
        },
    )


def _rewrite_data(section: Json, _: Json) -> Json:
    presets = list(dataset_presets())
    preset = _open_to_variables({"enum": presets})
    section.pop("required")  # the sources come from a preset
    sources = {**section["properties"]["sources"], "minItems": 1}
    nullable = {"anyOf": [*preset["anyOf"], {"type": "null"}]}
    mapping = _add(section, {"preset": nullable, "sources": sources})
    return {"description": mapping.pop("description"), "anyOf": [preset, mapping]}


def _rewrite_source(section: Json, _: Json) -> Json:
    return {"description": section["description"], **_describe_family("source", {})}


def _rewrite_split(section: Json, _: Json) -> Json:
    return _add(section, {"groups": _open_to_variables({"enum": list(SCHEMES)})})


def _rewrite_block(section: Json, defaults: Json) -> Json:
    some_arms = {"required": ["arms"], "properties": {"arms": {"minItems": 1}}}
    some_sets = {"required": ["features"], "properties": {"features": {"minItems": 1}}}
    unchanged = {name: {"const": value} for name, value in defaults.items() if name != "arms"}
    change = {
        "type": "object",
        "properties": {
            "technique": section["properties"]["technique"]["items"],
            "fusion": _ref(OperatorConfig),
            "partition": _ref(PartitionConfig),
            **_training_settings(lambda setting: setting),
        },
        "additionalProperties": {"type": "string"},
    }
    values = _training_settings(lambda item: {"type": "array", "minItems": 1, "items": item})
    when = {"propertyNames": {"enum": list(AXES)}, **section["properties"]["when"]}
    section = _add(
        section,
        {
            "features": {"type": "array", "items": _feature_set()},
            "training": {"type": "object", "properties": values, "additionalProperties": False},
            "when": when,
            "without": {"type": "object", "additionalProperties": change},
        },
    )
    return {
        **section,
        "if": some_arms,
        "then": {"properties": unchanged},
        "else": some_sets,
    }


def _rewrite_arm(section: Json, _: Json) -> Json:
    return _add(section, {"features": _feature_set(), "training": _ref(TrainingConfig)})


def _feature_set() -> Json:
    """Return the schema of a list of modalities, whose names an editor completes.

    Names of the section ``modalities`` are right too, so other names are not refused here.
    """
    names = {"enum": list(Registry("modality").names())}
    items = {"anyOf": [names, {"type": "string"}]}
    return {"type": "array", "minItems": 1, "uniqueItems": True, "items": items}


def _rewrite_condition(section: Json, _: Json) -> Json:
    fields = section["properties"]
    return _add(
        section, {name: {"anyOf": [field["items"], field]} for name, field in fields.items()}
    )


def _rewrite_selector(section: Json, _: Json) -> Json:
    null = {"type": "null"}
    features = {"anyOf": [{"type": "string"}, *section["properties"]["features"]["anyOf"]]}
    fusion = {"anyOf": [{"type": "string"}, _ref(OperatorConfig), null]}
    partition = {"anyOf": [{"type": "string"}, _ref(PartitionConfig), null]}
    return _add(section, {"features": features, "fusion": fusion, "partition": partition})


def _rewrite_contrast(section: Json, _: Json) -> Json:
    family = _open_to_variables({"enum": list(FAMILIES)})
    declared = {"required": ["arm", "reference"]}
    named = {"properties": {"family": family}}
    mapping = {**section, "anyOf": [declared, named]}
    return {"description": mapping.pop("description"), "anyOf": [family, mapping]}


def _rewrite_search(section: Json, _: Json) -> Json:
    space: Json = {}
    for name, field in TrainingConfig.model_json_schema()["properties"].items():
        if name not in NOT_SEARCHED:
            item = _training_setting(name)
            values = {"type": "array", "minItems": 2, "uniqueItems": True, "items": item}
            # A word has no range; of `hidden` it is the range of the width of one layer.
            space[name] = values if "enum" in field else {"anyOf": [_ref(SearchRange), values]}
    mapping = {"minProperties": 1, "properties": space, "additionalProperties": False}
    return _add(section, {"space": {"type": "object", **mapping}})


_REWRITERS: Mapping[type[BaseModel], Callable[[Json, Json], Json]] = {
    StudySpec: _rewrite_study,
    DatasetConfig: _rewrite_data,
    SourceConfig: _rewrite_source,
    SplitConfig: _rewrite_split,
    GridBlock: _rewrite_block,
    ListedArm: _rewrite_arm,
    Condition: _rewrite_condition,
    ArmSelector: _rewrite_selector,
    ContrastConfig: _rewrite_contrast,
    SearchConfig: _rewrite_search,
}
"""What makes the schema of a section as it is written of the one as it is stored."""
