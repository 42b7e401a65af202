"""Commands about odor data: ``study data fetch`` and ``study data audit``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from study.cli.options import File, Set, StorageOption, read_spec

if TYPE_CHECKING:
    from study.config.study import StudySpec

RAREST = 10
"""Number of labels with the fewest positives that an audit lists."""


def fetch(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to download to.")],
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="ARCHIVE", help="Download only this archive (repeatable)."),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Download from a mirror of the files.")
    ] = None,
) -> None:
    """Download the public odor archives and verify the sha256 of every file."""
    typer.echo(_fetch_with_progress(folder, only or [], base_url), nl=False)


def audit(file: File, overrides: Set = None, storage: StorageOption = None) -> None:
    """Show how a study's data set was curated and what its split leaks."""
    typer.echo(_format_audit(read_spec(file, overrides, storage)), nl=False)


def _fetch_with_progress(folder: Path, only: Sequence[str], base_url: str | None) -> str:
    """Download the archives with a progress bar; return a summary with the terms of use."""
    from rich.progress import Progress

    from study.data import archive_terms, fetch_archives

    with Progress(transient=True) as bar:
        task = bar.add_task("download", total=None)

        def show_progress(name: str, done: int, total: int) -> None:
            bar.update(task, description=name, completed=done, total=total)

        report = fetch_archives(folder, only=only, base_url=base_url, progress=show_progress)
    return (
        f"{archive_terms()}\n\n{len(report.fetched)} files downloaded, {len(report.present)} "
        "already present; every sha256 matches\n"
        f"use them with: export OLFACTION_ARCHIVE={folder.resolve()}\n"
    )


def _format_audit(spec: StudySpec) -> str:
    """Build the data set and split of a study; return curation, labels and leaks as text."""
    from study.data import build_dataset, describe
    from study.runner.prepare import build_split
    from study.splits import audit_leakage

    dataset = build_dataset(spec.data)
    description = describe(dataset)
    split = build_split(spec, dataset)
    leaks = audit_leakage(split, dataset.smiles, dataset.labels)
    rarest = description.labels[-RAREST:]
    lines = [f"{name:<26}{value}" for name, value in description.facts]
    lines += ["", "curation"]
    for name, before, after, note in description.steps:
        lines.append(f"  {name:<48}{before:>7} -> {after:>6}  {note}".rstrip())
    lines += ["", f"the {len(rarest)} labels with the fewest positives"]
    lines += [f"  {name:<24}{count:>6}  {share:>6}" for name, count, share in rarest]
    lines += ["", f"split     {split.scheme} groups, digest {split.digest[:16]}"]
    for row in leaks.rows():
        lines += [f"  fold {row['fold']} of repeat {row['repeat']}"]
        figures = {key: value for key, value in row.items() if key not in ("fold", "repeat")}
        lines += [f"    {key:<24}{value}" for key, value in figures.items()]
    return "\n".join(lines) + "\n"
