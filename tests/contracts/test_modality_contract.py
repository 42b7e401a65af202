"""Contract of every modality; a new file in the folder is tested without an edit here."""

import inspect
import pickle
import random
import typing

import numpy as np
import pytest
import torch
from modality_words import (
    MOLECULES,
    WORDS,
    features_of,
    modality_class,
    modality_of,
)

from modalities import Encoder, ModalityError, ModalityFeatures

TRAIN = np.arange(9)
ALL = np.arange(len(MOLECULES))


@pytest.fixture(scope="module", params=WORDS)
def modality_name(request):
    return request.param


@pytest.fixture(scope="module")
def modality(modality_name):
    return modality_of(modality_name)


@pytest.fixture(scope="module")
def features(modality):
    return features_of(modality)


@pytest.fixture
def encoder(modality, features):
    fitted = modality.encoder(seed=1)
    fitted.fit(features, TRAIN)
    return fitted.eval()


def embed(encoder, features, rows):
    with torch.no_grad():
        return encoder(encoder.collate(features, np.asarray(rows)))


def same_record(one, other):
    return one.keys() == other.keys() and all(
        np.array_equal(one[k], other[k], equal_nan=one[k].dtype.kind == "f") for k in one
    )


def test_options_are_keyword_only_typed_and_have_defaults(modality_name):
    plain = {int, float, bool, str, type(None)}
    for name, hint in typing.get_type_hints(modality_class(modality_name).__init__).items():
        if name == "return":
            continue
        option = inspect.signature(modality_class(modality_name)).parameters[name]
        assert option.kind is inspect.Parameter.KEYWORD_ONLY
        assert option.default is not inspect.Parameter.empty
        parts = typing.get_args(hint) or (hint,)
        assert typing.get_origin(hint) is typing.Literal or set(parts) <= plain


def test_attributes_are_declared(modality):
    assert modality.letter.isupper()
    assert isinstance(modality.trainable, bool)


def test_version_belongs_to_modality_with_equal_features(modality):
    owner = modality_of(modality.version.split()[0])
    assert owner.version == modality.version
    for text in MOLECULES[:3]:
        assert same_record(owner.featurize(text), modality.featurize(text))


def test_letters_are_unique():
    letters = [modality_class(name).letter for name in WORDS]
    assert len(set(letters)) == len(letters)


@pytest.mark.parametrize("text", ["C1CC", "not a molecule", ""])
def test_invalid_smiles_is_refused_by_name(modality, text):
    with pytest.raises(ModalityError, match=f"molecule '{text}'"):
        modality.featurize(text)


def test_featurizing_is_deterministic_and_survives_pickling(modality):
    copy = pickle.loads(pickle.dumps(modality))  # noqa: S301 (our own bytes)
    assert copy.version == modality.version
    for text in MOLECULES:
        assert same_record(modality.featurize(text), copy.featurize(text))


def test_row_i_is_molecule_i(modality, features):
    for row, text in enumerate(MOLECULES):
        record = {name: field[row] for name, field in features.fields.items()}
        assert same_record(record, modality.featurize(text))


def other_value(option, hint):
    if typing.get_origin(hint) is typing.Literal:
        return next(value for value in typing.get_args(hint) if value != option.default)
    if isinstance(option.default, bool):
        return not option.default
    return None if option.default is None else type(option.default)(option.default * 2)


def test_version_changes_whenever_an_option_changes_features(modality_name, modality, features):
    hints = typing.get_type_hints(modality_class(modality_name).__init__)
    for name, option in inspect.signature(modality_class(modality_name)).parameters.items():
        value = other_value(option, hints[name])
        if value is None:
            continue
        try:
            changed = modality_of(modality_name, **{name: value})
        except ModalityError:
            continue  # not a value this option takes
        same = all(
            same_record(changed.featurize(text), modality.featurize(text)) for text in MOLECULES
        )
        assert same or changed.version != modality.version, name


def test_embeds_to_dim(encoder, features):
    assert isinstance(encoder, Encoder)
    assert isinstance(encoder, torch.nn.Module)
    for rows in ([3], [0, 13, 5], ALL):
        embedding = embed(encoder, features, rows)
        assert embedding.shape == (len(rows), encoder.dim)
        assert embedding.dtype == torch.float32
        assert embedding.isfinite().all()


def test_a_molecule_embeds_the_same_alone_and_in_any_batch(encoder, features):
    together = embed(encoder, features, ALL)
    alone = torch.cat([embed(encoder, features, [row]) for row in ALL])
    rounding = 1e-5 * together.abs().max().clamp(min=1).item()
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=rounding)
    assert torch.pdist(together).max() > 1e-3, "all molecules embed alike"


def test_fit_sees_only_its_rows(modality, features, encoder):
    strangers = ("CCCCCCCCCCCCCCCCCC(=O)O", "O=S(=O)(O)O", "BrC(Br)Br", "c1ccsc1", "NCCN")
    other = modality.encoder(seed=1)
    other.fit(features_of(modality, MOLECULES[: len(TRAIN)] + strangers), TRAIN)
    ours, theirs = encoder.state_dict(), other.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_fitted_declares_whether_fit_depends_on_rows(modality, features):
    def fitted(rows):
        encoder = modality.encoder(seed=1)
        encoder.fit(features, rows)
        return encoder.state_dict()

    some, others = fitted(TRAIN), fitted(TRAIN[: len(TRAIN) // 2])
    same = some.keys() == others.keys() and all(
        some[name].shape == others[name].shape and torch.equal(some[name], others[name])
        for name in some
    )
    assert modality.fitted != same


def test_state_dict_restores_a_fitted_encoder(modality, features, encoder):
    fresh = modality.encoder(seed=2).eval()
    fresh.load_state_dict(encoder.state_dict())
    assert fresh.dim == encoder.dim
    assert torch.equal(embed(fresh, features, ALL), embed(encoder, features, ALL))


def test_initial_weights_depend_on_the_seed(modality):
    first, again, other = (modality.encoder(seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    differs = any(not torch.equal(first[name], other[name]) for name in first)
    assert differs == modality.trainable


def test_global_random_state_is_unchanged(modality, features):
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002 (its state is what is tested)
    encoder = modality.encoder(seed=5)
    encoder.fit(features, TRAIN)
    embed(encoder.eval(), features, ALL)
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002 (as above)
    assert before == after


def test_every_weight_of_a_trainable_encoder_gets_a_gradient(modality, encoder, features):
    weights = dict(encoder.named_parameters())
    assert bool(weights) == modality.trainable
    if weights:
        encoder.train()
        (encoder(encoder.collate(features, ALL)) ** 2).sum().backward()
        assert all(weight.grad is not None for weight in weights.values())


def test_collating_memory_mapped_features_copies_them(encoder, features):
    frozen = {}
    for name, field in features.fields.items():
        values, offsets = field.values.copy(), field.offsets.copy()
        values.setflags(write=False)
        offsets.setflags(write=False)
        frozen[name] = type(field)(values, offsets)
    table = ModalityFeatures(features.version, features.smiles, frozen)
    for tensor in encoder.collate(table, ALL).values():  # torch warns about read-only memory
        assert not any(
            np.shares_memory(tensor.numpy(), part)
            for field in frozen.values()
            for part in (field.values, field.offsets)
        )
