"""The section ``data`` of a study file: the sources of molecules, and their curation."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    model_serializer,
    model_validator,
)

from study.data.source import Source, Threshold
from study.data.tables import parse_user_path
from study.plugins.registry import Registry

DEFAULT_PRESET = "gs-lf-ifra"
ARCHIVE_VARIABLE = "OLFACTION_ARCHIVE"

OptionValue = int | float | bool | str | None


class SourceConfig(BaseModel):
    """One source and its options: ``leffingwell`` or ``{source: csv, file: mine.csv}``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    options: Mapping[str, OptionValue] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _read_options(cls, value: Any) -> Any:  # noqa: ANN401 (raw YAML)
        if isinstance(value, str):
            return {"source": value}
        if isinstance(value, Mapping) and "source" in value and "options" not in value:
            options = {name: item for name, item in value.items() if name != "source"}
            return {"source": value["source"], "options": options}
        return value

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        mistakes = Registry("source").check(self.source, self.options)
        if mistakes:
            raise ValueError("; ".join(mistakes))
        self.build()  # a source also checks its options against each other
        return self

    @model_serializer
    def _to_mapping(self) -> dict[str, OptionValue]:
        return {"source": self.source, **self.options}

    def build(self) -> Source:
        """Return the source with its options."""
        source: Source = Registry("source").load(self.source)(**self.options)
        return source


class DatasetConfig(BaseModel):
    """The sources of a data set and its curation. Fields that are set override the preset.

    Attributes
    ----------
    preset : str, optional
        Name of a shipped preset; default: `gs-lf-ifra` if `sources` is not set either.
    sources : tuple of SourceConfig
        Sources, merged in this order.
    archive : Path, optional
        Folder of the public archives; default: the variable OLFACTION_ARCHIVE.
    key : {"nonstereo", "isomeric"}
        Which entries are the same molecule: those of equal constitution, or also of equal stereo
        marks.
    vocabulary : "intersection", "union" or names
        Labels of every source, labels of any source, or exactly these labels, in this order.
    min_positives : int
        Labels with fewer positive molecules are dropped and counted. 0 drops none; a label
        without any positive is then an error.
    multi_fragment, carbon_free : {"drop", "keep"}
        Salts and mixtures; water, ammonia, metals.
    unlabelled : {"drop", "keep"}
        Molecules without any label of the vocabulary.
    synonyms : bool
        Normalize spellings by ``files/synonyms.csv``. Never applied to ratings.
    threshold : Threshold, optional
        Rule from ratings to labels, for sources with ratings; default: that of the source.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str | None = None
    sources: tuple[SourceConfig, ...]
    archive: Path | None = None
    key: Literal["nonstereo", "isomeric"] = "nonstereo"
    vocabulary: (
        Literal["intersection", "union"] | Annotated[tuple[str, ...], Field(min_length=1)]
    ) = "intersection"
    min_positives: Annotated[int, Field(ge=0)] = 0
    multi_fragment: Literal["drop", "keep"] = "drop"
    carbon_free: Literal["drop", "keep"] = "drop"
    unlabelled: Literal["drop", "keep"] = "drop"
    synonyms: bool = True
    threshold: Threshold | None = None

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, value: Any) -> Any:  # noqa: ANN401 (raw YAML)
        fields = {"preset": value} if isinstance(value, str) else value
        if not isinstance(fields, Mapping):
            return fields
        name = fields.get("preset")
        if name is None and "sources" not in fields:
            name = DEFAULT_PRESET
        if name is None:
            return fields
        if not isinstance(name, str) or name not in dataset_presets():
            raise ValueError(f"unknown preset '{name}'; allowed: {', '.join(dataset_presets())}")
        return {**dataset_presets()[name], **fields, "preset": name}

    @model_validator(mode="after")
    def _check_sources(self) -> Self:
        names = [source.source for source in self.sources]
        if not names:
            known = ", ".join(Registry("source").names())
            raise ValueError(f"sources is empty; name one or more of {known}")
        rated = [name for name in names if Registry("source").load(name).rated]
        if rated and len(names) > 1:
            raise ValueError(
                f"source {rated[0]} holds ratings and cannot be merged with others, because a "
                "label that was not rated is not a negative; use it as the only source"
            )
        if self.threshold is not None and not rated:
            raise ValueError(f"threshold is for sources with ratings, not for {', '.join(names)}")
        duplicates = [name for name in names if names.count(name) > 1 and name != "csv"]
        if duplicates:
            raise ValueError(f"source {duplicates[0]} is named more than once")
        return self

    @property
    def name(self) -> str:
        """Name of the data set: that of the preset, or those of the sources."""
        return self.preset or "+".join(choice.source for choice in self.sources)

    def folder(self) -> Path | None:
        """Return the archive folder: the field `archive`, or else the environment variable."""
        if self.archive is not None:
            return parse_user_path(str(self.archive), "data.archive")
        folder = os.environ.get(ARCHIVE_VARIABLE)
        return parse_user_path(folder, ARCHIVE_VARIABLE) if folder else None

    def identity(self) -> str:
        """Return as JSON everything that determines the data set, except the source files."""
        return json.dumps(self.model_dump(mode="json", exclude={"archive"}), sort_keys=True)


@cache
def dataset_presets() -> Mapping[str, Mapping[str, Any]]:
    """Read the shipped presets, by name, from ``files/presets.yaml``."""
    text = (Path(__file__).parent / "files" / "presets.yaml").read_text(encoding="utf-8")
    presets: dict[str, Mapping[str, Any]] = yaml.safe_load(text)
    return presets
