"""The contract of a pretraining objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from modalities import ModalityError, ModalityFeatures
from modalities.nn.random import seeded
from modalities.pretraining import MoleculeBatch
from study.plugins.registry import Registry
from study.testing.base import (
    MOLECULES,
    ComponentContract,
    featurize,
    is_name_of,
    is_same_state,
    other_value,
    read_options,
    unchanged_random_state,
)

_STEPS, _RATE = 12, 3e-3


class ObjectiveContract(ComponentContract):
    """Tests of a `modalities.pretraining.PretrainingObjective` with one modality.

    Attributes
    ----------
    modality_name : str
        Modality whose encoder is trained. Default: the first of the objective.
    """

    family: ClassVar[str] = "objective"
    modality_name: ClassVar[str] = ""
    molecules: ClassVar[MoleculeBatch] = MoleculeBatch(
        MOLECULES[1:], tuple(f"{text.lower()}ane" for text in MOLECULES[1:])
    )

    @pytest.fixture(scope="class")
    @classmethod
    def modality(cls, component_class: type[Any]) -> Any:
        """Build the modality, without dropout if it has that option."""
        modality = Registry("modality").load(cls.modality_name or component_class.modalities[0])
        return modality(**({"dropout": 0.0} if "dropout" in read_options(modality) else {}))

    @pytest.fixture(scope="class")
    @classmethod
    def objective(cls, component_class: type[Any], needed_options: Mapping[str, Any]) -> Any:
        return component_class(**needed_options)

    @pytest.fixture(scope="class")
    @classmethod
    def examples(cls, objective: Any, modality: Any) -> Any:
        return objective.prepare(modality, cls.molecules)

    @pytest.fixture(scope="class")
    @classmethod
    def features(cls, modality: Any) -> ModalityFeatures:
        return featurize(modality, cls.molecules.smiles)

    @pytest.fixture
    def model(self, objective: Any, modality: Any, features: ModalityFeatures) -> Any:
        return self.build_model(objective, modality, features)

    @property
    def rows(self) -> NDArray[np.int64]:
        """All rows."""
        return np.arange(len(self.molecules))

    def build_model(
        self, objective: Any, modality: Any, features: ModalityFeatures, *, seed: int = 1
    ) -> Any:
        """Build the model of the objective, with a fitted encoder."""
        encoder = modality.encoder(seed=seed)
        encoder.fit(features, self.rows)
        return objective.model(encoder, seed=seed)

    def collate(
        self, objective: Any, examples: Any, rows: Sequence[int] | None = None, seed: int = 0
    ) -> dict[str, torch.Tensor]:
        """Build a batch; of all rows by default."""
        chosen = self.rows if rows is None else np.asarray(rows)
        batch: dict[str, torch.Tensor] = objective.collate(
            examples, chosen, np.random.default_rng(seed)
        )
        return batch

    def train(self, model: Any, batches: Sequence[Mapping[str, torch.Tensor]]) -> list[float]:
        """Train a model for one step a batch; return the losses."""
        optimizer = torch.optim.Adam(model.parameters(), lr=_RATE)
        losses = []
        for batch in batches:
            loss = model(batch)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    def test_attributes_are_declared(
        self, component_class: type[Any], needed_options: Mapping[str, Any]
    ) -> None:
        assert component_class.modalities
        assert set(component_class.modalities) <= set(Registry("modality").names())
        assert isinstance(component_class.named, bool)
        name = component_class(**needed_options).version.split()[0]
        assert is_name_of(name, component_class)

    def test_version_names_every_option(self, component_class: type[Any]) -> None:
        version = component_class().version
        for name, option in read_options(component_class).items():
            try:
                changed = component_class(**{name: _step_aside(option)})
            except ModalityError:
                continue  # not without another option
            assert changed.version != version, name

    def test_batch_has_tensors_and_measures_are_scalars(
        self, objective: Any, examples: Any, model: Any
    ) -> None:
        for rows in (None, [4, 2]):
            batch = self.collate(objective, examples, rows)
            assert all(torch.is_tensor(value) for value in batch.values())
            measures = model(batch)
            assert measures["loss"].requires_grad
            assert all(value.ndim == 0 and value.isfinite() for value in measures.values())

    def test_same_generator_same_batch(self, objective: Any, examples: Any) -> None:
        first, second = (self.collate(objective, examples) for _ in range(2))
        assert is_same_state(first, second)

    def test_row_i_is_molecule_i(self, objective: Any, modality: Any, examples: Any) -> None:
        smiles, names = self.molecules.smiles, self.molecules.names
        for row in (0, 3, len(self.molecules) - 1):
            molecule = MoleculeBatch(smiles[row : row + 1], names[row : row + 1])
            alone = self.collate(objective, objective.prepare(modality, molecule), [0])
            assert is_same_state(self.collate(objective, examples, [row]), alone), row

    def test_initial_weights_depend_on_the_seed(
        self, objective: Any, modality: Any, features: ModalityFeatures
    ) -> None:
        first, again, other = (
            self.build_model(objective, modality, features, seed=seed).state_dict()
            for seed in (3, 3, 4)
        )
        assert is_same_state(first, again)
        assert not is_same_state(first, other)

    def test_global_random_state_is_unchanged(
        self, objective: Any, modality: Any, examples: Any, features: ModalityFeatures
    ) -> None:
        with unchanged_random_state():
            objective.prepare(modality, self.molecules)
            self.collate(objective, examples)
            self.build_model(objective, modality, features)

    def test_training_changes_every_stage_of_the_encoder(
        self, objective: Any, examples: Any, model: Any
    ) -> None:
        before = {name: value.clone() for name, value in model.encoder.named_parameters()}
        with seeded(0):
            losses = self.train(model.train(), [self.collate(objective, examples)] * _STEPS)
        assert losses[-1] < 0.9 * losses[0], losses
        weights = model.encoder.named_parameters()
        changed = {id(value) for name, value in weights if not torch.equal(value, before[name])}
        for number, stage in enumerate(model.encoder.stages()):
            assert changed & {id(weight) for weight in stage.parameters()}, f"stage {number}"

    def test_training_is_reproducible(
        self, objective: Any, modality: Any, examples: Any, features: ModalityFeatures
    ) -> None:
        def train() -> Mapping[str, torch.Tensor]:
            model = self.build_model(objective, modality, features).train()
            with seeded(0):
                self.train(model, [self.collate(objective, examples, seed=s) for s in range(2)])
            state: Mapping[str, torch.Tensor] = model.state_dict()
            return state

        assert is_same_state(train(), train())

    def test_trained_encoder_loads_into_the_modality(
        self, objective: Any, modality: Any, features: ModalityFeatures, model: Any, examples: Any
    ) -> None:
        with seeded(0):
            self.train(model.train(), [self.collate(objective, examples)])
        fresh = modality.encoder(seed=9)
        fresh.load_state_dict(model.encoder.state_dict())
        batch = fresh.collate(features, self.rows)
        with torch.no_grad():
            assert torch.equal(fresh.eval()(batch), model.encoder.eval()(batch))


def _step_aside(option: Any) -> object:
    """Return a value beside the default: options of objectives are often bounded by 1."""
    if isinstance(option.default, bool) or not isinstance(option.default, int | float):
        return other_value(option)
    if isinstance(option.default, int):
        return option.default + 1
    return option.default / 2 or 0.5
