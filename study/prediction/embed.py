"""Embeddings of a user's molecules by any encoder."""

from __future__ import annotations

import io
from collections.abc import Mapping
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
    """What is to be embedded, and how.

    Attributes
    ----------
    table : Path
    column : str or None
        Column of the SMILES, which are made canonical, stereo included; None: ``smiles`` in any
        case.
    modality : str
        Word of the modality.
    weights : str
        ``random``, a folder of weights with a card, or a checkpoint file.
    options : tuple of str
        ``key=value`` of the modality; those of the card need not be given.
    seed : int
        Seed of random starting weights.
    skip_bad : bool
        Whether a molecule that cannot be represented becomes a row of NaN, and no error.
    """

    table: Path
    column: str | None
    modality: str
    weights: str = "random"
    options: tuple[str, ...] = ()
    seed: int = 0
    skip_bad: bool = False


def complete_options(request: EmbeddingRequest) -> dict[str, Any]:
    """Return every option of the modality: given ones, the card's, defaults."""
    given = dict(map(_pair, request.options))
    if request.weights != "random":
        file = weights_file(request.weights)
        card = None if file is None else find_model_card(file)
        if card is not None:
            given = {**_agreed(card, request, given), "sha256": card.sha256}
        given["weights"] = request.weights
    return Registry("modality").complete(request.modality, given)


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--option takes KEY=VALUE, for example layers=3, not '{text}'")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"--option {text}: the value is not YAML") from error


def _agreed(card: ModelCard, request: EmbeddingRequest, given: Options) -> Options:
    """Return the card's options, which what was given may repeat but not contradict."""
    if card.modality != request.modality:
        raise InputError(
            f"weights {request.weights} are for --modality {card.modality} (so says their card), "
            f"not {request.modality}"
        )
    other = card.differences(given)
    if other:
        said = ", ".join(f"{name}={value}" for name, value in other.items())
        raise InputError(
            f"the card of {request.weights} says {said}; leave out --option {', '.join(other)}"
        )
    return {**card.options, **given}


def weights_file(weights: str) -> Path | None:
    """Return the file of weights; None for what is no single file (a language model's folder)."""
    try:
        return find_weights(weights)
    except ModalityError:
        return None


BATCH = 256
SHOWN = 10


def embed_table(request: EmbeddingRequest, out: Path) -> str:
    """Write the embeddings of a table, float32 (n, d), and return what was done as text.

    Raises
    ------
    InputError
        The table, an option, the weights or a molecule cannot be had; nothing is written.
    """
    if not out.resolve().parent.is_dir():
        raise InputError(f"{out}: there is no folder {out.resolve().parent} to write it to")
    options = complete_options(request)
    modality: Modality = Registry("modality").load(request.modality)(**options)
    rows = _molecules(request)
    encoder = modality.encoder(seed=request.seed)
    told = build_progress(Console(stderr=True))
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


def _molecules(request: EmbeddingRequest) -> list[str]:
    """Canonical SMILES in row order; one that cannot be parsed stays as it is written."""
    if not request.table.is_file():
        raise InputError(f"there is no table {request.table}")
    rows = read_rows(request.table)
    column = _column(request, tuple(rows[0]))
    texts = [row[column].strip() for row in rows]
    found = [parse_structure(text, "isomeric") for text in texts]
    return [text if s is None else s.smiles for text, s in zip(texts, found, strict=True)]


def _column(request: EmbeddingRequest, header: tuple[str, ...]) -> str:
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
    modality: Modality, rows: list[str], told: ProgressCallback
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


def _check(request: EmbeddingRequest, refused: Mapping[int, str]) -> None:
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
    told: ProgressCallback,
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
    request: EmbeddingRequest,
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
