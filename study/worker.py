"""The work of a study as functions of plain values: what executors call, anywhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from modalities import Shard
from study.choices import ModalityChoice
from study.inputs import Inputs, modality_of, stored
from study.mirror import feature_store
from study.storage import Storage


def featurize(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Make the features of one shard; ``{store, choice, bucket, smiles}`` -> count."""
    choice = ModalityChoice.model_validate(payload["choice"])
    shard = Shard(payload["bucket"], tuple(payload["smiles"]))
    with stored():
        made = feature_store(Storage(payload["store"])).fill(modality_of(choice), shard)
    return {"made": made}


def encode(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Run one encoder job and keep its embeddings; ``{study, job, threads, gpu}`` -> seconds.

    In a group of processes all of them call this, and the first one writes.
    """
    from study.branches import run_job
    from study.checkpoints import StoredCheckpoint
    from study.embeddings import EncoderJob
    from study.numerics import settled
    from study.ranks import here

    inputs, ranks = _inputs(payload), here(gpu=payload.get("gpu", False))
    job = EncoderJob.from_json(payload["job"])
    job_id, started = inputs.job_id(job), time.perf_counter()
    checkpoint = StoredCheckpoint(inputs.checkpoints, job_id)
    with settled(payload["threads"]):
        embeddings = run_job(job, inputs, ranks, checkpoint)
    if ranks.is_first:
        inputs.embedding_store.put(job_id, embeddings)
        checkpoint.clear()
    return {"seconds": time.perf_counter() - started}


def trial(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Run one trial and write it to the ledger; ``{study, ledger, trial, threads, gpu}``.

    Only trials that train encoders or search keep checkpoints: the others take seconds.
    """
    from study.cells import TrialSpec
    from study.checkpoints import StoredCheckpoint
    from study.ledger import Ledger
    from study.numerics import settled
    from study.ranks import here
    from study.search.trial import run_searched
    from study.trial import run_trial

    inputs, ranks = _inputs(payload), here(gpu=payload.get("gpu", False))
    spec = TrialSpec.from_json(payload["trial"])
    checkpoint = StoredCheckpoint(inputs.checkpoints, inputs.trial_id(spec))
    run, long = (run_searched, True) if spec.cell.search else (run_trial, spec.cell.joint)
    with settled(payload["threads"]):
        result = run(spec, inputs, ranks, checkpoint if long else None)
    if ranks.is_first:
        Ledger(Storage(payload["ledger"])).put(result)
        checkpoint.clear()
    return {"seconds": result.seconds}


def _inputs(payload: Mapping[str, Any]) -> Inputs:
    """Read a study's inputs once a process."""
    return _load(payload["study"], payload["digest"])


@lru_cache(maxsize=2)
def _load(folder: str, digest: str) -> Inputs:  # noqa: ARG001 (the digest tells a changed folder)
    return Inputs.load(folder)
