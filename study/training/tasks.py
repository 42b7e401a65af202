"""The work of a study as functions of plain values: what executors call, anywhere."""

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
    """Make the features of one shard; ``{store, choice, bucket, smiles}`` -> count."""
    choice = ModalityConfig.model_validate(payload["choice"])
    shard = Shard(payload["bucket"], tuple(payload["smiles"]))
    with storage_errors():
        made = feature_store(Storage(payload["store"])).fill(build_modality(choice), shard)
    return {"made": made}


def encode(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Run one encoder job and keep its embeddings; ``{study, job, threads, gpu}`` -> seconds.

    In a group of processes all of them call this, and the first one writes.
    """
    from study.artifacts.embeddings import EncoderJob
    from study.training.checkpoints import StoredCheckpoints
    from study.training.distributed import current_process_group, torch_settings
    from study.training.encoders import run_encoder_job

    data, ranks = _inputs(payload), current_process_group(gpu=payload.get("gpu", False))
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
    """Train the heads of a pack and write each to the ledger as it ends.

    ``{study, ledger, trials, threads, gpu}`` -> seconds, and by identity the ``cause`` and the
    ``traceback`` of each member that failed.
    Members that the ledger has already (a pack that is tried again) are not trained.
    """
    from study.results.ledger import Ledger
    from study.training.distributed import current_process_group, torch_settings
    from study.training.packs import run_pack

    data, ledger = _inputs(payload), Ledger(Storage(payload["ledger"]))
    device, started = (
        current_process_group(gpu=payload.get("gpu", False)).device,
        time.perf_counter(),
    )
    failed: dict[str, dict[str, str]] = {}
    with torch_settings(payload["threads"]):
        for ended in run_pack(_missing(payload, data, ledger), data, device=device):
            if ended.result is None:
                why = {"cause": ended.cause, "traceback": ended.traceback}
                failed[data.trial_id(ended.trial)] = why
            else:
                ledger.put(ended.result)
    return {"seconds": time.perf_counter() - started, "failed": failed}


def trial(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Run one trial that trains encoders or searches, and write it to the ledger.

    As `pack`, with one trial; these keep checkpoints. In a group of processes all of them call
    this, and the first one writes.
    """
    from study.planning.trials import Trial
    from study.results.ledger import Ledger
    from study.training.checkpoints import StoredCheckpoints
    from study.training.distributed import current_process_group, torch_settings
    from study.training.search.trial import run_searched_trial
    from study.training.trial import run_trial

    data, ranks = _inputs(payload), current_process_group(gpu=payload.get("gpu", False))
    spec = Trial.from_json(payload["trials"][0])
    checkpoint = StoredCheckpoints(data.checkpoints, data.trial_id(spec))
    run = run_searched_trial if spec.arm.search else run_trial
    with torch_settings(payload["threads"]), ranks.named_errors():
        result = run(spec, data, ranks, checkpoint)
    if ranks.is_first:
        Ledger(Storage(payload["ledger"])).put(result)
        checkpoint.clear()
    return {"seconds": result.seconds, "failed": {}}


def _missing(payload: Mapping[str, Any], data: StudyData, ledger: Ledger) -> list[Trial]:
    from study.planning.trials import Trial

    trials = [Trial.from_json(each) for each in payload["trials"]]
    known = ledger.ids() if len(trials) > 1 else set()
    return [each for each in trials if data.trial_id(each) not in known]


def _inputs(payload: Mapping[str, Any]) -> StudyData:
    """Read a study's inputs once a process."""
    return _load(payload["study"], payload["digest"])


@lru_cache(maxsize=2)
def _load(folder: str, digest: str) -> StudyData:  # noqa: ARG001 (the digest tells a changed folder)
    return StudyData.load(folder)
