"""Embeddings of any table: what ``study embed`` does and prints."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from modalities import Modality, ModalityError, ModalityFeatures, sha256_of
from study.data._chemistry import structure
from study.data._table import read_rows
from study.embed_request import Options, Request, options_of, weights_file
from study.errors import InputError
from study.progress import Reporter, reporter
from study.storage import write_atomic
from study.words import Vocabulary

BATCH = 256
SHOWN = 10


def embed_table(request: Request, out: Path) -> str:
    """Write the embeddings of a table, float32 (n, d), and return what was done as text.

    Raises
    ------
    InputError
        The table, an option, the weights or a molecule cannot be had; nothing is written.
    """
    if not out.resolve().parent.is_dir():
        raise InputError(f"{out}: there is no folder {out.resolve().parent} to write it to")
    options = options_of(request)
    modality: Modality = Vocabulary("modality").load(request.modality)(**options)
    rows = _molecules(request)
    encoder = modality.encoder(seed=request.seed)
    told = reporter(Console(stderr=True))
    try:
        records, refused = _records(modality, rows, told)
        _check(request, refused)
        embeddings = _embeddings(modality, encoder, records, told)
    finally:
        told.close()
    found = np.full((len(rows), embeddings.shape[1]), np.nan, dtype=np.float32)
    place = {text: row for row, text in enumerate(records)}
    kept = [i for i, text in enumerate(rows) if text in place]
    found[kept] = embeddings[[place[rows[i]] for i in kept]]
    buffer = io.BytesIO()
    np.save(buffer, found, allow_pickle=False)
    write_atomic(out, buffer.getvalue())
    return _text(request, out, found, refused, _loaded(modality, encoder, options, request.seed))


def _molecules(request: Request) -> list[str]:
    """Canonical SMILES in row order; one that cannot be parsed stays as it is written."""
    if not request.table.is_file():
        raise InputError(f"there is no table {request.table}")
    rows = read_rows(request.table)
    column = _column(request, tuple(rows[0]))
    texts = [row[column].strip() for row in rows]
    found = [structure(text, "isomeric") for text in texts]
    return [text if s is None else s.smiles for text, s in zip(texts, found, strict=True)]


def _column(request: Request, header: tuple[str, ...]) -> str:
    """Return the column of the SMILES: the one that is asked for, else 'smiles' in any case."""
    asked = request.column
    found = [n for n in header if n == asked or (asked is None and n.casefold() == "smiles")]
    if len(found) != 1:
        raise InputError(
            f"{request.table} must have one column '{asked or 'smiles'}'; its columns: "
            f"{', '.join(header)}; name the right one with --smiles-column"
        )
    return found[0]


def _records(
    modality: Modality, rows: list[str], told: Reporter
) -> tuple[dict[str, Any], dict[int, str]]:
    """Featurize every molecule once; -> records by SMILES, and why rows (from 2) were refused."""
    records: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    distinct = dict.fromkeys(rows)
    told.stage("features", len(distinct))
    for text in distinct:
        try:
            records[text] = modality.featurize(text)
        except ModalityError as error:
            reasons[text] = str(error)
        told.advance()
    refused = {row: reasons[text] for row, text in enumerate(rows, start=2) if text in reasons}
    return records, refused


def _check(request: Request, refused: Mapping[int, str]) -> None:
    if not refused or request.skip_bad:
        return
    lines = [f"{request.table} row {row}: {why}" for row, why in refused.items()]
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    raise InputError(
        "\n  ".join(
            [
                f"{len(lines)} rows cannot be embedded; nothing was written; correct them, or give "
                "--on-error nan",
                *lines[:SHOWN],
                *more,
            ]
        )
    )


def _embeddings(
    modality: Modality,
    encoder: Any,  # noqa: ANN401 (an encoder is a torch module)
    records: Mapping[str, Any],
    told: Reporter,
) -> NDArray[np.float32]:
    """Embed distinct molecules, (m, d)."""
    import torch

    if not records:
        raise InputError("no molecule of the table can be represented")
    features = ModalityFeatures.stack(modality.version, list(records), list(records.values()))
    everything = np.arange(len(features))
    if not modality.trainable:
        encoder.fit(features, everything)
    encoder.eval()
    starts = range(0, len(features), BATCH)
    told.stage("embeddings", len(starts))
    parts = []
    with torch.inference_mode():
        for start in starts:
            parts.append(encoder(encoder.collate(features, everything[start : start + BATCH])))
            told.advance()
    embeddings: NDArray[np.float32] = torch.cat(parts).float().numpy()
    return embeddings


def _loaded(modality: Modality, encoder: Any, options: Options, seed: int) -> str:  # noqa: ANN401 (any torch module)
    """Say what the encoder's weights are."""
    if not modality.trainable:
        return "a fitted transform, fitted on the molecules of this table"
    if options.get("weights", "random") == "random":
        return f"random weights from seed {seed}"
    count, file = len(encoder.state_dict()), weights_file(str(options["weights"]))
    where = file or options["weights"]
    digest = sha256_of(file) if file else options.get("sha256") or "not checked"
    return f"weights {where}: all {count} tensors of the encoder loaded, sha256 {digest}"


def _text(
    request: Request,
    out: Path,
    found: NDArray[np.float32],
    refused: Mapping[int, str],
    loaded: str,
) -> str:
    n, d = found.shape
    lines = [f"{out}: {n} molecules, {d} numbers each, float32", f"{request.modality}: {loaded}"]
    if refused:
        lines.append(f"{len(refused)} rows are NaN:")
        lines += [f"  row {row}: {why}" for row, why in refused.items()]
    return "\n".join(lines) + "\n"
