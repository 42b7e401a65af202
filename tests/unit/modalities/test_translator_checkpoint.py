"""Files in the published wrapping, made here: the published one is not to be had."""

import numpy as np
import pytest
import torch
from translator_by_hand import LAYERS, encode, position_rows, published_shapes

from modalities import ModalityError
from modalities.nn.transformer import TextEncoder
from modalities.nn.translator import Translator
from modalities.smiles import Smiles
from modalities.weights.checkpoint import load_weights
from modalities.weights.published_translator import convert_published

SHAPE = {"layers": LAYERS, "width": 16, "heads": 8, "feedforward": 24}


def published_state(width=16, feedforward=24, places=300):
    rng = np.random.default_rng(0)
    shapes = published_shapes(width, feedforward, places)
    state = {name: torch.from_numpy(rng.normal(0, 0.5, shape)) for name, shape in shapes.items()}
    for half in ("encoder", "decoder"):
        state[f"{half}.pe.pe"] = torch.from_numpy(position_rows(places, width))[None]
    return {name: value.float() for name, value in state.items()}


def save(state, path):
    wrapped = {f"module.{name}": value for name, value in state.items()}
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(2))])
    torch.save(
        {
            "epoch": 1,
            "state_dict": wrapped,
            "optimizer_state_dict": optimizer.state_dict(),
            "lr": 1e-4,
        },
        path,
    )
    return path


@pytest.fixture(scope="module")
def state():
    return published_state()


@pytest.fixture(scope="module")
def path(state, tmp_path_factory):
    return save(state, tmp_path_factory.mktemp("published") / "checkpoint.ckpt")


def test_encoder_loads_from_a_whole_translator(state, path):
    modality = Smiles(**SHAPE, weights=str(path))
    encoder = modality.encoder(seed=0).eval()
    attention = encoder.transformer.layers[2].self_attn
    names = [f"encoder.layers.2.attn.{part}_linear.weight" for part in "qkv"]
    assert torch.equal(attention.in_proj_weight, torch.cat([state[name] for name in names]))
    scaled = state["encoder.norm.alpha"] * (15 / 16) ** 0.5
    torch.testing.assert_close(encoder.norm.weight.detach(), scaled)
    ids = modality.featurize("CC(=O)OCC")["tokens"].astype(np.int64)
    states = encoder.states(torch.from_numpy(ids)[None])[0].detach().numpy()
    numbers = {name: value.double().numpy() for name, value in state.items()}
    by_hand = encode(ids, numbers, layers=LAYERS, heads=8)
    np.testing.assert_allclose(states, by_hand, atol=1e-4)


def test_all_262_published_tensors_are_converted(state, path):
    encoder = Smiles(**SHAPE).encoder(seed=0)
    report = load_weights(
        encoder,
        path,
        prefix=TextEncoder.prefix,
        ignorable=TextEncoder.ignorable,
        convert=convert_published,
    )
    assert len(report.loaded) == 99 - 6 * 4  # four tensors of each attention are in two
    assert len(report.ignored) == 262 - 99 - 6 * 2 * 4
    whole = Translator(encoder, layers=LAYERS, max_length=256)
    report = load_weights(whole, path, convert=convert_published)
    assert len(report.loaded) == 260 - 6 * 3 * 4
    assert report.ignored == ("encoder.pe.pe", "decoder.pe.pe")
    ours = convert_published(state)
    assert all(torch.equal(v, ours[name]) for name, v in whole.state_dict().items())


def test_the_encoder_alone_loads_with_and_without_wrapping(state, tmp_path):
    part = {n.removeprefix("encoder."): v for n, v in state.items() if n.startswith("encoder.")}
    for number, saved in enumerate((part, {"state_dict": part})):
        torch.save(saved, tmp_path / f"{number}.pt")
        encoder = Smiles(**SHAPE, weights=str(tmp_path / f"{number}.pt")).encoder(seed=0)
        assert torch.equal(encoder.norm.bias, state["encoder.norm.bias"])


def test_pretraining_folder_loads_as_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("OLFACTION_WEIGHTS", str(tmp_path))
    (tmp_path / "masked").mkdir()
    trained = Smiles().encoder(seed=5)
    torch.save(trained.state_dict(), tmp_path / "masked" / "weights.pt")
    for place in ("masked", str(tmp_path / "masked")):
        encoder = Smiles(weights=place).encoder(seed=0)
        assert torch.equal(encoder.embed.embed.weight, trained.embed.embed.weight)
    with pytest.raises(ModalityError, match=r"'other' not found .*a folder must hold weights.pt"):
        Smiles(weights="other").encoder(seed=0)


def refused(message, path, **options):
    with pytest.raises(ModalityError, match=message):
        Smiles(**{**SHAPE, "weights": str(path), **options}).encoder(seed=0)


def test_other_architecture_is_refused_with_match_count(path):
    refused(
        "of another architecture than TextEncoder: 6 of 75 weights match; .*69 of another "
        r"shape \(embed.embed.weight \(98, 16\) for \(98, 32\)",
        path,
        width=32,
    )
    refused(r"51 of 51 weights match; 24 unexpected \(transformer.layers.4", path, layers=4)
    refused(r"75 of 87 weights match; 12 missing \(transformer.layers.6", path, layers=7)


def test_another_position_table_is_refused(state, tmp_path):
    place = torch.arange(300)[:, None] / 10000 ** (torch.arange(0, 16, 2) / 16)
    usual = torch.stack([place.sin(), place.cos()], dim=2).flatten(1)[None]
    other = save({**state, "encoder.pe.pe": usual}, tmp_path / "usual.pt")
    refused(
        r"75 of 75 weights match; 1 unexpected \(pe.pe, whose computed values are different\)",
        other,
    )


def test_two_networks_in_one_file_are_refused(state, tmp_path):
    both = save({**state, "norm.alpha": state["encoder.norm.alpha"]}, tmp_path / "both.pt")
    refused("names both with and without 'encoder.'; save the state dict of one network", both)


def test_a_truncated_file_and_a_wrong_hash_are_refused(path, tmp_path):
    short = tmp_path / "short.ckpt"
    short.write_bytes(path.read_bytes()[:-1000])
    refused("cannot be read .*damaged, cut short", short)
    refused("have sha256 [0-9a-f]{64}, not 00; fetch the file again", path, sha256="00")


def test_weight_names_must_be_strings(tmp_path):
    torch.save({1: torch.ones(1)}, tmp_path / "numbers.pt")
    refused("are not a state dict", tmp_path / "numbers.pt")


@pytest.mark.parametrize("part", ["q_linear.weight", "k_linear.bias", "out.bias"])
def test_every_tensor_of_the_published_layout_is_needed(state, tmp_path, part):
    short = {name: v for name, v in state.items() if name != f"encoder.layers.3.attn.{part}"}
    refused("1 missing .transformer.layers.3.self_attn", save(short, tmp_path / "short.pt"))


def test_a_tensor_in_both_layouts_is_refused(state, tmp_path):
    both = {**state, "encoder.transformer.layers.0.norm1.bias": torch.ones(16)}
    refused(r"1 unexpected \(layers.0.norm_1.bias\)", save(both, tmp_path / "both.pt"))
