"""Find arms that build the same model, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion.partitions import LabelPartition, PartitionContext
from modalities import ModalityError, ModalityFeatures
from study.artifacts.study_data import StudyData, build_modality
from study.errors import InputError
from study.planning.plan import Plan
from study.planning.trials import Arm, NamedModality, Trial
from study.plugins.registry import Registry

MOLECULES = 8


def find_shared_embeddings(plan: Plan, data: StudyData) -> Mapping[str, str]:
    """Map each modality that embeds like an earlier one to the key of that one.

    Compares encoders that are neither trained nor fitted: all are built from one seed and applied
    to a few molecules of the table.
    """
    by_name: dict[str, dict[str, NamedModality]] = {}
    for feature in (f for arm in plan.arms for f in arm.features):
        choice = feature.config
        if choice.trainable and not choice.fitted and choice.resolved == "frozen":
            by_name.setdefault(choice.name, {})[feature.key] = feature
    shared: dict[str, str] = {}
    for features in by_name.values():
        known: dict[bytes, str] = {}
        for key, feature in features.items() if len(features) > 1 else ():
            embedding = _embed_molecules(feature, data.dataset.smiles[:MOLECULES])
            if embedding is not None and (first := known.setdefault(embedding, key)) != key:
                shared[key] = first
    return shared


def _embed_molecules(feature: NamedModality, smiles: tuple[str, ...]) -> bytes | None:
    """Return embeddings as bytes; None if a molecule has no features, which the launch reports."""
    modality = build_modality(feature.config)
    try:
        records = [modality.featurize(text) for text in smiles]
    except ModalityError:
        return None
    features = ModalityFeatures.stack(modality.version, list(smiles), records)
    encoder = modality.encoder(seed=0)
    getattr(encoder, "eval", lambda: None)()
    embeddings = encoder(encoder.collate(features, np.arange(len(smiles)))).detach()
    values: NDArray[np.float32] = embeddings.float().numpy()
    return values.tobytes() + str(values.shape).encode()


ENCODER_HYPERPARAMETERS = frozenset(
    ("encoder_learning_rate", "encoder_weight_decay", "freeze_epochs", "top_layers", "workers")
)
"""Hyperparameters of an arm that affect only encoders trained with it (calibration ``joint``)."""
PROBES, PROBE_LABELS, SEED = 6, 4, 0
Key = tuple[object, ...]


@dataclass(frozen=True, eq=False)
class ModelProbe:
    """Outputs, weights and gradients of a head on random embeddings, from one fixed seed.

    Attributes
    ----------
    outputs : ndarray, (2, b, l)
        Logits in evaluation mode, and in training mode with a fixed dropout seed.
    weights, gradients : ndarray, (p,)
        All of them, sorted, so that the names of weights do not matter.
    """

    outputs: NDArray[np.float64]
    weights: NDArray[np.float64]
    gradients: NDArray[np.float64]

    def equals(self, other: ModelProbe) -> bool:
        """Whether two heads are the same function, up to the order of floating-point sums."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return all(a.shape == b.shape and np.allclose(a, b, 1e-4, 1e-6) for a, b in pairs)


def refuse_equivalent_arms(plan: Plan, data: StudyData) -> None:
    """Refuse arms that build the same model from the same data and seed as another arm.

    Raises
    ------
    InputError
        There are such arms; the message names each and the arm it repeats.
    """
    lines = [
        f"{repeated} repeats {first}: {_explain(repeated, first)}"
        for repeated, first in find_equivalent_arms(plan, data)
    ]
    if lines:
        head = (
            f"{len(lines)} inert arms; nothing was run; remove them, or limit an axis with 'when'"
        )
        raise InputError("\n  ".join([head, *lines]))


def _explain(repeated: Arm, first: Arm) -> str:
    """Explain in what two arms differ, and why it has no effect."""
    ours, theirs = repeated.training.model_dump(), first.training.model_dump()
    differing = [name for name, value in ours.items() if theirs[name] != value]
    if differing:
        return (
            f"they differ in {', '.join(differing)}, which affects only encoders trained with the "
            "arm (calibration 'joint')"
        )
    if repeated.names != first.names:
        return "the encoders that differ are frozen, and embed every molecule alike"
    if repeated.fusion != first.fusion:
        return f"the operators {repeated.fusion} and {first.fusion} build the same head"
    return (
        f"the partitions {repeated.partition} and {first.partition} assign every label to the same "
        "modality"
    )


def find_equivalent_arms(plan: Plan, data: StudyData) -> Iterator[tuple[Arm, Arm]]:
    """Yield each arm that builds the same model as an earlier one, with the earlier one."""
    probes: dict[Key, ModelProbe] = {}
    groups: dict[Key, list[Arm]] = {}
    shared = find_shared_embeddings(plan, data)
    for arm in plan.arms:
        groups.setdefault(_input_key(arm, shared), []).append(arm)
    for arms in groups.values():
        for position, arm in enumerate(arms):
            for earlier in arms[:position]:
                if _is_same_model(arm, earlier, data, plan, probes):
                    yield arm, earlier
                    break


def _input_key(arm: Arm, shared: Mapping[str, str]) -> Key:
    """Return what decides a trial besides its head: modalities, rows, effective settings."""
    settings = arm.training.model_dump()
    effective = {
        k: v for k, v in settings.items() if arm.trains_encoders or k not in ENCODER_HYPERPARAMETERS
    }
    keys = (shared.get(feature.key, feature.key) for feature in arm.features)
    return (*keys, arm.fraction, repr(effective))


def _is_same_model(
    arm: Arm, other: Arm, data: StudyData, plan: Plan, probes: dict[Key, ModelProbe]
) -> bool:
    """Whether two arms with the same inputs build the same head."""
    techniques = {arm.technique, other.technique}
    if techniques & {"single", "independent_mean"}:  # these have no head that varies
        return len(techniques) == 1
    if techniques == {"label_balancer"}:
        return _is_same_partition(arm, other, data, plan)
    if "label_balancer" in techniques:  # the balancer has no layer after its branches
        return False
    return _probe(arm, probes).equals(_probe(other, probes))


def _is_same_partition(arm: Arm, other: Arm, data: StudyData, plan: Plan) -> bool:
    """Whether two balancers assign their labels alike in every trial."""
    if arm.partition == other.partition:
        return True
    pairs = zip(plan.trials_of(arm), plan.trials_of(other), strict=True)
    return all(_is_equal(_fixed_owners(a, data), _fixed_owners(b, data)) for a, b in pairs)


def _is_equal(one: NDArray[np.int64] | None, other: NDArray[np.int64] | None) -> bool:
    """Whether two owners are known and the same."""
    return one is not None and other is not None and np.array_equal(one, other)


def _fixed_owners(trial: Trial, data: StudyData) -> NDArray[np.int64] | None:
    """Return the owner of each label, (l,); None if owners are known only during training."""
    partition = trial.arm.partition
    if partition is None:
        return None
    rule = Registry("partition").load(partition.name)
    if rule.per_batch or rule.needs_inner_scores:
        return None
    rows = data.fold(trial).fit[trial.arm.fraction]
    names = tuple(feature.module_name for feature in trial.arm.features)
    context = PartitionContext(names, data.dataset.labels[rows], rows, trial.torch_seed)
    built: LabelPartition = rule(**partition.options).build(context)
    return built.owner


def _probe(arm: Arm, probes: dict[Key, ModelProbe]) -> ModelProbe:
    """Return the probe of an arm's head; input widths do not matter, so they are small."""
    shape = (arm.training.hidden, arm.training.dropout)
    key = (len(arm.features), repr(arm.fusion and arm.fusion.json_value()), shape)
    if key not in probes:
        dims = {feature.module_name: 3 + i for i, feature in enumerate(arm.features)}
        probes[key] = build_probe(build_probe_head(arm, dims, PROBE_LABELS), dims)
    return probes[key]


def build_probe_head(arm: Arm, dims: Mapping[str, int], labels: int) -> Any:  # noqa: ANN401 (a torch module)
    """Build the head of an arm for embeddings of these widths.

    The label partition of a balancer is built from random scores.
    """
    from fusion import seeded
    from study.training.model import build_head  # imports torch, which only a launch needs

    rng = np.random.default_rng(SEED)
    table = np.ones((1, labels), dtype=np.uint8)
    context = None
    if arm.technique == "label_balancer":
        scores = rng.uniform(size=(len(dims), labels))
        context = PartitionContext(tuple(dims), table, np.zeros(1, np.int64), SEED, scores)
    with seeded(SEED):
        return build_head(arm, dims, labels, context)


def build_probe(
    head: Any,  # noqa: ANN401 (a torch module)
    dims: Mapping[str, int],
) -> ModelProbe:
    """Run a head once in evaluation mode and once in training mode, and take its gradients."""
    from fusion import seeded

    rng, first = np.random.default_rng(SEED), next(head.parameters())
    batch = {name: first.new_tensor(rng.normal(size=(PROBES, dim))) for name, dim in dims.items()}
    evaluated = head.eval()(batch)
    with seeded(SEED):
        trained = head.train()(batch)
    # Random weights of the logits, so that different heads have different gradients.
    weight = first.new_tensor(rng.normal(size=tuple(trained.shape)))
    (trained * weight).sum().backward()
    weights = list(head.parameters())
    outputs = np.stack([logits.detach().double().numpy() for logits in (evaluated, trained)])
    flat = [w.detach().double().numpy().ravel() for w in weights]
    gradients = [w.grad.double().numpy().ravel() for w in weights if w.grad is not None]
    return ModelProbe(outputs, np.sort(np.concatenate(flat)), np.sort(np.concatenate(gradients)))
