"""Files of a pretraining: molecules, features, history and checkpoints."""

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
    """Paths of the files of one pretraining.

    Attributes
    ----------
    folder : str
        Folder of weights, in which weights and card are written.
    features : str
        Feature store that all studies of the storage share.
    """

    folder: str
    features: str

    @classmethod
    def of(cls, run: RunConfig, name: str) -> PretrainingFolders:
        """Return the folders of a pretraining below its storage."""
        root = Path(run.storage).resolve()
        return cls(str(root / "weights" / name), str(root / "cache" / "features"))

    def to_json(self) -> dict[str, str]:
        """Convert to JSON values."""
        return asdict(self)

    @property
    def home(self) -> Path:
        """Folder of weights."""
        return Path(self.folder)

    @property
    def manifest(self) -> Path:
        """File with the identity and the configuration of the pretraining in the folder."""
        return self.home / "pretraining.json"

    @property
    def history(self) -> Path:
        """File with the measures of every epoch."""
        return self.home / "epochs.json"

    @property
    def molecules(self) -> Path:
        """File with the molecules, for the processes that train; removed in the end."""
        return self.home / "molecules.json"

    @property
    def left_out(self) -> Path:
        """File with every molecule that was left out, by reason."""
        return self.home / "left_out.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoint from which training resumes; removed in the end."""
        return self.home / "checkpoint"

    @property
    def scratch(self) -> Path:
        """Folder of temporary files of the executor; removed in the end."""
        return self.home / "scratch"


def build_component(component: Component) -> Any:  # noqa: ANN401 (the class that the registry names)
    """Build the modality or objective that a component of a file describes."""
    return Registry(component.key).load(component.name)(**component.options)


class StoredModality:
    """A modality that takes the features of known molecules from memory.

    A molecule that is not among them (a randomized SMILES) is featurized. All other attributes
    are those of the modality.
    """

    def __init__(self, modality: Modality, features: ModalityFeatures) -> None:
        self._modality, self._features = modality, features
        self._rows = {smiles: row for row, smiles in enumerate(features.smiles)}

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (any attribute of the modality)
        """Return an attribute of the modality."""
        return getattr(self._modality, name)

    def featurize(self, smiles: str) -> Mapping[str, Any]:
        """Return the stored record of a molecule, or featurize it."""
        row = self._rows.get(smiles)
        if row is None:
            return self._modality.featurize(smiles)
        return {name: field[row] for name, field in self._features.fields.items()}


def represent(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Compute the features of a shard: the task of a worker.

    Parameters
    ----------
    payload : mapping
        ``store`` (folder), ``modality`` (configuration), ``bucket`` and ``smiles``.

    Returns
    -------
    dict
        ``refused``: the molecules that cannot be represented, with the error message of each.
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
        refused = _find_refused(modality, shard.smiles)
        accepted = tuple(smiles for smiles in shard.smiles if smiles not in refused)
        store.fill(modality, Shard(shard.bucket, accepted))
        return {"refused": refused}
    return {"refused": {}}


def _find_refused(modality: Modality, molecules: tuple[str, ...]) -> dict[str, str]:
    """Return the molecules that cannot be represented, with the error message of each."""
    messages = {}
    for smiles in molecules:
        try:
            modality.featurize(smiles)
        except ModalityError as error:
            messages[smiles] = str(error)
    return messages


INTERVAL = 0.5
"""Seconds between two readings of the history file."""
Epoch = Mapping[str, float]
"""Measures of one epoch by name: ``epoch``, ``training_loss`` and all held-out measures."""


@contextmanager
def watch_history(path: Path, epochs: int, progress: ProgressCallback) -> Iterator[None]:
    """Report every epoch that is added to a history file while the block runs.

    The training may run on another machine that shares the file.

    Parameters
    ----------
    path : Path
        The history file.
    epochs : int
        Maximum number of epochs.
    progress : ProgressCallback
    """
    ended = Event()
    before = read_history(path)
    if before:
        progress.note(f"continuing after epoch {len(before)}")
    progress.stage("epochs", epochs - len(before))
    watcher = Thread(target=_watch, args=(path, len(before), progress, ended), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _watch(path: Path, reported: int, progress: ProgressCallback, ended: Event) -> None:
    last = False
    while not last:
        last = ended.wait(INTERVAL)  # after the end, the file is read once more
        epochs = read_history(path)
        for epoch in epochs[reported:]:
            progress.advance(format_epoch(epoch))
        reported = max(reported, len(epochs))


def read_history(path: Path) -> list[Epoch]:
    """Read the epochs in a history file; a missing file has none."""
    if not path.is_file():
        return []
    epochs: list[Epoch] = json.loads(path.read_text(encoding="utf-8"))
    return epochs


def format_epoch(epoch: Epoch) -> str:
    """Format the measures of an epoch as one line."""
    measures = {k: v for k, v in epoch.items() if k not in ("epoch", "training_loss")}
    held_out = ", ".join(f"{name} {value:.4f}" for name, value in measures.items())
    return f"epoch {epoch['epoch']}: loss {epoch['training_loss']:.4f}; held out: {held_out}"


def format_summary(card: ModelCard, home: Path) -> list[str]:
    """Return the lines that describe finished weights and how to use them in a study file."""
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
    """Return the lines of a study file that define a modality with these weights."""
    values = {"modality": card.modality, **card.options, "weights": str(home)}
    values["sha256"] = card.sha256
    name = card.name.replace("-", "_")
    name = name if name[0].isalpha() else f"w{name}"  # a modality's name begins with a letter
    return [f"{name}:", *(f"  {key}: {json.dumps(value)}" for key, value in values.items())]
