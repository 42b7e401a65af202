"""The contract of a modality and of its encoder."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from modalities import Encoder, ModalityError, ModalityFeatures, StagedEncoder
from study.plugins.registry import Registry
from study.testing.base import (
    MOLECULES,
    ComponentContract,
    featurize,
    is_name_of,
    is_same_record,
    is_same_state,
    other_value,
    read_options,
    unchanged_random_state,
)

_STRANGERS = ("CCCCCCCCCCCCCCCCCC(=O)O", "O=S(=O)(O)O", "BrC(Br)Br", "c1ccsc1", "NCCN")
"""Molecules that no contract trains on."""


class ModalityContract(ComponentContract):
    """Tests of a `modalities.Modality` and of the encoder that it builds.

    One that is trainable inherits `TrainableModalityContract`.

    Attributes
    ----------
    molecules : sequence of str
        At least nine molecules that the modality represents; the encoder is fitted on all but the
        last five.
    """

    family: ClassVar[str] = "modality"
    molecules: ClassVar[Sequence[str]] = MOLECULES

    @pytest.fixture(scope="class")
    @classmethod
    def modality(cls, component_class: type[Any], needed_options: Mapping[str, Any]) -> Any:
        return component_class(**needed_options)

    @pytest.fixture(scope="class")
    @classmethod
    def features(cls, modality: Any) -> ModalityFeatures:
        return featurize(modality, cls.molecules)

    @pytest.fixture
    def encoder(self, modality: Any, features: ModalityFeatures) -> Any:
        fitted = modality.encoder(seed=1)
        fitted.fit(features, self.training_rows)
        return fitted.eval()

    @property
    def rows(self) -> NDArray[np.int64]:
        """All rows."""
        return np.arange(len(self.molecules))

    @property
    def training_rows(self) -> NDArray[np.int64]:
        """The rows that encoders are fitted on."""
        return self.rows[: -len(_STRANGERS)]

    def embed(self, encoder: Any, features: ModalityFeatures, rows: Any) -> torch.Tensor:
        """Embed rows without gradients."""
        with torch.no_grad():
            embedding: torch.Tensor = encoder(encoder.collate(features, np.asarray(rows)))
        return embedding

    def build_owner(self, name: str) -> Any:
        """Build the modality that a version text begins with, if it is another one."""
        return Registry("modality").load(name)()

    def test_attributes_are_declared(self, modality: Any) -> None:
        assert modality.letter.isupper()
        assert isinstance(modality.trainable, bool)
        assert isinstance(modality.fitted, bool)

    def test_trainable_modality_has_the_trainable_contract(self, modality: Any) -> None:
        assert modality.trainable == isinstance(self, TrainableModalityContract), (
            "a modality with trainable = True inherits TrainableModalityContract, another one "
            "ModalityContract"
        )

    def test_version_belongs_to_modality_with_equal_features(self, modality: Any) -> None:
        name = modality.version.split()[0]
        own = is_name_of(name, type(modality))
        owner = modality if own else self.build_owner(name)
        assert owner.version == modality.version
        for text in self.molecules[:3]:
            assert is_same_record(owner.featurize(text), modality.featurize(text))

    @pytest.mark.parametrize("text", ["C1CC", "not a molecule", ""])
    def test_invalid_smiles_is_refused_by_name(self, modality: Any, text: str) -> None:
        with pytest.raises(ModalityError, match=f"molecule '{text}'"):
            modality.featurize(text)

    def test_featurizing_is_deterministic_and_survives_pickling(self, modality: Any) -> None:
        copy = pickle.loads(pickle.dumps(modality))  # noqa: S301 (bytes of this line)
        assert copy.version == modality.version
        for text in self.molecules:
            assert is_same_record(modality.featurize(text), copy.featurize(text))

    def test_row_i_is_molecule_i(self, modality: Any, features: ModalityFeatures) -> None:
        for row, text in enumerate(self.molecules):
            record = {name: field[row] for name, field in features.fields.items()}
            assert is_same_record(record, modality.featurize(text))

    def test_version_changes_whenever_an_option_changes_features(
        self,
        component_class: type[Any],
        needed_options: Mapping[str, Any],
        modality: Any,
    ) -> None:
        for name, option in read_options(component_class).items():
            value = other_value(option)
            if value is None:
                continue
            try:
                changed = component_class(**{**needed_options, name: value})
            except ModalityError:
                continue  # not a value this option takes
            same = all(
                is_same_record(changed.featurize(text), modality.featurize(text))
                for text in self.molecules
            )
            assert same or changed.version != modality.version, name

    def test_embeds_to_dim(self, encoder: Any, features: ModalityFeatures) -> None:
        assert isinstance(encoder, Encoder)
        assert isinstance(encoder, torch.nn.Module)
        width: Any = encoder.dim
        for rows in ([3], [0, len(self.molecules) - 1, 5], self.rows):
            embedding = self.embed(encoder, features, rows)
            assert embedding.shape == (len(rows), width)
            assert embedding.dtype == torch.float32
            assert embedding.isfinite().all()

    def test_a_molecule_embeds_the_same_alone_and_in_any_batch(
        self,
        encoder: Any,
        features: ModalityFeatures,
    ) -> None:
        together = self.embed(encoder, features, self.rows)
        alone = torch.cat([self.embed(encoder, features, [row]) for row in self.rows])
        rounding = 1e-5 * together.abs().max().clamp(min=1).item()
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=rounding)
        assert torch.pdist(together).max() > 1e-3, "all molecules embed alike"

    def test_fit_sees_only_its_rows(
        self,
        modality: Any,
        encoder: Any,
    ) -> None:
        known = tuple(self.molecules[: len(self.training_rows)])
        other = modality.encoder(seed=1)
        other.fit(featurize(modality, known + _STRANGERS), self.training_rows)
        ours, theirs = encoder.state_dict(), other.state_dict()
        assert is_same_state(ours, theirs)

    def test_fitted_declares_whether_fit_depends_on_rows(
        self,
        modality: Any,
        features: ModalityFeatures,
    ) -> None:
        def fit(rows: NDArray[np.int64]) -> Mapping[str, torch.Tensor]:
            encoder = modality.encoder(seed=1)
            encoder.fit(features, rows)
            state: Mapping[str, torch.Tensor] = encoder.state_dict()
            return state

        some, others = fit(self.training_rows), fit(self.training_rows[: len(self.rows) // 3])
        same = some.keys() == others.keys() and all(
            some[name].shape == others[name].shape and torch.equal(some[name], others[name])
            for name in some
        )
        assert modality.fitted != same

    def test_state_dict_restores_a_fitted_encoder(
        self,
        modality: Any,
        features: ModalityFeatures,
        encoder: Any,
    ) -> None:
        fresh = modality.encoder(seed=2).eval()
        fresh.load_state_dict(encoder.state_dict())
        assert fresh.dim == encoder.dim
        restored = self.embed(fresh, features, self.rows)
        assert torch.equal(restored, self.embed(encoder, features, self.rows))

    def test_initial_weights_depend_on_the_seed(self, modality: Any) -> None:
        first, again, other = (modality.encoder(seed=seed).state_dict() for seed in (3, 3, 4))
        assert all(torch.equal(first[name], again[name]) for name in first)
        differs = any(not torch.equal(first[name], other[name]) for name in first)
        assert differs == modality.trainable

    def test_global_random_state_is_unchanged(
        self,
        modality: Any,
        features: ModalityFeatures,
    ) -> None:
        with unchanged_random_state():
            encoder = modality.encoder(seed=5)
            encoder.fit(features, self.training_rows)
            self.embed(encoder.eval(), features, self.rows)

    def test_every_weight_of_a_trainable_encoder_gets_a_gradient(
        self,
        modality: Any,
        encoder: Any,
        features: ModalityFeatures,
    ) -> None:
        weights = dict(encoder.named_parameters())
        assert bool(weights) == modality.trainable
        if weights:
            encoder.train()
            (encoder(encoder.collate(features, self.rows)) ** 2).sum().backward()
            assert [name for name, weight in weights.items() if weight.grad is None] == []

    def test_collating_memory_mapped_features_copies_them(
        self,
        encoder: Any,
        features: ModalityFeatures,
    ) -> None:
        frozen = {}
        for name, field in features.fields.items():
            values, offsets = field.values.copy(), field.offsets.copy()
            values.setflags(write=False)
            offsets.setflags(write=False)
            frozen[name] = type(field)(values, offsets)
        table = ModalityFeatures(features.version, features.smiles, frozen)
        for tensor in encoder.collate(table, self.rows).values():
            assert not any(  # torch warns about read-only memory
                np.shares_memory(tensor.numpy(), part)
                for field in frozen.values()
                for part in (field.values, field.offsets)
            )


class TrainableModalityContract(ModalityContract):
    """Tests of a modality with trainable weights: also stages, data types and devices."""

    def test_every_weight_is_in_exactly_one_stage(self, encoder: Any) -> None:
        assert isinstance(encoder, StagedEncoder)
        module: Any = encoder
        staged = [weight for stage in encoder.stages() for weight in stage.parameters()]
        assert sorted(map(id, staged)) == sorted(map(id, module.parameters()))
        assert all(list(stage.parameters()) for stage in encoder.stages())

    def test_training_top_stages_changes_only_their_weights(
        self,
        encoder: Any,
        features: ModalityFeatures,
    ) -> None:
        encoder.train()
        for top in range(1, len(encoder.stages()) + 1):
            encoder.requires_grad_(requires_grad=False)
            unfrozen = torch.nn.ModuleList(encoder.stages()[-top:]).requires_grad_()
            before = {name: w.detach().clone() for name, w in encoder.named_parameters()}
            optimizer = torch.optim.AdamW(unfrozen.parameters(), lr=1e-2, weight_decay=0.1)
            embedding = encoder(encoder.collate(features, self.rows))
            slopes = torch.linspace(-1, 1, embedding.numel()).view_as(embedding)
            (embedding * slopes).sum().backward()
            optimizer.step()
            ids = {id(weight) for weight in unfrozen.parameters()}
            for name, weight in encoder.named_parameters():
                assert torch.equal(weight, before[name]) == (id(weight) not in ids), (top, name)

    def test_stages_run_from_input_to_output(
        self,
        encoder: Any,
        features: ModalityFeatures,
    ) -> None:
        encoder.train()
        order: list[int] = []
        for number, stage in enumerate(encoder.stages()):
            for part in stage.modules():
                part.register_forward_hook(lambda *_, number=number: order.append(number))
        encoder(encoder.collate(features, self.rows))
        assert order, "no stage has a part that runs"
        assert order == sorted(order)

    def test_embedding_is_equal_in_double_precision(
        self,
        encoder: Any,
        features: ModalityFeatures,
    ) -> None:
        batch = encoder.eval().collate(features, self.rows)
        with torch.no_grad():
            single = encoder(batch)
            double = encoder.double()(batch)
        assert double.dtype == torch.float64
        rounding = 1e-4 * single.abs().max().item()
        torch.testing.assert_close(double.float(), single, rtol=0, atol=rounding)

    def test_every_tensor_of_an_encoder_moves_with_it(self, encoder: Any) -> None:
        for module in encoder.modules():
            registered = {id(tensor) for tensor in (*module.parameters(), *module.buffers())}
            names = [name for name, value in vars(module).items() if torch.is_tensor(value)]
            assert all(id(vars(module)[name]) in registered for name in names), names

    @pytest.mark.parametrize("training", [True, False])
    def test_embeds_on_the_device_it_was_moved_to(
        self,
        training: bool,
        encoder: Any,
        features: ModalityFeatures,
    ) -> None:
        tensors = encoder.collate(features, self.rows)
        batch = {name: values.to("meta") for name, values in tensors.items()}
        try:
            embedding = encoder.train(training).to("meta")(batch)
        except RuntimeError as error:
            if "item() cannot be called on meta" not in str(error):
                raise
            pytest.skip("the encoder reads values of its batch, and the meta device has none")
        assert embedding.device.type == "meta"
        assert embedding.shape == (len(self.molecules), encoder.dim)
