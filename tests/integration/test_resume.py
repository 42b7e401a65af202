"""A training that was stopped goes on to the same weights, bit for bit."""

import logging
import subprocess
import sys

import pytest
import torch
import toy_trainings
from toy_trainings import balanced, checkpoint_in, numbers

from study.training.supervised import fit

CALLS = 6
"""Batches of the encoder in an epoch: five in training, one in validation."""


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class StoppedError(Exception):
    """The training is interrupted."""


def trained(checkpoints=None, stop_at=None, **changed):
    """Train and return the history and all weights; `stop_at`: the batch that breaks it."""
    model, gather, training, validation = balanced()
    calls = []

    def counted(rows):
        calls.append(rows)
        if len(calls) == stop_at:
            raise StoppedError
        return gather["a"](rows)

    history = fit(
        model,
        {"a": counted, "b": gather["b"]},
        training,
        validation,
        numbers(**changed),
        seed=3,
        checkpoints=checkpoints,
    )
    return history, model.state_dict(), len(calls)


def assert_same(one, other):
    assert one[0] == other[0]
    assert one[1].keys() == other[1].keys()
    assert all(torch.equal(values, other[1][name]) for name, values in one[1].items())


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"average": 0},
        {"precision": "bfloat16"},
        {"precision": "float16"},
        {"freeze_epochs": 3, "top_layers": 1},
        {"monitor": "loss", "patience": 2},
    ],
    ids=str,
)
def test_a_stopped_training_equals_one_that_was_not(changed, tmp_path):
    kept = checkpoint_in(tmp_path)
    with pytest.raises(StoppedError):
        trained(kept, stop_at=2 * CALLS + 3, **changed)
    resumed = trained(kept, **changed)
    whole = trained(**changed)
    assert_same(resumed, whole)
    assert resumed[2] == whole[2] - 2 * CALLS  # two epochs were not done again


def test_a_killed_training_equals_one_that_was_not(tmp_path):
    script = [sys.executable, toy_trainings.__file__, str(tmp_path), str(2 * CALLS + 3)]
    done = subprocess.run(script, check=False, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    resumed, whole = trained(checkpoint_in(tmp_path)), trained()
    assert_same(resumed, whole)
    assert resumed[2] == whole[2] - 2 * CALLS


def test_a_finished_training_is_not_done_again(tmp_path):
    first = trained(checkpoint_in(tmp_path))
    again = trained(checkpoint_in(tmp_path))
    assert_same(again, first)
    assert again[2] == 0


def test_a_cleared_checkpoint_is_gone(tmp_path):
    kept = checkpoint_in(tmp_path)
    kept.save({"losses": []})
    kept.clear()
    kept.clear()
    assert kept.load() is None
    assert list(tmp_path.iterdir()) == []


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def swap(path):
    other = type(checkpoint_in(path.parent))(checkpoint_in(path.parent).storage, "other")
    other.save({"losses": []})
    path.with_name("other.checkpoint").replace(path)


def cut(path):
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize("harm", [damage, swap, cut])
def test_a_checkpoint_that_is_not_its_own_is_set_aside_and_said(harm, tmp_path, caplog):
    kept = checkpoint_in(tmp_path)
    kept.save({"losses": []})
    harm(tmp_path / "toy.checkpoint")
    with caplog.at_level(logging.WARNING):
        assert kept.load() is None
    assert "toy.checkpoint.corrupt; the training starts over" in caplog.text
    assert (tmp_path / "toy.checkpoint.corrupt").exists()
