"""Our dropout against its definition."""

import pytest
import torch

from modalities.nn.random import Dropout


def drop(p, shape=(400, 500), seed=0, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Dropout(p)(torch.ones(shape, **options))


@pytest.mark.parametrize("p", [0.05, 0.3, 0.5, 0.9])
def test_the_share_of_zeros_and_the_scale_of_the_rest(p):
    dropped = drop(p)
    spread = (p * (1 - p) / dropped.numel()) ** 0.5
    assert (dropped == 0).float().mean().item() == pytest.approx(p, abs=5 * spread)
    torch.testing.assert_close(dropped[dropped != 0].unique(), torch.tensor([1 / (1 - p)]),
                               rtol=1e-4, atol=0)  # fmt: skip


def test_values_are_dropped_independently():
    zeros = (drop(0.5) == 0).double().flatten()
    spread = 0.5 / (len(zeros) ** 0.5)
    for lag in (1, 2, 3, 4, 500):  # four values share a draw of 64 bits
        both = (zeros[lag:] * zeros[:-lag]).mean().item()
        assert both == pytest.approx(0.25, abs=5 * spread)


def test_odd_sizes_other_types_and_gradients():
    assert drop(0.5, (3, 7)).shape == (3, 7)
    assert drop(0.5, (0, 7)).shape == (0, 7)
    assert drop(0.3, (5,), dtype=torch.bfloat16).dtype == torch.bfloat16
    x = torch.ones(101, requires_grad=True)
    y = Dropout(0.5)(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_the_seed_decides_and_evaluation_drops_nothing():
    assert torch.equal(drop(0.3, seed=1), drop(0.3, seed=1))
    assert not torch.equal(drop(0.3, seed=1), drop(0.3, seed=2))
    x = torch.randn(5, 5)
    assert torch.equal(Dropout(0.3).eval()(x), x)
    assert torch.equal(Dropout(0)(x), x)
