"""Embed the molecules of a user's table with any encoder."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from rich.console import Console

from modalities import Modality, ModalityError, ModalityFeatures, find_weights, sha256_of
from modalities.weights.model_card import ModelCard, find_model_card
from study.data.chemistry import parse_structure
from study.data.tables import read_rows
from study.errors import InputError
from study.plugins.registry import Registry
from study.progress import ProgressCallback, build_progress
from study.storage.storage import write_atomic

Options = Mapping[str, Any]


@dataclass(frozen=True)
class EmbeddingRequest:
    """Request to embed the molecules of a table.

    Attributes
    ----------
    table : Path or None
        None: the molecules do not come from a file.
    column : str or None
        Column with the SMILES, which are canonicalized with stereochemistry; None: ``smiles`` in
        upper or lower case.
    modality : str
        Name of the modality.
    weights : str
        ``random``, a folder of weights with a model card, or a checkpoint file.
    options : tuple of str
        Options of the modality as ``key=value``; those of the model card can be left out.
    seed : int
        Seed of random initial weights.
    skip_bad : bool
        Whether a molecule that cannot be featurized becomes a row of NaN instead of an error.
    """

    table: Path | None
    column: str | None
    modality: str
    weights: str = "random"
    options: tuple[str, ...] = ()
    seed: int = 0
    skip_bad: bool = False


def complete_options(request: EmbeddingRequest) -> dict[str, Any]:
    """Return all options of the modality: those of the request, of the model card, defaults."""
    options = dict(map(_parse_option, request.options))
    if request.weights != "random":
        file = find_weights_file(request.weights)
        card = None if file is None else find_model_card(file)
        if card is not None:
            options = {**_merge_card_options(card, request, options), "sha256": card.sha256}
        options["weights"] = request.weights
    return Registry("modality").complete(request.modality, options)


def _parse_option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--option takes KEY=VALUE, for example layers=3, not '{text}'")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"--option {text}: the value is not YAML") from error


def _merge_card_options(card: ModelCard, request: EmbeddingRequest, options: Options) -> Options:
    """Merge the options of model card and request; they must not contradict each other."""
    if card.modality != request.modality:
        raise InputError(
            f"the model card of weights {request.weights} requires --modality {card.modality}, "
            f"not {request.modality}"
        )
    conflicts = card.differences(options)
    if conflicts:
        values = ", ".join(f"{name}={value}" for name, value in conflicts.items())
        raise InputError(
            f"the model card of {request.weights} has {values}; "
            f"leave out --option {', '.join(conflicts)}"
        )
    return {**card.options, **options}


def find_weights_file(weights: str) -> Path | None:
    """Return the file of weights; None if they are no single file (a language model's folder)."""
    try:
        return find_weights(weights)
    except ModalityError:
        return None


BATCH = 256
MAX_SHOWN = 10


def embed_table(request: EmbeddingRequest, out: Path) -> str:
    """Write the embeddings of a table, float32 (n, d), and return a report as text.

    Raises
    ------
    InputError
        The table, an option, the weights or a molecule is invalid; nothing is written.
    """
    if not out.resolve().parent.is_dir():
        raise InputError(f"{out} cannot be written: there is no folder {out.resolve().parent}")
    rows = _read_molecules(request)
    progress = build_progress(Console(stderr=True))
    try:
        embedded = _embed_rows(rows, request, progress)
    finally:
        progress.close()
    table, refused = embedded.table, embedded.refused
    buffer = io.BytesIO()
    np.save(buffer, table, allow_pickle=False)
    write_atomic(out, buffer.getvalue())
    return _format_report(request, out, table, refused, embedded.weights)


def embed_smiles(
    smiles: Sequence[str],
    modality: str,
    weights: str = "random",
    *,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    skip_bad: bool = False,
    progress: ProgressCallback | None = None,
) -> NDArray[np.float32]:
    """Embed molecules with an encoder, in evaluation mode.

    Parameters
    ----------
    smiles : sequence of str, (n,)
        SMILES, canonicalized with stereochemistry before they are embedded.
    modality : str
        Name of the modality.
    weights : str
        ``random``, a folder of weights with a model card, or a checkpoint file.
    options : mapping, optional
        Options of the modality; those of the model card can be left out.
    seed : int
        Seed of random initial weights.
    skip_bad : bool
        Whether a molecule that cannot be featurized becomes a row of NaN instead of an error.
    progress : ProgressCallback, optional

    Returns
    -------
    ndarray of float32, (n, d)

    Raises
    ------
    InputError
        An option, the weights or a molecule is invalid.
    """
    texts = tuple(f"{key}={yaml.safe_dump(v).strip()}" for key, v in (options or {}).items())
    texts = tuple(text.removesuffix("\n...") for text in texts)
    request = EmbeddingRequest(None, None, modality, weights, texts, seed, skip_bad)
    return _embed_rows(_canonicalize(smiles), request, progress or ProgressCallback()).table


@dataclass(frozen=True)
class _EmbeddedRows:
    """Embeddings of rows (n, d), reasons of refused rows, and a description of the weights."""

    table: NDArray[np.float32]
    refused: Mapping[int, str]
    weights: str


def _embed_rows(
    rows: Sequence[str], request: EmbeddingRequest, progress: ProgressCallback
) -> _EmbeddedRows:
    options = complete_options(request)
    modality: Modality = Registry("modality").load(request.modality)(**options)
    encoder = modality.encoder(seed=request.seed)
    # The first molecule of a file is in its line 2, after the header.
    records, refused = _featurize(modality, rows, progress, first=2 if request.table else 0)
    _check_refused(request, refused)
    embeddings = _embed(modality, encoder, records, progress)
    # Equal molecules are embedded once; refused rows stay NaN.
    table = np.full((len(rows), embeddings.shape[1]), np.nan, dtype=np.float32)
    index = {text: row for row, text in enumerate(records)}
    embedded = [i for i, text in enumerate(rows) if text in index]
    table[embedded] = embeddings[[index[rows[i]] for i in embedded]]
    weights = _describe_weights(modality, encoder, options, request.seed)
    return _EmbeddedRows(table, refused, weights)


def _read_molecules(request: EmbeddingRequest) -> list[str]:
    """Return the canonical SMILES of the table in row order."""
    if request.table is None or not request.table.is_file():
        raise InputError(f"there is no table {request.table}")
    rows = read_rows(request.table)
    column = _find_column(request, tuple(rows[0]))
    return _canonicalize([row[column].strip() for row in rows])


def _canonicalize(texts: Sequence[str]) -> list[str]:
    """Return canonical SMILES; text that cannot be parsed is left unchanged."""
    structures = [parse_structure(text, "isomeric") for text in texts]
    return [text if s is None else s.smiles for text, s in zip(texts, structures, strict=True)]


def _find_column(request: EmbeddingRequest, header: tuple[str, ...]) -> str:
    """Return the requested column, or by default the column named 'smiles' in any case."""
    name = request.column
    matches = [n for n in header if n == name or (name is None and n.casefold() == "smiles")]
    if len(matches) != 1:
        raise InputError(
            f"{request.table} must have one column '{name or 'smiles'}'; its columns: "
            f"{', '.join(header)}; name the right one with --smiles-column"
        )
    return matches[0]


def _featurize(
    modality: Modality, rows: Sequence[str], progress: ProgressCallback, first: int
) -> tuple[dict[str, Any], dict[int, str]]:
    """Featurize every distinct molecule once.

    Returns
    -------
    records : dict of str to record
        Features by SMILES.
    refused : dict of int to str
        Reason why a row was refused, by its number; the first row has the number `first`.
    """
    records: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    distinct = dict.fromkeys(rows)
    progress.stage("features", len(distinct))
    for text in distinct:
        try:
            records[text] = modality.featurize(text)
        except ModalityError as error:
            reasons[text] = str(error)
        progress.advance()
    refused = {row: reasons[text] for row, text in enumerate(rows, first) if text in reasons}
    return records, refused


def _check_refused(request: EmbeddingRequest, refused: Mapping[int, str]) -> None:
    if not refused or request.skip_bad:
        return
    place = f"{request.table} row" if request.table else "molecule"
    lines = [f"{place} {row}: {why}" for row, why in refused.items()]
    more = [f"and {len(lines) - MAX_SHOWN} more"] if len(lines) > MAX_SHOWN else []
    nouns, way_out = ("rows", "--on-error nan") if request.table else ("molecules", "skip_bad=True")
    raise InputError(
        "\n  ".join(
            [
                f"{len(lines)} {nouns} cannot be embedded; nothing was written; correct them, or "
                f"pass {way_out} to leave them empty",
                *lines[:MAX_SHOWN],
                *more,
            ]
        )
    )


def _embed(
    modality: Modality,
    encoder: Any,  # noqa: ANN401 (an encoder is a torch module)
    records: Mapping[str, Any],
    progress: ProgressCallback,
) -> NDArray[np.float32]:
    """Embed the distinct molecules, (m, d)."""
    import torch

    if not records:
        raise InputError("no molecule of the table can be featurized")
    features = ModalityFeatures.stack(modality.version, list(records), list(records.values()))
    rows = np.arange(len(features))
    if not modality.trainable:
        encoder.fit(features, rows)
    encoder.eval()
    starts = range(0, len(features), BATCH)
    progress.stage("embeddings", len(starts))
    parts = []
    with torch.inference_mode():
        for start in starts:
            parts.append(encoder(encoder.collate(features, rows[start : start + BATCH])))
            progress.advance()
    embeddings: NDArray[np.float32] = torch.cat(parts).float().numpy()
    return embeddings


def _describe_weights(modality: Modality, encoder: Any, options: Options, seed: int) -> str:  # noqa: ANN401 (any torch module)
    """Describe the weights of the encoder."""
    if not modality.trainable:
        return "a fitted transform, fitted on the molecules of this table"
    if options.get("weights", "random") == "random":
        return f"random weights from seed {seed}"
    count, file = len(encoder.state_dict()), find_weights_file(str(options["weights"]))
    source = file or options["weights"]
    digest = sha256_of(file) if file else options.get("sha256") or "not checked"
    return f"weights {source}: all {count} tensors of the encoder loaded, sha256 {digest}"


def _format_report(
    request: EmbeddingRequest,
    out: Path,
    table: NDArray[np.float32],
    refused: Mapping[int, str],
    weights: str,
) -> str:
    n, d = table.shape
    lines = [f"{out}: {n} molecules, {d} numbers each, float32", f"{request.modality}: {weights}"]
    if refused:
        lines.append(f"{len(refused)} rows are NaN:")
        lines += [f"  row {row}: {why}" for row, why in refused.items()]
    return "\n".join(lines) + "\n"
