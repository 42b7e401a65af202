"""Commands about the studies of a storage: list, show, rename, delete; and `study schema`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from study.cli.options import LaunchedStudy, ResultsOption
from study.errors import InputError

if TYPE_CHECKING:
    from study.runner.manage import Deletion, FileCount, StudyDescription, StudyOverview
    from study.tracking.open import PagesLocation


class ListFormat(StrEnum):
    """Output formats of lists and descriptions."""

    TABLE = "table"
    JSON = "json"


EXIT_DECLINED = 1
"""Exit code if the user answers no; that of click."""
FormatOption = Annotated[ListFormat, typer.Option("--format", help="Output format.")]
_COLUMNS = ("study", "state", "trials", "data set", "last run (UTC)")


def list_(storage: ResultsOption = "studies", kind: FormatOption = ListFormat.TABLE) -> None:
    """List the studies of a storage, with their state and data."""
    from study.runner.manage import list_studies

    studies = list_studies(storage)
    if kind is ListFormat.JSON:
        typer.echo(_to_json([asdict(study) for study in studies]))
        return
    typer.echo(_format_list(studies) if studies else f"no study has been launched in {storage}")


def show(
    study: LaunchedStudy, storage: ResultsOption = "studies", kind: FormatOption = ListFormat.TABLE
) -> None:
    """Show what a study is, where its files are and how large they are."""
    from study.config.loading import study_name
    from study.runner.manage import describe_study

    description = describe_study(storage, study_name(study))
    as_json = kind is ListFormat.JSON
    typer.echo(_to_json(asdict(description)) if as_json else _format_description(description))


def rename(
    old: LaunchedStudy,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new name.")],
    storage: ResultsOption = "studies",
) -> None:
    """Rename a study; its results and pages stay as they are."""
    from study.config.loading import study_name
    from study.runner.manage import rename_study

    done = rename_study(storage, study_name(old), new)
    typer.echo(f"'{done.old}' is now '{done.new}': {done.folder}")
    typer.echo(
        f"file:    write `name: {done.new}` into your study file, or launch it with "
        f"--set name={done.new}; as it is, it would begin '{done.old}' again"
    )
    again = f"study sync {done.new}{_storage_option(storage)}"
    for line in _format_pages(done.pages, f"`{again}` writes pages of the new name"):
        typer.echo(line)


def delete(
    study: LaunchedStudy,
    storage: ResultsOption = "studies",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed.")
    ] = False,
    keep_shared: Annotated[
        bool,
        typer.Option(
            "--keep-shared", help="Remove the study's folder alone: keep results and embeddings."
        ),
    ] = False,
) -> None:
    """Delete a study and all that no other study of its storage uses."""
    from study.config.loading import study_name
    from study.runner.manage import delete_study

    if not (yes or dry_run or is_terminal()):
        raise InputError("study delete asks on a terminal; give --yes to delete without asking")
    name = study_name(study)
    planned = delete_study(storage, name, dry_run=True, keep_shared=keep_shared)
    typer.echo(_format_deletion(planned))
    for line in _format_pages(planned.pages, ""):
        typer.echo(line)
    if dry_run:
        return
    if not yes and not typer.confirm("Delete it?"):
        typer.echo("nothing was removed")
        raise typer.Exit(EXIT_DECLINED)
    deletion = delete_study(storage, name, keep_shared=keep_shared)
    total = sum(count.size for count in deletion.freed.values())
    typer.echo(f"'{name}' is deleted: {format_size(total)} freed")


def schema(
    pretraining: Annotated[
        bool, typer.Option("--pretraining", help="The schema of pretraining files.")
    ] = False,
) -> None:
    """Print the JSON schema of study files, with which editors check and complete them."""
    from study.config.schema import build_schema
    from study.config.study import StudySpec
    from study.pretraining.config import PretrainingSpec

    typer.echo(_to_json(build_schema(PretrainingSpec if pretraining else StudySpec)))


def is_terminal() -> bool:
    """Return whether somebody can answer a question."""
    return sys.stdin.isatty()


def _to_json(value: object) -> str:
    return json.dumps(value, indent=2, default=str, ensure_ascii=False)


def _storage_option(storage: str) -> str:
    return "" if storage == "studies" else f" --storage {storage}"


def _format_list(studies: list[StudyOverview]) -> str:
    """Return a table of studies, and below it a line for each that has a note."""
    rows: list[tuple[str, ...]] = [_COLUMNS]
    for study in studies:
        trials = "-" if study.planned is None else f"{study.finished}/{study.planned}"
        size = "-" if study.data is None else f"{study.data} ({study.molecules} x {study.labels})"
        failed = f", {study.failed} failed" if study.failed else ""
        last_run = f"{study.last_run:%Y-%m-%d %H:%M}" if study.last_run else "-"
        rows.append((study.name, f"{study.state}{failed}", trials, size, last_run))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, tuple("-" * width for width in widths))
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines += [f"{study.name}: {study.note}" for study in studies if study.note]
    return "\n".join(lines)


def _format_description(study: StudyDescription) -> str:
    """Return a description as lines of a name and a value."""
    overview = study.overview
    failed = f", {overview.failed} failed" if overview.failed else ""
    facts: dict[str, Any] = {
        "study": overview.name,
        "description": study.description,
        "state": f"{overview.state}, {overview.finished} of {overview.planned} trials{failed}",
        "note": overview.note,
        "last run": f"{overview.last_run:%Y-%m-%d %H:%M} UTC" if overview.last_run else "",
        "data set": f"{overview.data}, {overview.molecules} molecules x {overview.labels} labels, "
        f"digest {study.digest[:16]}",
        "split": study.split,
        "fractions": ", ".join(f"{fraction:g}" for fraction in study.fractions),
        "seeds": ", ".join(map(str, study.seeds)),
        "versions": "; ".join(study.versions),
        "file": study.file,
        **study.places,
    }
    lines = [f"{name:<13}{value}" for name, value in facts.items() if value]
    lines += ["", f"{len(study.arms)} arms", *(f"  {arm}" for arm in study.arms)]
    lines += ["", "files that it uses (those outside its folder may serve other studies too)"]
    return "\n".join([*lines, *_format_counts(study.files)])


def _format_deletion(deletion: Deletion) -> str:
    """Return what a deletion removes and keeps, as text."""
    total = sum(count.size for count in deletion.freed.values())
    lines = [f"study '{deletion.name}' in {deletion.storage}: {format_size(total)} to free"]
    lines += _format_counts(deletion.freed)
    kept = {kind: count for kind, count in deletion.kept.items() if count.files}
    if kept:
        lines += [f"kept, in use by {', '.join(deletion.used_by)}", *_format_counts(kept)]
    return "\n".join(lines)


def _format_counts(counts: Mapping[str, FileCount]) -> list[str]:
    return [
        f"  {kind:<13}{count.files:>7} file{'s' if count.files != 1 else ' '}"
        f"{format_size(count.size):>12}"
        for kind, count in counts.items()
    ]


def _format_pages(pages: PagesLocation | None, hint: str) -> list[str]:
    """Return lines about the tracking pages, which stay: how to write and how to remove them."""
    lines = [f"pages:   {hint}"] if hint else []
    if pages is None:
        return lines
    if pages.experiment is None:
        return [*lines, f"pages:   {pages.uri} does not answer; pages in it stay"]
    command = f"mlflow experiments delete --experiment-id {pages.experiment}"
    return [
        *lines,
        f"pages:   those written before stay in {pages.uri}; to remove them:",
        f"         MLFLOW_TRACKING_URI={pages.uri} {command}",
    ]


def format_size(size: int) -> str:
    """Format a number of bytes: ``512 B``, ``3.4 kB``, ``1.2 GB``."""
    value, units = float(size), ("B", "kB", "MB", "GB", "TB")
    for unit in units:
        if value < 1000 or unit == units[-1]:
            return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{size} B"
