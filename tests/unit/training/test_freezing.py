"""Frozen parts stay unchanged to the bit; unfrozen parts are trained."""

import pytest
import torch
from torch import nn
from toy_trainings import Bent, balanced, numbers

from study.errors import InputError
from study.training.freezing import FreezeSchedule, check_layers
from study.training.supervised import fit
from study.training.trainer import TrainerConfig, epoch_batches, train

EPOCHS = 2


def moved_parts(**changed):
    """Return the names of the weights and statistics that a training has changed."""
    model, *parts = balanced()
    before = {name: values.clone() for name, values in model.state_dict().items()}
    fit(model, *parts, numbers(epochs=EPOCHS, average=0, **changed), seed=0)
    after = model.state_dict()
    # Compares values: a bias before a batch norm has no gradient except for rounding errors.
    changed_names = {name for name in before if not torch.equal(before[name], after[name])}
    return {name for name in changed_names if name.startswith("encoders.a")}


LOW, HIGH = "encoders.a.low.", "encoders.a.high."
WHOLE = {"0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var"} | {
    "1.num_batches_tracked"
}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, (LOW, HIGH)),
        ({"freeze_epochs": EPOCHS}, ()),
        ({"top_layers": 1}, (HIGH,)),
        ({"top_layers": 2}, (LOW, HIGH)),
        ({"freeze_epochs": EPOCHS, "top_layers": 1}, ()),
    ],
    ids=str,
)
def test_frozen_weights_and_statistics_stay_unchanged(changed, expected):
    assert moved_parts(**changed) == {stage + name for stage in expected for name in WHOLE}


class Modes(nn.Module):
    """Records the modes and gradient flags with which it was called in training."""

    def __init__(self):
        super().__init__()
        self.encoder, self.head = Bent(), nn.Linear(4, 1)
        self.encoder.register_parameter("fixed", nn.Parameter(torch.ones(1), requires_grad=False))
        self.seen = []

    def forward(self, x):
        low, high = self.encoder.stages()
        weights = [stage[0].weight.requires_grad for stage in (low, high)]
        self.seen.append((low[1].training, low[2].training, high[1].training, *weights))
        return self.head(self.encoder(x))


class Thaw:
    """Freezes everything in epoch 1, all but the top in epoch 2, nothing in epoch 3."""

    def __init__(self):
        self.module = Modes()

    def parameter_groups(self):
        return [{"params": list(self.module.parameters()), "lr": 0.1, "weight_decay": 1.0}]

    def batches(self, generator):
        yield torch.randperm(8, generator=generator).numpy()

    def loss(self, module, rows, rng):
        return module(torch.from_numpy(rng.normal(size=(len(rows), 4))).float()).mean(), 1

    def validate(self, module):
        module.eval()
        return 0.0

    def frozen_modules(self, epoch):
        encoder = self.module.encoder
        return [list(encoder.modules()), list(encoder.low.modules()), []][epoch - 1]


def test_parts_thaw_by_epoch_and_fixed_weights_stay_fixed():
    thaw = Thaw()
    train(thaw, TrainerConfig(3, patience=3), seed=0)
    assert thaw.module.seen == [
        (False, False, False, False, False),
        (False, False, True, False, True),
        (True, True, True, True, True),
    ]
    assert not thaw.module.encoder.fixed.requires_grad
    assert thaw.module.encoder.fixed.item() == 1
    assert thaw.module.encoder.low[0].weight.requires_grad


def test_freezing_unfreezes_what_was_frozen_before():
    encoder = Bent()
    freeze = FreezeSchedule(encoder)
    assert freeze([])
    assert freeze(list(encoder.low))
    assert not freeze(list(encoder.low))
    assert [weight.requires_grad for weight in encoder.low.parameters()] == [False] * 4
    assert freeze([])
    assert all(weight.requires_grad for weight in encoder.parameters())


def test_more_layers_than_an_encoder_has_are_refused():
    check_layers(Bent(), 2, "graph")
    with pytest.raises(InputError, match=r"'graph': 'top_layers' asks for 3 layers and.* has 2;"):
        check_layers(Bent(), 3, "graph")
    with pytest.raises(InputError, match="its encoder has 0;"):
        check_layers(nn.Linear(1, 1), 1, "graph")


@pytest.mark.parametrize(("fewest", "expected"), [(1, 1), (2, 2), (7, 7)])
def test_passes_repeat_until_there_are_enough_steps(fewest, expected):
    batches = epoch_batches(Thaw(), torch.Generator().manual_seed(0), fewest)
    assert len(batches) == expected
    assert all(sorted(batch) == list(range(8)) for batch in batches)
    assert expected == 1 or (batches[0] != batches[1]).any()  # each pass has its own order


@pytest.mark.parametrize(("epoch_steps", "steps"), [(1, 5), (5, 5), (6, 10), (25, 25), (26, 30)])
def test_an_epoch_consists_of_whole_passes(epoch_steps, steps):
    model, gather, *parts = balanced()
    calls = []
    counted = {**gather, "a": lambda rows: calls.append(rows) or gather["a"](rows)}
    fit(model, counted, *parts, numbers(epochs=1, epoch_steps=epoch_steps), seed=0)
    assert len(calls) == steps + 1  # the last one is the batch of the validation part


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_keeps_weights_and_validation_in_float32(precision):
    model, gather, *parts = balanced()
    seen = []
    model.encoders["a"].low[0].register_forward_hook(
        lambda module, _, out: seen.append((module.training, out.dtype))
    )
    fit(model, gather, *parts, numbers(precision=precision, average=0), seed=0)
    assert set(seen) == {(True, getattr(torch, precision)), (False, torch.float32)}
    assert {v.dtype for v in model.state_dict().values()} == {torch.float32, torch.int64}
