"""Tasks of a study: functions of JSON values that executors call in any process."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from modalities import Shard
from study.artifacts.study_data import StudyData, build_modality, storage_errors
from study.config.components import ModalityConfig
from study.storage.mirror import feature_store
from study.storage.storage import Storage

if TYPE_CHECKING:
    from study.planning.trials import Trial
    from study.results.ledger import Ledger


def featurize(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Compute the features of one shard; ``{store, choice, bucket, smiles}`` -> count."""
    choice = ModalityConfig.model_validate(payload["choice"])
    shard = Shard(payload["bucket"], tuple(payload["smiles"]))
    with storage_errors():
        count = feature_store(Storage(payload["store"])).fill(build_modality(choice), shard)
    return {"made": count}


def encode(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Run one encoder job and store its embeddings; ``{study, job, threads, gpu}`` -> seconds.

    All processes of a worker group call this; the first one writes.
    """
    from study.artifacts.embeddings import EncoderJob
    from study.training.checkpoints import StoredCheckpoints
    from study.training.distributed import current_process_group, torch_settings
    from study.training.encoders import run_encoder_job

    data = load_data(payload["study"], payload["digest"])
    ranks = current_process_group(gpu=payload.get("gpu", False))
    job = EncoderJob.from_json(payload["job"])
    job_id, started = data.job_id(job), time.perf_counter()
    checkpoint = StoredCheckpoints(data.checkpoints, job_id)
    with torch_settings(payload["threads"]), ranks.named_errors():
        embeddings = run_encoder_job(job, data, ranks, checkpoint)
    if ranks.is_first:
        data.embedding_store.put(job_id, embeddings)
        checkpoint.clear()
    return {"seconds": time.perf_counter() - started}


def pack(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Train the heads of a pack and write each result to the ledger as it ends.

    ``{study, ledger, trials, threads, gpu}`` -> seconds, and the ``cause`` and ``traceback`` of
    each failed trial by identity. Trials that are already in the ledger, as when a pack is
    retried, are skipped.
    """
    from study.results.ledger import Ledger
    from study.training.distributed import current_process_group, torch_settings
    from study.training.packs import run_pack

    data = load_data(payload["study"], payload["digest"])
    ledger = Ledger(Storage(payload["ledger"]))
    device = current_process_group(gpu=payload.get("gpu", False)).device
    started = time.perf_counter()
    failed: dict[str, dict[str, str]] = {}
    with torch_settings(payload["threads"]):
        for outcome in run_pack(_missing_trials(payload, data, ledger), data, device=device):
            if outcome.result is None:
                failure = {"cause": outcome.cause, "traceback": outcome.traceback}
                failed[data.trial_id(outcome.trial)] = failure
            else:
                ledger.put(outcome.result)
    return {"seconds": time.perf_counter() - started, "failed": failed}


def trial(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Run one trial that trains encoders or searches, and write its result to the ledger.

    Payload and result are those of `pack`, with one trial, but the trial writes checkpoints. All
    processes of a worker group call this; the first one writes.
    """
    from study.planning.trials import Trial
    from study.results.ledger import Ledger
    from study.training.checkpoints import StoredCheckpoints
    from study.training.distributed import current_process_group, torch_settings
    from study.training.search.trial import run_searched_trial
    from study.training.trial import run_trial

    data = load_data(payload["study"], payload["digest"])
    ranks = current_process_group(gpu=payload.get("gpu", False))
    spec = Trial.from_json(payload["trials"][0])
    checkpoint = StoredCheckpoints(data.checkpoints, data.trial_id(spec))
    run = run_searched_trial if spec.arm.search else run_trial
    with torch_settings(payload["threads"]), ranks.named_errors():
        result = run(spec, data, ranks, checkpoint)
    if ranks.is_first:
        Ledger(Storage(payload["ledger"])).put(result)
        checkpoint.clear()
    return {"seconds": result.seconds, "failed": {}}


def _missing_trials(payload: Mapping[str, Any], data: StudyData, ledger: Ledger) -> list[Trial]:
    """Return the trials of a payload without a result; one alone is always run."""
    from study.planning.trials import Trial

    trials = [Trial.from_json(value) for value in payload["trials"]]
    known = ledger.ids() if len(trials) > 1 else set()
    return [trial for trial in trials if data.trial_id(trial) not in known]


@lru_cache(maxsize=2)
def load_data(
    folder: str,
    digest: str,  # noqa: ARG001 (part of the key: a changed folder is loaded again)
) -> StudyData:
    """Load the data of a study, once per process."""
    return StudyData.load(folder)
