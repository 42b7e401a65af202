"""A report as one HTML page and as Markdown."""

from __future__ import annotations

import re
from html import escape
from importlib.resources import files

from study.reporting.document import Block, Bullets, Document, Figure, Prose
from study.reporting.figures._canvas import BAND, INK, PAPER, RULE, SOFT
from study.reporting.formatting import Column, Row, render_table

THEMED = {INK: "ink", SOFT: "soft", RULE: "rule", BAND: "band", PAPER: "paper"}
"""Colors of a figure that follow the page, light or dark."""
ROOM = 1.65
"""CSS pixels a point, at most, that a figure is shown at."""


def to_html(document: Document) -> str:
    """Return the page; styles, script and figures are inside."""
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
    inside = {
        name: (folder / name).read_text(encoding="utf-8") for name in ("style.css", "sort.js")
    }
    return page.render(
        document=document,
        style=inside["style.css"],
        script=inside["sort.js"],
        inline_svg=inline_svg,
        sort_value=sort_value,
    )


def inline_svg(figure: Figure) -> str:
    """Return the drawing as an element of a page, with its words for screen readers.

    Addresses inside it are made its own, since a page has many figures; what nobody points to
    loses its name.
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
    title, words = escape(figure.title), escape(figure.description)
    named = f'aria-labelledby="{figure.name}-title {figure.name}-words"'
    size = f"min-width:{min(figure.width, 340):.0f}px;max-width:{ROOM * figure.width:.0f}px"
    if figure.wide:
        size = f"min-width:{figure.width:.0f}px;max-width:{ROOM * figure.width:.0f}px"
    return (
        f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" {view.group() if view else ""} '
        f'role="img" {named} style="{size}">'
        f'<title id="{figure.name}-title">{title}</title>'
        f'<desc id="{figure.name}-words">{words}</desc>{rest}'
    )


def sort_value(column: Column, row: Row) -> str:
    """Return what an arm is sorted by: the whole number, not the one that is shown."""
    value = row.get(column.key)
    return "" if value is None else str(value)


def to_markdown(document: Document) -> str:
    """Return the same content as the page."""
    parts = [f"# {document.title}", document.subtitle]
    for section in document.sections:
        parts.append(f"## {section.title}")
        parts += [_block(block) for block in section.blocks]
    return "\n\n".join(part for part in parts if part) + "\n"


def _block(block: Block) -> str:
    if isinstance(block, Prose):
        return block.text
    if isinstance(block, Bullets):
        return "\n".join(f"- {item}" for item in block.items)
    if isinstance(block, Figure):
        words = block.description.replace("[", "(").replace("]", ")")  # brackets end the text
        return f"![{words}](figures/{block.name}.svg)\n\n**{block.title}.** {block.caption}"
    return f"{block.caption}\n\n{render_table(block.frame, block.columns, 'md').rstrip()}"
