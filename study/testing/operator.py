"""The contract of a fusion operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch

from fusion import FusionError, HeadShape, seeded
from study.testing.base import ComponentContract

_LABELS = 7
_HEAD = HeadShape(hidden=(16, 8), dropout=0.5)
_DIMS = {"smiles": 5, "graph": 3, "mordred": 4}
_BATCH = 6

Embeddings = dict[str, torch.Tensor]


class OperatorContract(ComponentContract):
    """Tests of a `fusion.FusionOperator` and its gradients.

    Every mistake in the embeddings is refused with a `fusion.FusionError`, as `fusion.Branches`
    does.
    """

    family: ClassVar[str] = "operator"

    @pytest.fixture
    def dims(self) -> dict[str, int]:
        return dict(_DIMS)

    @pytest.fixture
    def embeddings(self) -> Embeddings:
        generator = torch.Generator().manual_seed(7)
        return {
            name: torch.randn(_BATCH, width, generator=generator, dtype=torch.float64)
            for name, width in _DIMS.items()
        }

    @pytest.fixture
    def build(self, component_class: type[Any], needed_options: Mapping[str, Any]) -> Any:
        """Widths and seed -> the operator, in double precision."""

        def build(dims: Mapping[str, int], seed: int = 0) -> torch.nn.Module:
            with seeded(seed):
                module = component_class(dims, _LABELS, _HEAD, **needed_options)
            assert isinstance(module, torch.nn.Module)
            return module.double()

        return build

    def test_maps_embeddings_to_finite_logits(
        self, build: Any, dims: dict[str, int], embeddings: Embeddings
    ) -> None:
        logits = build(dims)(embeddings)
        assert logits.shape == (_BATCH, _LABELS)
        assert logits.isfinite().all()

    def test_same_seed_gives_the_same_model(
        self, build: Any, dims: dict[str, int], embeddings: Embeddings
    ) -> None:
        first, second, other = (build(dims, seed).eval()(embeddings) for seed in (3, 3, 4))
        assert torch.equal(first, second)
        assert not torch.equal(first, other)

    def test_gradient_reaches_every_parameter_and_every_modality(
        self, build: Any, dims: dict[str, int], embeddings: Embeddings
    ) -> None:
        model = build(dims).eval()
        data = {name: embedding.requires_grad_() for name, embedding in embeddings.items()}
        model(data).square().sum().backward()
        flat = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        assert flat == []
        unread = [name for name, e in data.items() if e.grad is None or not e.grad.any()]
        assert unread == []

    def test_molecules_are_independent(
        self, build: Any, dims: dict[str, int], embeddings: Embeddings
    ) -> None:
        model = build(dims).eval()
        order = torch.tensor([3, 0, 5, 1, 4, 2])
        permuted = model({name: embedding[order] for name, embedding in embeddings.items()})
        assert torch.allclose(permuted, model(embeddings)[order], rtol=1e-12, atol=0)

    def test_order_of_the_mapping_does_not_matter(
        self, build: Any, dims: dict[str, int], embeddings: Embeddings
    ) -> None:
        model = build(dims).eval()
        backwards = dict(reversed(embeddings.items()))
        assert torch.equal(model(backwards), model(embeddings))

    def test_drops_units_in_training_only(
        self, build: Any, dims: dict[str, int], embeddings: Embeddings
    ) -> None:
        model = build(dims)
        with seeded(0):
            assert not torch.equal(model(embeddings), model(embeddings))
        assert torch.equal(model.eval()(embeddings), model(embeddings))

    def test_state_dict_round_trip(
        self, build: Any, dims: dict[str, int], embeddings: Embeddings
    ) -> None:
        model, other = build(dims, 0).eval(), build(dims, 1).eval()
        other.load_state_dict(model.state_dict(), strict=True)
        assert torch.equal(other(embeddings), model(embeddings))

    def test_two_modalities_suffice(
        self, build: Any, dims: dict[str, int], embeddings: Embeddings
    ) -> None:
        pair = {name: dims[name] for name in ("smiles", "graph")}
        logits = build(pair)({name: embeddings[name] for name in pair})
        assert logits.shape == (_BATCH, _LABELS)

    def test_names_the_modality_that_does_not_fit(
        self, build: Any, dims: dict[str, int], embeddings: Embeddings
    ) -> None:
        model = build(dims)
        missing = {name: e for name, e in embeddings.items() if name != "graph"}
        lacks = "embeddings lacks 'graph'; the model takes 'smiles', "
        with pytest.raises(FusionError, match=lacks):
            model(missing)
        with pytest.raises(FusionError, match="embeddings has unknown 'taste'; the model takes"):
            model(embeddings | {"taste": embeddings["graph"]})
        with pytest.raises(FusionError, match=r"'mordred' must be \(b, 4\), got \(6, 3\)"):
            model(embeddings | {"mordred": embeddings["graph"]})

    def test_refuses_a_single_modality(self, build: Any) -> None:
        one = r"at least two modalities, got 'graph': .* SingleHead"
        with pytest.raises(FusionError, match=one):
            build({"graph": 3})

    def test_refuses_empty_shapes(
        self,
        component_class: type[Any],
        needed_options: Mapping[str, Any],
        dims: dict[str, int],
    ) -> None:
        with pytest.raises(FusionError, match="'graph' must have at least 1 column, got 0"):
            component_class(dims | {"graph": 0}, _LABELS, _HEAD, **needed_options)
        with pytest.raises(FusionError, match="at least one label, got 0"):
            component_class(dims, 0, _HEAD, **needed_options)
