"""Cards of weights: exact round trip, written last, and every defect named."""

import hashlib
import json
from dataclasses import asdict, replace

import pytest

from modalities import ModalityError
from modalities.weights.model_card import (
    ModelCard,
    find_model_card,
    format_card_hint,
    has_model_card,
    read_model_card,
    write_model_card,
)

WEIGHTS = b"weights"
CARD = ModelCard(
    name="small",
    description="",
    modality="smiles",
    options={"layers": 2, "dropout": 0.1, "pooling": "mean"},
    started_from="random",
    objective="masked_characters",
    objective_options={"share": 0.15, "randomize": True},
    training={"epochs": 3, "seed": 0},
    data={"file": "molecules.csv", "molecules": 40, "exclude": None},
    measures={"loss": 0.5, "top": None},
    epochs=2,
    versions={"torch": "2"},
    sha256=hashlib.sha256(WEIGHTS).hexdigest(),
    terms="made up",
    created_by="a test",
    identity="0" * 32,
)


def test_card_round_trip(tmp_path):
    write_model_card(tmp_path / "new", WEIGHTS, CARD)
    assert read_model_card(tmp_path / "new") == CARD
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"weights.pt", "card.json"}
    for place in (tmp_path / "new", tmp_path / "new" / "weights.pt"):
        assert find_model_card(place) == CARD


def test_foreign_weights_have_no_card(tmp_path):
    (tmp_path / "model.pth").write_bytes(WEIGHTS)
    assert find_model_card(tmp_path / "model.pth") is None
    assert find_model_card(tmp_path) is None


def test_weights_of_another_hash_are_not_written(tmp_path):
    with pytest.raises(ModalityError, match=r"states sha256 .*, but the weights have"):
        write_model_card(tmp_path, b"others", CARD)
    assert not list(tmp_path.iterdir())


def test_no_card_if_weights_cannot_be_written(tmp_path):
    (tmp_path / "weights.pt" / "in_the_way").mkdir(parents=True)
    with pytest.raises(ModalityError, match="weights cannot be written to"):
        write_model_card(tmp_path, WEIGHTS, CARD)
    assert not has_model_card(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw.pop("sha256"), r"lacks \['sha256'\]"),
        (lambda raw: raw.update(note="x"), r"has the unknown \['note'\]"),
        (lambda raw: raw.update(epochs="2"), "'epochs' must be int, not '2'"),
        (lambda raw: raw.update(options=[1]), "'options' must be .*, not"),
        (lambda raw: raw.update(sha256="abc"), "sha256 must be 64 hex digits"),
        (lambda raw: raw.update(options={"weights": "x"}), "are not options of a network"),
    ],
)
def test_a_changed_card_is_refused(tmp_path, change, message):
    raw = asdict(CARD)
    change(raw)
    (tmp_path / "card.json").write_text(json.dumps(raw))
    with pytest.raises(ModalityError, match=message):
        read_model_card(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "cannot be read"), ("[]", "must be a mapping, not list"), (None, "has no card.json")],
)
def test_other_content_than_a_card_is_refused(tmp_path, text, message):
    if text is not None:
        (tmp_path / "card.json").write_text(text)
    with pytest.raises(ModalityError, match=message):
        read_model_card(tmp_path)


def test_hint_lists_the_options_that_differ(tmp_path):
    write_model_card(tmp_path, WEIGHTS, CARD)
    place = {"weights": str(tmp_path)}
    same = {**place, "layers": 2, "dropout": 0.1, "pooling": "mean"}
    assert format_card_hint("smiles", same) == ""
    assert format_card_hint("smiles", {**same, "layers": 3, "dropout": 0.1}) == (
        "; the card of these weights says layers=2: use the same"
    )
    assert format_card_hint("graph", place) == (
        "; the card of these weights says modality=smiles, layers=2, dropout=0.1, pooling=mean: "
        "use the same"
    )
    assert format_card_hint("smiles", {"weights": str(tmp_path / "nowhere")}) == ""


def test_nan_measure_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_model_card(tmp_path, WEIGHTS, replace(CARD, measures={"loss": float("nan")}))
    assert not list(tmp_path.iterdir())
