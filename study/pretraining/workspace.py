"""Folders of a pretraining: its molecules, features, history and checkpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

from modalities import Modality, ModalityError, ModalityFeatures
from modalities.weights.model_card import ModelCard
from study.config.components import Component
from study.config.study import RunConfig
from study.plugins.registry import Registry
from study.progress import ProgressCallback


@dataclass(frozen=True)
class PretrainingFolders:
    """Files of one pretraining.

    Attributes
    ----------
    folder : str
        Folder of weights: where weights and card will be.
    features : str
        Store of features that all studies of the storage share.
    """

    folder: str
    features: str

    @classmethod
    def of(cls, run: RunConfig, name: str) -> PretrainingFolders:
        """Return the places below the storage of a pretraining."""
        root = Path(run.storage).resolve()
        return cls(str(root / "weights" / name), str(root / "cache" / "features"))

    def to_json(self) -> dict[str, str]:
        """Return JSON values."""
        return asdict(self)

    @property
    def home(self) -> Path:
        """The folder of weights."""
        return Path(self.folder)

    @property
    def begun(self) -> Path:
        """What was begun here: the file's content and its identity."""
        return self.home / "pretraining.json"

    @property
    def diary(self) -> Path:
        """Numbers of every epoch."""
        return self.home / "epochs.json"

    @property
    def molecules(self) -> Path:
        """Molecules used and held out, for the processes that train; removed in the end."""
        return self.home / "molecules.json"

    @property
    def left_out(self) -> Path:
        """Every molecule that was left out, with the reason."""
        return self.home / "left_out.json"

    @property
    def checkpoints(self) -> Path:
        """State to go on from; removed in the end."""
        return self.home / "checkpoint"

    @property
    def scratch(self) -> Path:
        """Files of the executor; removed in the end."""
        return self.home / "scratch"


def build_component(word: Component) -> Any:  # noqa: ANN401 (a modality or an objective, as the vocabulary says)
    """Build what a word stands for, with its options."""
    return Registry(word.key).load(word.name)(**word.options)


class StoredModality:
    """A modality that looks a molecule up before it featurizes; in all else the modality itself.

    A molecule that is not in the table (a randomized SMILES) is featurized.
    """

    def __init__(self, modality: Modality, features: ModalityFeatures) -> None:
        self._modality, self._features = modality, features
        self._rows = {text: row for row, text in enumerate(features.smiles)}

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (any attribute of the modality)
        """Return the modality's own attribute."""
        return getattr(self._modality, name)

    def featurize(self, smiles: str) -> Mapping[str, Any]:
        """Return the stored record of a molecule, or make one."""
        row = self._rows.get(smiles)
        if row is None:
            return self._modality.featurize(smiles)
        return {name: field[row] for name, field in self._features.fields.items()}


def represent(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Make the features of a shard; ``{store, modality, bucket, smiles}`` -> those refused.

    The answer ``refused`` gives the reason of each molecule that cannot be represented.
    """
    from pathlib import Path

    from modalities import FeatureStore, Shard
    from study.config.components import EncoderConfig

    store = FeatureStore(Path(payload["store"]))
    modality = build_component(EncoderConfig.model_validate(payload["modality"]))
    shard = Shard(payload["bucket"], tuple(payload["smiles"]))
    try:
        store.fill(modality, shard)
    except ModalityError:
        refused = _refused(modality, shard.smiles)
        kept = tuple(text for text in shard.smiles if text not in refused)
        store.fill(modality, Shard(shard.bucket, kept))
        return {"refused": refused}
    return {"refused": {}}


def _refused(modality: Modality, smiles: tuple[str, ...]) -> dict[str, str]:
    reasons = {}
    for text in smiles:
        try:
            modality.featurize(text)
        except ModalityError as error:
            reasons[text] = str(error)
    return reasons


INTERVAL = 0.5
"""Seconds between two looks at the diary of the process that trains."""
Epoch = Mapping[str, float]
"""Numbers of one epoch: ``epoch``, ``training_loss`` and every held-out measure by name."""


@contextmanager
def watch_history(diary: Path, epochs: int, told: ProgressCallback) -> Iterator[None]:
    """Tell of every epoch that is written into a diary while the block runs, wherever it runs."""
    ended = Event()
    before = read_history(diary)
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


def _watch(diary: Path, seen: int, told: ProgressCallback, ended: Event) -> None:
    last = False
    while not last:
        last = ended.wait(INTERVAL)  # one more look after the end
        epochs = read_history(diary)
        for epoch in epochs[seen:]:
            told.advance(format_epoch(epoch))
        seen = max(seen, len(epochs))


def read_history(path: Path) -> list[Epoch]:
    """Return the epochs written down so far."""
    if not path.is_file():
        return []
    epochs: list[Epoch] = json.loads(path.read_text(encoding="utf-8"))
    return epochs


def format_epoch(epoch: Epoch) -> str:
    """Write the numbers of an epoch as one line."""
    measures = {k: v for k, v in epoch.items() if k not in ("epoch", "training_loss")}
    held_out = ", ".join(f"{name} {value:.4f}" for name, value in measures.items())
    return f"epoch {epoch['epoch']}: loss {epoch['training_loss']:.4f}; held out: {held_out}"


def format_summary(card: ModelCard, home: Path) -> list[str]:
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
        *(f"  {line}" for line in format_study_hint(card, home)),
    ]


def format_study_hint(card: ModelCard, home: Path) -> list[str]:
    """Return the YAML of a modality with these weights."""
    values = {"modality": card.modality, **card.options, "weights": str(home)}
    values["sha256"] = card.sha256
    name = card.name.replace("-", "_")
    name = name if name[0].isalpha() else f"w{name}"
    return [f"{name}:", *(f"  {key}: {json.dumps(value)}" for key, value in values.items())]
