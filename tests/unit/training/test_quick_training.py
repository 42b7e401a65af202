"""The quick parts of a training against torch's own, which anybody would take."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fusion import HeadShape, MultimodalModel, SingleHead, seeded
from fusion.layers import Dropout
from study.config.training import TrainingConfig
from study.training.fused_adamw import FusedAdamW
from study.training.supervised import LabeledRows, fit, predict, to_trainer_config
from study.training.trainer import TrainingState

WIDTH, LABELS, ROWS = 12, 5, 50


def test_adamw_is_torchs_also_where_weights_are_held_for_a_while():
    with seeded(0):
        ours, theirs = nn.Linear(4, 3), nn.Linear(4, 3)
        gradients = torch.randn(9, 3, 4)
    theirs.load_state_dict(ours.state_dict())

    def groups(module):
        return [
            {"params": [module.weight], "lr": 0.01, "weight_decay": 0.5},
            {"params": [module.bias], "lr": 0.1, "weight_decay": 0.0},
        ]

    quick, plain = FusedAdamW(groups(ours)), torch.optim.AdamW(groups(theirs))
    for step, gradient in enumerate(gradients):
        for module in (ours, theirs):
            module.weight.grad = gradient.clone()
            module.bias.grad = None if step in (0, 4, 5) else gradient[:, 0].clone()
        if step == 6:
            quick.load_state_dict(quick.state_dict())
        quick.advance()
        plain.step()
        assert ours.weight.grad is ours.bias.grad is None
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_training_is_what_a_plain_loop_gives(average):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, WIDTH)).astype(np.float32)
    y = (x[:, :LABELS] + rng.normal(size=(ROWS, LABELS)) > 0).astype(np.uint8)
    rows = np.arange(ROWS)
    training, validation = LabeledRows(rows[:40], y[:40]), LabeledRows(rows[40:], y[40:])
    numbers = TrainingConfig(epochs=4, batch_size=16, dropout=0.4, average=average, epoch_steps=1)
    with seeded(7):
        head = SingleHead({"x": WIDTH}, LABELS, HeadShape((8,), 0.4))
    with seeded(7):
        linear = nn.Linear(WIDTH, 8), nn.Linear(8, LABELS)
        plain = nn.Sequential(linear[0], nn.ReLU(), Dropout(0.4), linear[1])
    model, gather = MultimodalModel({"x": None}, head), {"x": lambda r: torch.from_numpy(x[r])}
    history = fit(model, gather, training, validation, numbers, seed=3)
    scores = plain_scores(plain, torch.from_numpy(x), torch.from_numpy(y).float(), numbers)
    found = predict(model, gather, rows)
    assert np.abs(scores[history.best_epoch - 1] - found).max() < 1e-5


def plain_scores(model, x, y, numbers):
    """Scores of all molecules after each epoch."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=numbers.learning_rate, weight_decay=numbers.weight_decay
    )
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(numbers.average))
    diary, found = TrainingState(to_trainer_config(numbers), seed=3), []
    for epoch in range(1, numbers.epochs + 1):
        model.train()
        order = torch.Generator().manual_seed(diary.drawn_from(epoch))
        with seeded(diary.drawn_from(epoch, 0)):
            for rows in torch.randperm(40, generator=order).split(numbers.batch_size):
                optimizer.zero_grad()
                binary_cross_entropy_with_logits(model(x[rows]), y[rows]).backward()
                optimizer.step()
                average.update_parameters(model)
        kept = average.module if numbers.average else model
        found.append(kept.eval()(x).sigmoid().detach().numpy())
    return found
