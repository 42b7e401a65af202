"""The command ``study scaling``: what less training data costs, and what it is enough for."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class ScalingFormat(StrEnum):
    """How the scaling of a study is printed."""

    TABLE = "table"
    MD = "md"
    CSV = "csv"
    JSON = "json"


def scaling(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="A launched study with several fractions.")
    ],
    storage: Annotated[str, typer.Option("--storage", help="Folder of results.")] = "studies",
    kind: Annotated[
        ScalingFormat, typer.Option("--format", help="How to print.")
    ] = ScalingFormat.TABLE,
) -> None:
    """Print learning curves, power laws, data-efficiency fractions and claims across fractions."""
    from study.analysis.evidence import Evidence
    from study.declared import contrasts_of
    from study.reading import study_name
    from study.record import read_folder
    from study.report.scaling_text import scaling_parts, scaling_text
    from study.storage import Storage

    name = study_name(study)
    record = read_folder(Storage(storage).below(name))
    evidence = Evidence(record, contrasts_of(record.spec, record.plan))
    typer.echo(scaling_text(scaling_parts(evidence), kind.value), nl=False)
