"""The work of a study as functions of plain values: what executors call, anywhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from modalities import FeatureStore, Shard
from study.choices import ModalityChoice
from study.inputs import Inputs, modality_of


def featurize(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Make the features of one shard; ``{store, choice, bucket, smiles}`` -> count."""
    choice = ModalityChoice.model_validate(payload["choice"])
    shard = Shard(payload["bucket"], tuple(payload["smiles"]))
    made = FeatureStore(Path(payload["store"])).fill(modality_of(choice), shard)
    return {"made": made}


def encode(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Run one encoder job and keep its embeddings; ``{study, job, threads}`` -> seconds."""
    from study.branches import run_job
    from study.embeddings import EncoderJob

    inputs = _inputs(payload)
    job = EncoderJob.from_json(payload["job"])
    started = time.perf_counter()
    inputs.embedding_store.put(inputs.job_id(job), run_job(job, inputs))
    return {"seconds": time.perf_counter() - started}


def trial(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Run one trial and write it to the ledger; ``{study, ledger, trial, threads}`` -> seconds."""
    from study.cells import TrialSpec
    from study.ledger import Ledger
    from study.storage import Storage
    from study.trial import run_trial

    result = run_trial(TrialSpec.from_json(payload["trial"]), _inputs(payload))
    Ledger(Storage(payload["ledger"])).put(result)
    return {"seconds": result.seconds}


def _inputs(payload: Mapping[str, Any]) -> Inputs:
    """Read a study's inputs once a process and fix the number of threads.

    The number of threads can change the last digits of a sum, so it is a number of the study
    and not of the machine.
    """
    import torch

    torch.set_num_threads(payload["threads"])
    return _load(payload["study"], payload["digest"])


@lru_cache(maxsize=2)
def _load(folder: str, digest: str) -> Inputs:  # noqa: ARG001 (the digest tells a changed folder)
    return Inputs.load(Path(folder))
