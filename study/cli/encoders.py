"""Commands that need an encoder and no study: ``study pretrain`` and ``study embed``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from study.cli.options import (
    AddressOption,
    InlineOption,
    Set,
    StorageOption,
    TrackingOption,
    UntrackedOption,
    WaitOption,
    complete_pretraining,
    merge_overrides,
)


class OnError(StrEnum):
    """What to do with a molecule that cannot be featurized."""

    STOP = "stop"
    NAN = "nan"


def pretrain(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A pretraining file (YAML) or a preset.",
            autocompletion=complete_pretraining,
        ),
    ],
    overrides: Set = None,
    storage: StorageOption = None,
    tracking_uri: TrackingOption = None,
    address: AddressOption = None,
    inline: InlineOption = False,
    untracked: UntrackedOption = False,
    wait: WaitOption = False,
) -> None:
    """Pretrain an encoder on unlabeled molecules, for use in study files."""
    from study.pretraining.config import read_pretraining
    from study.pretraining.run import run_pretraining

    spec = read_pretraining(file, merge_overrides(overrides, storage, tracking_uri, address))
    run_pretraining(spec, ray=not inline, mlflow=not untracked, wait=wait)


def embed(
    table: Annotated[Path, typer.Argument(metavar="IN.csv", help="Table with a SMILES column.")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT.npy", help="File to write: float32 array (n, d).")
    ],
    modality: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the modality, e.g. graph.")
    ],
    weights: Annotated[
        str,
        typer.Option(
            metavar="PATH", help="Folder written by `study pretrain`, or a checkpoint file."
        ),
    ] = "random",
    options: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", help="Option of the modality (repeatable)."),
    ] = None,
    smiles_column: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Column with the SMILES (default: 'smiles' in any case)."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of random starting weights.")] = 0,
    on_error: Annotated[
        OnError,
        typer.Option(help="If a molecule cannot be featurized: stop, or write a row of NaN."),
    ] = OnError.STOP,
) -> None:
    """Write the embeddings of a table of molecules, one row per row of the table."""
    from study.prediction.embed import EmbeddingRequest, embed_table

    request = EmbeddingRequest(
        table=table,
        column=smiles_column,
        modality=modality,
        weights=weights,
        options=tuple(options or ()),
        seed=seed,
        skip_bad=on_error is OnError.NAN,
    )
    typer.echo(embed_table(request, out), nl=False)
