"""Stacked heads: one function of many heads gives what each of them gives alone."""

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fusion import FusionError, HeadShape, LabelBalancer, MultimodalModel, SingleHead, seeded
from fusion._dropout import Dropout, kept_units, scale
from fusion._stacked import Stack, kind_of, stacked_weights
from fusion._stacked_adamw import StackedAdamW

LABELS, CPU = 7, torch.device("cpu")
ROWS = (6, 4, 6)


def models_of(make, dims):
    """Three models that differ in weights and dropout; each is made by `make(shape, number)`."""
    made = []
    for number, dropout in enumerate((0.5, 0.0, 0.2)):
        with seeded(number):
            head = make(HeadShape((8, 5), dropout), number)
        made.append(MultimodalModel(dict.fromkeys(dims), head))
    return made


@pytest.fixture
def kinds(operator, dims):
    return models_of(lambda shape, _: operator(dims, LABELS, shape), dims)


@pytest.fixture
def balancers(rule, dims, make_context):
    def make(shape, number):
        partition = rule().build(make_context(LABELS, tuple(dims), number))
        return LabelBalancer(dims, LABELS, shape, partition)

    return models_of(make, dims)


def batch_of(dims, rows):
    generator = torch.Generator().manual_seed(3)
    batch = {m: torch.randn(3, max(rows), d, generator=generator) for m, d in dims.items()}
    targets = (torch.rand(3, max(rows), LABELS, generator=generator) < 0.3).float()
    return batch, targets


def alone(model, batch, targets, member, rows, seed):
    """Loss and gradients of a lone model, whose dropout draws from torch's global generator."""
    own = {m: values[member, :rows] for m, values in batch.items()}
    model.train()
    with seeded(seed):
        loss = binary_cross_entropy_with_logits(model(own), targets[member, :rows])
    return loss, torch.autograd.grad(loss, list(model.parameters()))


def check_against_lone_models(models, dims):
    batch, targets = batch_of(dims, ROWS)
    stack, weights = Stack(models, dims, CPU), stacked_weights(models, CPU)
    sizes = torch.tensor(ROWS)
    shares = (torch.arange(max(ROWS)) < sizes[:, None]) / sizes[:, None]
    generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
    drawn = {**stack.noise(ROWS, generators), **stack.owners()}
    leaves = {name: values.requires_grad_() for name, values in weights.items()}
    losses = stack.losses(leaves, batch, targets, shares, drawn)
    gradients = torch.autograd.grad(losses.sum(), list(leaves.values()))
    for i, (model, rows) in enumerate(zip(models, ROWS, strict=True)):
        rewind(model)
        loss, own = alone(model, batch, targets, i, rows, seed=i)
        torch.testing.assert_close(losses[i], loss)
        for stacked, lone in zip(gradients, own, strict=True):
            torch.testing.assert_close(stacked[i], lone, atol=1e-6, rtol=1e-4)
    scores = stack.evaluate(weights, {m: v[[2, 1]] for m, v in batch.items()}, [2, 1])
    for place, i in enumerate([2, 1]):
        lone = models[i].eval()({m: values[i] for m, values in batch.items()})
        torch.testing.assert_close(scores[place], lone, atol=1e-6, rtol=1e-4)


def rewind(model):
    """Let owners that were drawn for the stack be drawn again."""
    if isinstance(model.head, LabelBalancer) and model.head.partition.per_batch:
        seed = model.head.partition._generator.initial_seed()
        model.head.partition._generator.manual_seed(seed)


def test_every_operator_gives_what_lone_heads_give(kinds, dims):
    check_against_lone_models(kinds, dims)


def test_every_partition_gives_what_lone_heads_give(balancers, dims):
    check_against_lone_models(balancers, dims)


def test_members_that_stopped_leave(dims):
    shape = HeadShape((8,), 0.5)
    models = models_of(lambda _, __: SingleHead({"smiles": 5}, LABELS, shape), ["smiles"])
    stack, weights = Stack(models, {"smiles": 5}, CPU), stacked_weights(models, CPU)
    x = torch.randn(3, 4, 5)
    whole = stack.evaluate(weights, {"smiles": x}, [0, 1, 2])
    stack.keep([2, 0])
    assert len(stack) == 2
    fewer = {name: values[[2, 0]] for name, values in weights.items()}
    assert torch.equal(stack.evaluate(fewer, {"smiles": x[[2, 0]]}, [0, 1]), whole[[2, 0]])


def test_unlike_heads_are_refused(dims):
    def head(width):
        shape = HeadShape((width,), 0.5)
        return MultimodalModel({"x": None}, SingleHead({"x": 5}, LABELS, shape))

    with pytest.raises(FusionError, match=r"must be alike, got .*\(8, 5\).* and .*\(9, 5\)"):
        Stack([head(8), head(9)], {"x": 5}, CPU)
    other = nn.Sequential(nn.Linear(5, 2), nn.Dropout(0.5))
    with pytest.raises(FusionError, match="Dropout draws from one generator for all heads"):
        Stack([other], {"x": 5}, CPU)


def test_heads_with_another_number_are_not_alike():
    def head(slope, rate=0.5):
        return nn.Sequential(nn.Linear(5, 2), nn.LeakyReLU(slope), Dropout(rate))

    assert kind_of(head(0.1)) == kind_of(head(0.1, rate=0.2))
    assert kind_of(head(0.1)) != kind_of(head(0.2))


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.5, 0.9])
def test_dropout_keeps_the_share_and_the_mean_that_it_says(rate):
    with seeded(5):
        dropped = Dropout(rate)(torch.ones(400, 500))
    spread = (rate * (1 - rate) / dropped.numel()) ** 0.5
    assert (dropped == 0).double().mean().item() == pytest.approx(rate, abs=5 * spread)
    kept = dropped[dropped != 0].unique()
    torch.testing.assert_close(kept, torch.tensor([1 / (1 - rate)]), rtol=1e-4, atol=0)


def test_units_are_dropped_independently():
    with seeded(5):
        zeros = (Dropout(0.5)(torch.ones(200_000)) == 0).double()
    for lag in (1, 2, 3, 4, 500):  # four units share a draw of 64 bits
        both = (zeros[lag:] * zeros[:-lag]).mean().item()
        assert both == pytest.approx(0.25, abs=2.5 / len(zeros) ** 0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(31, 17), (0, 3), (5,)])
def test_a_mask_drawn_elsewhere_is_the_one_drawn_here(shape, dtype):
    x, own = torch.randn(shape).to(dtype).requires_grad_(), Dropout(0.3)
    with seeded(5):
        ours = own(x)
    own.noise = kept_units(shape, 0.3, torch.Generator().manual_seed(5)) * scale(0.3)
    assert torch.equal(own(x), ours)
    assert (ours.shape, ours.dtype) == (shape, dtype)
    (gradient,) = torch.autograd.grad(ours.sum(), x)
    assert torch.equal(gradient, own.noise.to(dtype))


def test_nothing_is_dropped_in_evaluation_or_at_rate_zero():
    x = torch.randn(5, 5)
    assert torch.equal(Dropout(0.3).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


def test_adamw_and_average_are_torchs_with_each_members_numbers():
    rates, decays, averages = (1e-2, 1e-3, 3e-2), (1.0, 0.0, 0.1), (0.9, 0.0, 0.5)
    with seeded(0):
        lone = [nn.Linear(4, 3) for _ in rates]
        gradients = [{"weight": torch.randn(3, 3, 4), "bias": torch.randn(3, 3)} for _ in range(8)]
    together = StackedAdamW(stacked_weights(lone, CPU), rates, decays, averages)
    optimizers = [
        torch.optim.AdamW(m.parameters(), lr=a, weight_decay=w)
        for m, a, w in zip(lone, rates, decays, strict=True)
    ]
    kept = [
        AveragedModel(m, multi_avg_fn=get_ema_multi_avg_fn(d))
        for m, d in zip(lone, averages, strict=True)
    ]
    places = [0, 1, 2]
    for step, gradient in enumerate(gradients):
        if step == 5:
            together.keep([2, 0])
            places = [2, 0]
        together.step({name: values[places] for name, values in gradient.items()})
        for i, (model, optimizer, average) in enumerate(zip(lone, optimizers, kept, strict=True)):
            for name, values in model.named_parameters():
                values.grad = gradient[name][i].clone()
            optimizer.step()
            average.update_parameters(model)
        for place, i in enumerate(places):
            for name, values in lone[i].named_parameters():
                torch.testing.assert_close(together.weights[name][place], values.detach())
                average = dict(kept[i].module.named_parameters())[name].detach()
                torch.testing.assert_close(together.averaged[name][place], average)
