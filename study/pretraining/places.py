"""Where a pretraining keeps its files, as plain text that crosses a process border."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from study.spec import Run


@dataclass(frozen=True)
class Places:
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
    def of(cls, run: Run, name: str) -> Places:
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
