"""Replicas: two processes train what one does, and all of them know the same."""

import pytest
import torch
from torch import multiprocessing
from toy_trainings import in_group, regression

from study.errors import StudyError, TrialError
from study.training.distributed import ProcessGroup, current_process_group
from study.training.encoders import check_workers


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    """What each of two processes has after its trainings."""
    folder = tmp_path_factory.mktemp("group")
    multiprocessing.spawn(in_group, (2, folder), nprocs=2)
    return [torch.load(folder / str(rank)) for rank in range(2)]


def test_two_processes_with_unequal_shares_train_what_one_does(group):
    alone = regression(ProcessGroup(), epochs=3)
    for process in group:
        assert process["losses"] == pytest.approx(alone["losses"], abs=1e-6)
        for name, values in alone["weights"].items():
            torch.testing.assert_close(process["weights"][name], values, atol=1e-6, rtol=1e-5)
    assert group[0]["losses"] == group[1]["losses"]


def test_the_first_process_measures_and_all_stop_together(group):
    assert [process["falling"] for process in group] == [(3, 2, 1), (3, 2, 1)]
    assert [process["asked"] for process in group] == [3, 0]


def test_processes_share_sums_and_the_first_ones_value(group):
    assert all(process["sum"] == [1.0, 2.0] and process["first"] == 10.0 for process in group)


def test_a_group_that_is_destroyed_is_gone(group):
    """A thread of a group that lives on may abort the process while the interpreter ends."""
    assert all(process["group is gone"] for process in group)


def test_a_gpu_that_is_not_there_is_no_cpu():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(StudyError, match=r"torch finds none.*; set 'run\.gpus_per_worker' to 0"):
        current_process_group(gpu=True)
    assert current_process_group() == ProcessGroup()


def test_a_training_on_another_number_of_processes_is_refused():
    with pytest.raises(TrialError, match="asks for 2 workers but runs in 1 processes; set 'train"):
        check_workers(2, ProcessGroup())
