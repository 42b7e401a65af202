"""A report as Markdown, with its figures and tables beside it."""

from __future__ import annotations

from study.report.document import Block, Bullets, Document, Figure, Prose
from study.report.rendering import render


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
    return f"{block.caption}\n\n{render(block.frame, block.columns, 'md').rstrip()}"
