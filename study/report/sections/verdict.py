"""The verdict box: what may be said, in a few sentences."""

from __future__ import annotations

from study.report.document import Block, Bullets, Prose, Section
from study.report.material import Material
from study.report.verdict_box import best_sentence, finding_sentence, missing_sentence


def section(material: Material) -> Section:
    """Say what is best, what the headline contrasts show, and what is missing."""
    found = [best_sentence(material)]
    found += [finding_sentence(material, finding) for finding in material.headlines]
    found += missing_sentence(material)
    blocks: list[Block] = [Bullets(tuple(found))]
    if not material.headlines:
        blocks.append(Prose("No declared contrast has finished trials on both sides yet."))
    return Section("verdict", "Verdict", tuple(blocks))
