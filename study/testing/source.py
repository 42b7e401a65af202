"""The contract of a data source."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from study.data.source import RawTable
from study.errors import InputError
from study.testing.base import ComponentContract, is_name_of


class SourceContract(ComponentContract):
    """Tests of a `study.data.source.Source`.

    Attributes
    ----------
    archive_folder : Path, optional
        Folder of the public archives, for a source that reads them.
    """

    family: ClassVar[str] = "source"
    archive_folder: ClassVar[Path | None] = None

    @pytest.fixture
    def archive(self) -> Path | None:
        return self.archive_folder

    @pytest.fixture
    def source(self, component_class: type[Any], needed_options: Mapping[str, Any]) -> Any:
        return component_class(**needed_options)

    @pytest.fixture
    def table(self, source: Any, archive: Path | None) -> RawTable:
        table = source.read(archive)
        assert isinstance(table, RawTable)
        return table

    def test_table_is_whole_and_its_places_are_unique(
        self, component_class: type[Any], table: RawTable
    ) -> None:
        assert is_name_of(table.name, component_class)
        assert table.entries
        places = [entry.place for entry in table.entries]
        assert len(set(places)) == len(places)
        used = {label for entry in table.entries for label in (entry.ratings or entry.labels)}
        assert used <= set(table.vocabulary)

    def test_rated_is_declared_exactly_by_sources_with_ratings_and_a_threshold(
        self, component_class: type[Any], table: RawTable
    ) -> None:
        rated = component_class.rated
        assert rated == (table.threshold is not None)
        assert all((entry.ratings is not None) == rated for entry in table.entries)

    def test_every_file_read_is_recorded_with_its_sha256(
        self, source: Any, table: RawTable, archive: Path | None
    ) -> None:
        files: Mapping[str, Path] = source.files(archive)
        sums = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
        assert table.files == sums

    def test_reading_twice_gives_the_same(
        self, source: Any, table: RawTable, archive: Path | None
    ) -> None:
        assert source.read(archive) == table

    def test_missing_archive_is_named_with_its_remedy(
        self, source: Any, table: RawTable, archive: Path | None, tmp_path: Path
    ) -> None:
        files: Mapping[str, Path] = source.files(archive)
        if archive is None or not any(p.is_relative_to(archive) for p in files.values()):
            assert source.read(None) == table  # this source needs no archive
            return
        remedy = r"set data\.archive or OLFACTION_ARCHIVE to a folder made by `study data fetch`"
        with pytest.raises(InputError, match=rf"archive folder .*nowhere lacks .*csv: {remedy}"):
            source.read(tmp_path / "nowhere")
        with pytest.raises(
            InputError, match=f"no archive folder given, but .* is needed: {remedy}"
        ):
            source.read(None)
