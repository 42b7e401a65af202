import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalities import ModalityError, ModalityFeatures, Ragged

tables = st.lists(st.lists(st.integers(-5, 5), max_size=4), min_size=1, max_size=6)


def stacked(lists):
    return Ragged.stack([np.array(one, dtype=np.int16) for one in lists])


@given(tables, st.data())
def test_take_is_a_list_of_rows(lists, data):
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=8))
    taken = stacked(lists).take(np.array(rows, dtype=np.int64))
    assert [taken[i].tolist() for i in range(len(taken))] == [lists[row] for row in rows]
    assert taken.lengths.tolist() == [len(lists[row]) for row in rows]


@pytest.mark.parametrize("offsets", [[1, 3], [0, 2], [0, 4, 3]])
def test_offsets_must_describe_the_values(offsets):
    with pytest.raises(ModalityError, match="rise from 0 to the number of records"):
        Ragged(np.zeros(3), np.array(offsets))


def test_matrix_needs_one_record_a_molecule():
    table = ModalityFeatures("v", ("C", "CC"), {"tokens": stacked([[1], [1, 2]])})
    with pytest.raises(ModalityError, match="'tokens' is ragged"):
        table.matrix("tokens")


def test_fields_must_have_a_row_for_every_molecule():
    with pytest.raises(ModalityError, match="'tokens' has 1 molecules, the table 2"):
        ModalityFeatures("v", ("C", "CC"), {"tokens": stacked([[1]])})


def test_stack_needs_a_molecule():
    with pytest.raises(ModalityError, match="at least one molecule"):
        ModalityFeatures.stack("v", (), [])


def test_digest_depends_on_version_and_rows():
    digests = {
        ModalityFeatures(version, smiles, {}).digest
        for version in ("v1", "v2")
        for smiles in (("C", "CC"), ("CC", "C"), ("C",))
    }
    assert len(digests) == 6
