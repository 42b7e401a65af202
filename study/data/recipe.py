"""The ``data:`` section of a study file: where molecules come from and how they are curated."""

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
from study.data.tables import user_path
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
    def _from_word_or_mapping(cls, value: Any) -> Any:  # noqa: ANN401 (raw YAML)
        if isinstance(value, str):
            return {"source": value}
        if isinstance(value, Mapping) and "source" in value and "options" not in value:
            options = {name: item for name, item in value.items() if name != "source"}
            return {"source": value["source"], "options": options}
        return value

    @model_validator(mode="after")
    def _known(self) -> Self:
        mistakes = Registry("source").check(self.source, self.options)
        if mistakes:
            raise ValueError("; ".join(mistakes))
        self.build()  # a source checks itself whether its values make sense together
        return self

    @model_serializer
    def _as_mapping(self) -> dict[str, OptionValue]:
        return {"source": self.source, **self.options}

    def build(self) -> Source:
        """Return the source with its options."""
        source: Source = Registry("source").load(self.source)(**self.options)
        return source


class DatasetConfig(BaseModel):
    """What is read and how it is curated. Fields given explicitly override the preset's.

    Attributes
    ----------
    preset : str, optional
        Name in ``files/presets.yaml``; `gs-lf-ifra` where neither it nor `sources` is given.
    sources : tuple of SourceConfig
        Sources, merged in this order.
    archive : Path, optional
        Folder of the public archives; without it the variable OLFACTION_ARCHIVE.
    key : {"nonstereo", "isomeric"}
        What makes two entries the same molecule: the constitution alone, or with stereo marks.
    vocabulary : "intersection", "union" or names
        Labels that every source knows, that any knows, or exactly these, in this order.
    min_positives : int
        Labels with fewer positive molecules are dropped and counted. 0 drops none, and a label
        without a positive is then an error.
    multi_fragment, carbon_free : {"drop", "keep"}
        Salts and mixtures; water, ammonia, metals.
    unlabelled : {"drop", "keep"}
        Molecules without any label of the vocabulary.
    synonyms : bool
        Map spellings by ``files/synonyms.csv``. Never applied to ratings.
    threshold : Threshold, optional
        From ratings to labels, for sources that rate; without it the source's own default.
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
    def _with_preset(cls, value: Any) -> Any:  # noqa: ANN401 (raw YAML)
        given = {"preset": value} if isinstance(value, str) else value
        if not isinstance(given, Mapping):
            return given
        name = given.get("preset") or (None if "sources" in given else DEFAULT_PRESET)
        if name is None:
            return given
        if not isinstance(name, str) or name not in dataset_presets():
            raise ValueError(f"unknown preset '{name}'; allowed: {', '.join(dataset_presets())}")
        return {**dataset_presets()[name], **given, "preset": name}

    @model_validator(mode="after")
    def _sources_fit(self) -> Self:
        words = [choice.source for choice in self.sources]
        if not words:
            known = ", ".join(Registry("source").words())
            raise ValueError(f"sources is empty; name one or more of {known}")
        rated = [word for word in words if Registry("source").load(word).rated]
        if rated and len(words) > 1:
            raise ValueError(
                f"source {rated[0]} holds ratings and cannot be merged with others: "
                "a label that was not rated is not a negative; study it by itself"
            )
        if self.threshold is not None and not rated:
            raise ValueError(f"threshold is for sources with ratings, not for {', '.join(words)}")
        doubled = [word for word in words if words.count(word) > 1 and word != "csv"]
        if doubled:
            raise ValueError(f"source {doubled[0]} is named more than once")
        return self

    @property
    def name(self) -> str:
        """Name of the table: the preset's, or the sources'."""
        return self.preset or "+".join(choice.source for choice in self.sources)

    def folder(self) -> Path | None:
        """Archive folder: the field `archive`, or else the environment variable."""
        if self.archive is not None:
            return user_path(str(self.archive), "data.archive")
        found = os.environ.get(ARCHIVE_VARIABLE)
        return user_path(found, ARCHIVE_VARIABLE) if found else None

    def identity(self) -> str:
        """JSON of everything that decides the table, except the files themselves."""
        return json.dumps(self.model_dump(mode="json", exclude={"archive"}), sort_keys=True)


@cache
def dataset_presets() -> Mapping[str, Mapping[str, Any]]:
    """Shipped presets by name, as written in ``files/presets.yaml``."""
    text = (Path(__file__).parent / "files" / "presets.yaml").read_text(encoding="utf-8")
    found: dict[str, Mapping[str, Any]] = yaml.safe_load(text)
    return found
