"""What a pretraining tells: a line for every epoch while it runs, and what to do with the end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from modalities._cards import Card
from study.progress import Reporter

INTERVAL = 0.5
"""Seconds between two looks at the diary of the process that trains."""
Epoch = Mapping[str, float]
"""Numbers of one epoch: ``epoch``, ``training_loss`` and every held-out measure by name."""


@contextmanager
def watching(diary: Path, epochs: int, told: Reporter) -> Iterator[None]:
    """Tell of every epoch that is written into a diary while the block runs, wherever it runs."""
    ended = Event()
    before = read_diary(diary)
    if before:
        told.note(f"going on after epoch {len(before)}")
    told.stage("epochs", epochs - len(before))
    watcher = Thread(target=_watch, args=(diary, len(before), told, ended), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _watch(diary: Path, seen: int, told: Reporter, ended: Event) -> None:
    last = False
    while not last:
        last = ended.wait(INTERVAL)  # one more look after the end
        epochs = read_diary(diary)
        for epoch in epochs[seen:]:
            told.advance(epoch_line(epoch))
        seen = max(seen, len(epochs))


def read_diary(path: Path) -> list[Epoch]:
    """Return the epochs written down so far."""
    if not path.is_file():
        return []
    epochs: list[Epoch] = json.loads(path.read_text(encoding="utf-8"))
    return epochs


def epoch_line(epoch: Epoch) -> str:
    """Write the numbers of an epoch as one line."""
    measures = {k: v for k, v in epoch.items() if k not in ("epoch", "training_loss")}
    held_out = ", ".join(f"{name} {value:.4f}" for name, value in measures.items())
    return f"epoch {epoch['epoch']}: loss {epoch['training_loss']:.4f}; held out: {held_out}"


def closing_lines(card: Card, home: Path) -> list[str]:
    """Say what was made, and give the lines a study file needs."""
    measures = ", ".join(
        f"{name} {'undefined' if value is None else f'{value:.4f}'}"
        for name, value in card.measures.items()
        if name != "training_loss"
    )
    return [
        f"\n{card.name}: epoch {card.epochs} kept, held out: {measures}",
        f"weights: {home}",
        "in a study file, under 'modalities':",
        *(f"  {line}" for line in study_lines(card, home)),
    ]


def study_lines(card: Card, home: Path) -> list[str]:
    """Return the YAML of a modality with these weights."""
    values = {"modality": card.modality, **card.options, "weights": str(home)}
    values["sha256"] = card.sha256
    name = card.name.replace("-", "_")
    name = name if name[0].isalpha() else f"w{name}"
    return [f"{name}:", *(f"  {key}: {json.dumps(value)}" for key, value in values.items())]
