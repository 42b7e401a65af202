"""Arms that build the same model: found before anything is trained."""

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
    """Return for each modality that repeats an earlier one the key of that one.

    Encoders that are neither trained nor fitted are built from one seed and tried on a few
    molecules of the table.
    """
    by_word: dict[str, dict[str, NamedModality]] = {}
    for feature in (f for arm in plan.arms for f in arm.features):
        choice = feature.choice
        if choice.trainable and not choice.fitted and choice.resolved == "frozen":
            by_word.setdefault(choice.name, {})[feature.key] = feature
    same: dict[str, str] = {}
    for features in by_word.values():
        known: dict[bytes, str] = {}
        for key, feature in features.items() if len(features) > 1 else ():
            embedding = _embedding(feature, data.dataset.smiles[:MOLECULES])
            if embedding is not None and (first := known.setdefault(embedding, key)) != key:
                same[key] = first
    return same


def _embedding(feature: NamedModality, smiles: tuple[str, ...]) -> bytes | None:
    """Embed a few molecules; None if one cannot be represented, which the launch will say."""
    modality = build_modality(feature.choice)
    try:
        records = [modality.featurize(text) for text in smiles]
    except ModalityError:
        return None
    features = ModalityFeatures.stack(modality.version, list(smiles), records)
    encoder = modality.encoder(seed=0)
    getattr(encoder, "eval", lambda: None)()
    found = encoder(encoder.collate(features, np.arange(len(smiles)))).detach()
    values: NDArray[np.float32] = found.float().numpy()
    return values.tobytes() + str(values.shape).encode()


ENCODER_NUMBERS = frozenset(
    ("encoder_learning_rate", "encoder_weight_decay", "freeze_epochs", "top_layers", "workers")
)
"""Training numbers of an arm that only its own encoders (calibration ``joint``) feel."""
PROBES, PROBE_LABELS, SEED = 6, 4, 0
Place = tuple[object, ...]


@dataclass(frozen=True, eq=False)
class ModelProbe:
    """What a head does with random embeddings, from the seed that every other head starts from.

    Attributes
    ----------
    outputs : ndarray, (2, b, l)
        Logits in evaluation, and in training with the same dropout seed.
    weights, gradients : ndarray, (p,)
        All of them, sorted: two heads may name them otherwise.
    """

    outputs: NDArray[np.float64]
    weights: NDArray[np.float64]
    gradients: NDArray[np.float64]

    def equals(self, other: ModelProbe) -> bool:
        """Whether two heads are one, up to the order of floating-point sums."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return all(a.shape == b.shape and np.allclose(a, b, 1e-4, 1e-6) for a, b in pairs)


def refuse_equivalent_arms(plan: Plan, data: StudyData) -> None:
    """Refuse arms that build the same model from the same data and seed as another.

    Raises
    ------
    InputError
        Names every such arm, and the arm it repeats.
    """
    lines = [
        f"{again} repeats {first}: {_why(again, first)}"
        for again, first in find_equivalent_arms(plan, data)
    ]
    if lines:
        head = (
            f"{len(lines)} inert arms; nothing was run; remove them, or limit an axis with 'when'"
        )
        raise InputError("\n  ".join([head, *lines]))


def _why(again: Arm, first: Arm) -> str:
    """Say in what two arms differ, and that it makes no difference."""
    ours, theirs = again.training.model_dump(), first.training.model_dump()
    numbers = [name for name, value in ours.items() if theirs[name] != value]
    if numbers:
        return (
            f"they differ in {', '.join(numbers)}, which only encoders trained with the arm "
            "(calibration 'joint') feel"
        )
    if again.names != first.names:
        return "the encoders that differ are frozen, and embed every molecule alike"
    if again.fusion != first.fusion:
        return f"the operators {again.fusion} and {first.fusion} build the same head"
    return f"the partitions {again.partition} and {first.partition} deal every label alike"


def find_equivalent_arms(plan: Plan, data: StudyData) -> Iterator[tuple[Arm, Arm]]:
    """Yield each arm that repeats an earlier one, with that one."""
    probes: dict[Place, ModelProbe] = {}
    groups: dict[Place, list[Arm]] = {}
    alike = find_shared_embeddings(plan, data)
    for arm in plan.arms:
        groups.setdefault(_data(arm, alike), []).append(arm)
    for arms in groups.values():
        for place, arm in enumerate(arms):
            for earlier in arms[:place]:
                if _same_model(arm, earlier, data, plan, probes):
                    yield arm, earlier
                    break


def _data(arm: Arm, alike: Mapping[str, str]) -> Place:
    """Return all that decides a trial but the head: features, rows, the numbers that count."""
    numbers = arm.training.model_dump()
    felt = {k: v for k, v in numbers.items() if arm.joint or k not in ENCODER_NUMBERS}
    keys = (alike.get(feature.key, feature.key) for feature in arm.features)
    return (*keys, arm.fraction, repr(felt))


def _same_model(
    arm: Arm, other: Arm, data: StudyData, plan: Plan, probes: dict[Place, ModelProbe]
) -> bool:
    kinds = {arm.technique, other.technique}
    if kinds & {"single", "independent_mean"}:  # no head of their own to vary
        return len(kinds) == 1
    if kinds == {"label_balancer"}:
        return _same_owners(arm, other, data, plan)
    if "label_balancer" in kinds:  # the balancer has no layer after its branches
        return False
    return _probe(arm, probes).equals(_probe(other, probes))


def _same_owners(arm: Arm, other: Arm, data: StudyData, plan: Plan) -> bool:
    """Whether two balancers deal their labels alike in every trial."""
    if arm.partition == other.partition:
        return True
    pairs = zip(plan.trials_of(arm), plan.trials_of(other), strict=True)
    return all(_owners_equal(_owners(a, data), _owners(b, data)) for a, b in pairs)


def _owners_equal(one: NDArray[np.int64] | None, other: NDArray[np.int64] | None) -> bool:
    return one is not None and other is not None and np.array_equal(one, other)


def _owners(trial: Trial, data: StudyData) -> NDArray[np.int64] | None:
    """Return the owners of a trial's labels, (l,); None where they are known only in training."""
    partition = trial.arm.partition
    if partition is None:
        return None
    rule = Registry("partition").load(partition.name)
    if rule.per_batch or rule.needs_inner_scores:
        return None
    rows = data.fold(trial).fit[trial.arm.fraction]
    names = tuple(feature.slot for feature in trial.arm.features)
    context = PartitionContext(names, data.dataset.labels[rows], rows, trial.torch_seed)
    dealt: LabelPartition = rule(**partition.options).build(context)
    return dealt.owner


def _probe(arm: Arm, probes: dict[Place, ModelProbe]) -> ModelProbe:
    """Try a head on random embeddings; its input widths do not matter, so they are small."""
    shape = (arm.training.hidden, arm.training.dropout)
    key = (len(arm.features), repr(arm.fusion and arm.fusion.json_value()), shape)
    if key not in probes:
        dims = {feature.slot: 3 + i for i, feature in enumerate(arm.features)}
        probes[key] = build_probe(build_probe_head(arm, dims, PROBE_LABELS), dims)
    return probes[key]


def build_probe_head(arm: Arm, dims: Mapping[str, int], labels: int) -> Any:  # noqa: ANN401 (a torch module)
    """Build the head of an arm for embeddings of these widths, with labels dealt in turn."""
    from fusion import seeded
    from study.training.model import build_head  # torch: only a launch builds heads

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
    """Run a head once in evaluation and once in training, and take its gradients."""
    from fusion import seeded

    rng, first = np.random.default_rng(SEED), next(head.parameters())
    batch = {name: first.new_tensor(rng.normal(size=(PROBES, dim))) for name, dim in dims.items()}
    calm = head.eval()(batch)
    with seeded(SEED):
        driven = head.train()(batch)
    weight = first.new_tensor(rng.normal(size=tuple(driven.shape)))
    (driven * weight).sum().backward()
    values = list(head.parameters())
    outputs = np.stack([part.detach().double().numpy() for part in (calm, driven)])
    flat = [value.detach().double().numpy().ravel() for value in values]
    gradients = [v.grad.double().numpy().ravel() for v in values if v.grad is not None]
    return ModelProbe(outputs, np.sort(np.concatenate(flat)), np.sort(np.concatenate(gradients)))
