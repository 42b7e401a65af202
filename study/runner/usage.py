"""The shared files of a storage that a study uses, by the identities in their names.

The ledger, the curated tables, the features, the embeddings and the checkpoints of a storage serve
all its studies. Which of them a study uses follows from its file, data set and split, under every
version of the code that has results of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from modalities import ModalityFeatures
from modalities.store.feature_store import feature_folder
from study.artifacts.embeddings import encoder_job_for
from study.artifacts.study_data import StudyData
from study.data.cache import entry_key
from study.errors import InputError
from study.results.study_results import Study
from study.storage.storage import Storage

KINDS: Mapping[str, str] = {
    "results": "ledger",
    "tables": "cache/datasets",
    "features": "cache/features",
    "embeddings": "cache/embeddings",
    "checkpoints": "cache/checkpoints",
}
"""The kinds of shared files, and their folders in a storage."""


@dataclass(frozen=True)
class StudyUsage:
    """Shared files that a study uses.

    Attributes
    ----------
    trials : frozenset of str
        Identities of its trials.
    jobs : frozenset of str
        Identities of its encoder jobs.
    tables : frozenset of str
        Keys of its curated tables.
    features : mapping of str to frozenset of str
        Digests of its tables of features, by the folder of the featurizer version.
    """

    trials: frozenset[str]
    jobs: frozenset[str]
    tables: frozenset[str]
    features: Mapping[str, frozenset[str]]

    def includes(self, name: str) -> bool:
        """Return whether the study uses a shared file; `name` is its path in the storage.

        A bucket of features is used by every study with that featurizer version, whatever its
        molecules.
        """
        match PurePosixPath(name).parts:
            case ("ledger", file):
                return _identity(file) in self.trials
            case ("cache", "datasets", file):
                return _identity(file) in self.tables
            case ("cache", "embeddings", file):
                return _identity(file) in self.jobs
            case ("cache", "checkpoints", file):
                return _identity(file) in self.jobs | self.trials
            case ("cache", "features", folder, "buckets", _):
                return folder in self.features
            case ("cache", "features", folder, "tables", file):
                return _identity(file) in self.features.get(folder, frozenset())
        return False


def find_usage(study: Study) -> StudyUsage:
    """Return the shared files that an opened study uses, under every version with results.

    Errors are those of building its modalities.
    """
    trials, jobs = set[str](), set[str]()
    features: dict[str, set[str]] = {}
    configs = {f.key: f.config for arm in study.plan.arms for f in arm.features}
    for data in _iterate_versions(study):
        for trial in study.plan.trials():
            trials.add(data.trial_id(trial))
            found = (encoder_job_for(feature, trial) for feature in trial.arm.features)
            jobs.update(data.job_id(job) for job in found if job is not None)
        for config in configs.values():
            version = data.featurizer_version(config)
            table = ModalityFeatures(version, data.dataset.smiles, {})
            features.setdefault(feature_folder(version), set()).add(table.digest)
    return StudyUsage(
        frozenset(trials),
        frozenset(jobs),
        _find_table_keys(study),
        {folder: frozenset(digests) for folder, digests in features.items()},
    )


def list_shared_files(root: Storage) -> dict[str, dict[str, int]]:
    """Return the shared files of a storage by kind: bytes by path in the storage."""
    return {kind: root.sizes(folder) for kind, folder in KINDS.items()}


def _iterate_versions(study: Study) -> Iterator[StudyData]:
    """Yield the data of a study with the identities of each version, the current one included."""
    for version in study.versions:
        yield version.applied_to(study.data)
    if not study.versions:
        yield study.data


def _find_table_keys(study: Study) -> frozenset[str]:
    """Return the key of the curated table; none if its source files are gone or have changed."""
    try:
        return frozenset({entry_key(study.spec.data)})
    except (InputError, OSError):
        return frozenset()


def _identity(file: str) -> str:
    """Return the identity in a file name, whatever its suffixes: ``.trial``, ``.trial.corrupt``."""
    return file.partition(".")[0]
