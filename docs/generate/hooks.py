"""Hooks of mkdocs: the pages that are written from the code when the site is built."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).parent))

import command_line
import python_api
import study_file

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

PAGES = {
    "study_file.md": study_file.render,
    "command_line.md": command_line.render,
    "python_api.md": python_api.render,
}
"""Functions that return the text of a page, by the address of the page."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for name, render in PAGES.items():
        files.append(File.generated(config, name, content=render()))
    return files
