"""Commands about odor tables: ``study data fetch`` and ``study data audit``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from study.cli.options import File, Set, StorageOption, read_spec

if TYPE_CHECKING:
    from study.config.study import StudySpec

RAREST = 10
"""Labels an audit names from the sparse end."""


def fetch(
    folder: Annotated[Path, typer.Argument(help="Where the archives go.")],
    only: Annotated[
        list[str] | None, typer.Option(help="Fetch these archives only (repeatable).")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Another place that serves the same files.")
    ] = None,
) -> None:
    """Download the public odor archives, every file checked by its sha256."""
    typer.echo(_fetch(folder, only or [], base_url), nl=False)


def audit(file: File, overrides: Set = None, storage: StorageOption = None) -> None:
    """Show how a study's table was curated and what its split leaks."""
    typer.echo(_format_audit(read_spec(file, overrides, storage)), nl=False)


def _fetch(folder: Path, only: Sequence[str], base_url: str | None) -> str:
    """Download the archives with progress; return what was done and under which terms."""
    from rich.progress import Progress

    from study.data import archive_terms, fetch_archives

    with Progress(transient=True) as bar:
        task = bar.add_task("download", total=None)

        def told(name: str, done: int, total: int) -> None:
            bar.update(task, description=name, completed=done, total=total)

        report = fetch_archives(folder, only=only, base_url=base_url, progress=told)
    return (
        f"{archive_terms()}\n\n{len(report.fetched)} files downloaded, {len(report.present)} "
        "were there; "
        f"every sha256 is right\nuse them with: export OLFACTION_ARCHIVE={folder.resolve()}\n"
    )


def _format_audit(spec: StudySpec) -> str:
    """Build table and split of a study; return curation, labels and leaks as text."""
    from study.data import build_dataset, describe
    from study.runner.prepare import build_split
    from study.splits import audit_leakage

    dataset = build_dataset(spec.data)
    described = describe(dataset)
    split = build_split(spec, dataset)
    audit = audit_leakage(split, dataset.smiles, dataset.labels)
    rarest = described.labels[-RAREST:]
    lines = [f"{name:<26}{value}" for name, value in described.facts]
    lines += ["", "curation"]
    for name, before, after, note in described.steps:
        lines.append(f"  {name:<48}{before:>7} -> {after:>6}  {note}".rstrip())
    lines += ["", f"the {len(rarest)} labels with the fewest positives"]
    lines += [f"  {name:<24}{count:>6}  {share:>6}" for name, count, share in rarest]
    lines += ["", f"split     {split.scheme} groups, digest {split.digest[:16]}"]
    for row in audit.rows():
        lines += [f"  fold {row['fold']} of repeat {row['repeat']}"]
        rest = {key: value for key, value in row.items() if key not in ("fold", "repeat")}
        lines += [f"    {key:<24}{value}" for key, value in rest.items()]
    return "\n".join(lines) + "\n"
