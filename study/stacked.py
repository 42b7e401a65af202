"""A pack of head trials trained in one process: what they share is read once.

On a CPU the members are trained one after the other, by the very function that trains a trial
alone. Measured on one core, that is as fast as one batched computation with 256 inputs and twice
as fast with 1,300: a single member's matrix products keep the core busy, and the optimizer, which
is bound by memory, finds the weights in its caches. (Only much smaller heads gain: 1.6 times with
64 inputs and batches of 32.) On a GPU the members are stacked: one alone would leave it idle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from fusion._stacked import kind_of
from study.cells import TrialSpec
from study.failures import cause_of, traceback_of
from study.inputs import Inputs
from study.packs import place_of
from study.ranks import Ranks
from study.result import TrialResult
from study.stacked_batched import train_together
from study.stacked_inputs import SharedInputs
from study.stacked_members import Member
from study.trial import concluded, made_ready, run_trial


@dataclass(frozen=True)
class Ended:
    """How a member of a pack ended.

    Attributes
    ----------
    trial : TrialSpec
    result : TrialResult or None
        None if it failed.
    cause, traceback : str
        Why it failed.
    """

    trial: TrialSpec
    result: TrialResult | None
    cause: str = ""
    traceback: str = ""


def run_pack(
    trials: Sequence[TrialSpec],
    inputs: Inputs,
    *,
    device: torch.device | None = None,
    together: bool | None = None,
) -> Iterator[Ended]:
    """Run head trials; yield how each ended as soon as it has.

    What a trial gives does not depend on those that run with it: to the last bit where they are
    trained one after the other, within the tolerance of float32 sums where they are stacked.

    Parameters
    ----------
    trials : sequence of TrialSpec
        Those that are to be trained here (see `study.packs.stackable`), in any order.
    inputs : Inputs
    device : torch.device, optional
        Without it the CPU.
    together : bool, optional
        Whether members of one shape are stacked into one batched computation. Default: on
        everything but a CPU.
    """
    device = device or torch.device("cpu")
    together = device.type != "cpu" if together is None else together
    ordered = sorted(trials, key=place_of)
    if together:
        yield from _stacked(ordered, inputs, device)
    else:
        yield from _in_turn(ordered, inputs, device)


def _in_turn(trials: Sequence[TrialSpec], inputs: Inputs, device: torch.device) -> Iterator[Ended]:
    shared, ranks = SharedInputs(), Ranks(device=device)
    for trial in trials:
        try:
            with ranks.named_errors():
                ended = Ended(trial, run_trial(trial, inputs, ranks, shared=shared))
        except Exception as error:  # noqa: BLE001 (whatever it is, it fails this trial alone)
            ended = _failed(trial, error)
        yield ended


def _stacked(trials: Sequence[TrialSpec], inputs: Inputs, device: torch.device) -> Iterator[Ended]:
    shared = SharedInputs(places=len(trials))
    alike: dict[object, list[Member]] = {}
    for trial in trials:
        try:
            member = Member(made_ready(trial, inputs, shared))
        except Exception as error:  # noqa: BLE001 (as in `_in_turn`)
            yield _failed(trial, error)
        else:
            kind = kind_of(member.ready.model), trial.cell.training.precision
            alike.setdefault(kind, []).append(member)
    for members in alike.values():
        yield from _trained(members, inputs, device)


def _trained(members: Sequence[Member], inputs: Inputs, device: torch.device) -> Iterator[Ended]:
    """Train members of one shape; where the device has no room for all, one half at a time."""
    left = list(members)
    try:
        for member, failure in train_together(members, inputs, device):
            left.remove(member)
            yield _failed(member.ready.trial, failure) if failure else _concluded(member, inputs)
    except torch.OutOfMemoryError as error:
        trials = [member.ready.trial for member in left]
        if len(trials) == 1:
            yield _failed(trials[0], error)
            return
    else:
        return
    for half in (trials[::2], trials[1::2]):  # anew: what they drew is spent
        yield from _stacked(half, inputs, device)


def _concluded(member: Member, inputs: Inputs) -> Ended:
    try:
        result = concluded(member.ready, inputs, member.history, member.seconds)
    except Exception as error:  # noqa: BLE001 (as in `_in_turn`)
        return _failed(member.ready.trial, error)
    return Ended(member.ready.trial, result)


def _failed(trial: TrialSpec, error: Exception) -> Ended:
    return Ended(trial, None, cause_of(error), traceback_of(error))
