"""Render a report as one HTML page and as Markdown."""

from __future__ import annotations

import re
from html import escape
from importlib.resources import files

from study.reporting.document import Block, Bullets, Document, Figure, Prose
from study.reporting.figures.canvas import BAND, INK, PAPER, RULE, SOFT
from study.reporting.formatting import Column, Row, render_table

THEMED = {INK: "ink", SOFT: "soft", RULE: "rule", BAND: "band", PAPER: "paper"}
"""Colors of a figure that follow the light or dark theme of the page, by CSS variable."""
MAX_SCALE = 1.65
"""Maximum scale of a figure on the page, in CSS pixels per point."""


def to_html(document: Document) -> str:
    """Return the report as one HTML page that contains all styles, scripts and figures."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = files("study.reporting")
    environment = Environment(
        loader=FileSystemLoader(str(folder)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("page.html.j2")
    assets = {
        name: (folder / name).read_text(encoding="utf-8") for name in ("style.css", "sort.js")
    }
    return page.render(
        document=document,
        style=assets["style.css"],
        script=assets["sort.js"],
        inline_svg=inline_svg,
        sort_value=sort_value,
    )


def inline_svg(figure: Figure) -> str:
    """Return a figure as an element of the page, with its texts for screen readers.

    Ids inside the figure are prefixed with its name, because the page has many figures; ids that
    nothing refers to are removed.
    """
    body = figure.svg[figure.svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.S)
    body = re.sub(r' id="[A-Za-z.]+(_\w+)*_\d+"', "", body)
    body = re.sub(r'(id="|url\(#|xlink:href="#)', rf"\g<1>{figure.name}-", body)
    for color, name in THEMED.items():
        body = body.replace(color, f"var(--{name}, {color})")
    opening, rest = body.split(">", 1)
    view = re.search(r'viewBox="[^"]+"', opening)
    title, description = escape(figure.title), escape(figure.description)
    label = f'aria-labelledby="{figure.name}-title {figure.name}-words"'
    size = f"min-width:{min(figure.width, 340):.0f}px;max-width:{MAX_SCALE * figure.width:.0f}px"
    if figure.wide:
        size = f"min-width:{figure.width:.0f}px;max-width:{MAX_SCALE * figure.width:.0f}px"
    return (
        f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" {view.group() if view else ""} '
        f'role="img" {label} style="{size}">'
        f'<title id="{figure.name}-title">{title}</title>'
        f'<desc id="{figure.name}-words">{description}</desc>{rest}'
    )


def sort_value(column: Column, row: Row) -> str:
    """Return the value that a table cell is sorted by: the unrounded number."""
    value = row.get(column.key)
    return "" if value is None else str(value)


def to_markdown(document: Document) -> str:
    """Return the report as Markdown, with the same content as the page."""
    parts = [f"# {document.title}", document.subtitle]
    for section in document.sections:
        parts.append(f"## {section.title}")
        parts += [_render_block(block) for block in section.blocks]
    return "\n\n".join(part for part in parts if part) + "\n"


def _render_block(block: Block) -> str:
    if isinstance(block, Prose):
        return block.text
    if isinstance(block, Bullets):
        return "\n".join(f"- {item}" for item in block.items)
    if isinstance(block, Figure):
        # A closing bracket would end the alternative text.
        description = block.description.replace("[", "(").replace("]", ")")
        return f"![{description}](figures/{block.name}.svg)\n\n**{block.title}.** {block.caption}"
    return f"{block.caption}\n\n{render_table(block.frame, block.columns, 'md').rstrip()}"
