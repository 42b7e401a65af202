"""The modality `language_model`, on checkpoints that the tests make; nothing is downloaded."""

import hashlib
import json
import shutil
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from checkpoint_maker import (
    CHARACTERS,
    POSITIONS,
    character_tokenizer,
    save_checkpoint,
    save_tokenizer,
)
from modality_words import MOLECULES, features_of
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers
from transformers import AutoModel, AutoTokenizer, T5Config, T5EncoderModel
from transformers.utils import logging

from modalities import ModalityError
from modalities.featurizers import tokenizer
from modalities.language_model import LanguageModel
from modalities.nn.language_model import split_into_stages
from modalities.weights import huggingface as files

ARCHITECTURES = ("bert", "roberta", "t5")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Architecture -> folder of a checkpoint; read only."""
    folder = tmp_path_factory.mktemp("saved")
    for architecture in ARCHITECTURES:
        save_checkpoint(folder / architecture, architecture)
    return {architecture: folder / architecture for architecture in ARCHITECTURES}


@pytest.fixture
def bert(saved, tmp_path):
    """A copy of a checkpoint that a test may damage."""
    return shutil.copytree(saved["bert"], tmp_path / "bert")


def embed(modality, smiles=MOLECULES):
    features = features_of(modality, smiles)
    encoder = modality.encoder(seed=0).eval()
    with torch.no_grad():
        return encoder(encoder.collate(features, np.arange(len(smiles))))


def expected(folder, smiles, pooling):
    """Embed one molecule with the library alone, without padding."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModel.from_pretrained(folder).eval()
    network = network.get_encoder() if network.config.is_encoder_decoder else network
    with torch.no_grad():
        states = network(**tokenizer(smiles, return_tensors="pt")).last_hidden_state[0]
    return {"mean": states.mean(0), "start": states[0], "max": states.amax(0)}[pooling]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("pooling", ["mean", "start", "max"])
def test_embeddings_are_the_pooled_states_of_the_library(saved, architecture, pooling):
    folder = saved[architecture]
    ours = embed(LanguageModel(weights=str(folder), pooling=pooling))
    theirs = torch.stack([expected(folder, text, pooling) for text in MOLECULES])
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_random_network_has_equal_shapes_and_other_weights(saved, architecture):
    folder = str(saved[architecture])
    trained = LanguageModel(weights=folder).encoder(seed=0).state_dict()
    drawn = LanguageModel(architecture=folder).encoder(seed=1).state_dict()
    shapes = [{name: value.shape for name, value in state.items()} for state in (trained, drawn)]
    assert shapes[0] == shapes[1]
    matrices = [name for name, value in trained.items() if value.ndim > 1]
    assert not any(torch.equal(trained[name], drawn[name]) for name in matrices)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_stages_are_embeddings_then_layers_with_every_weight_once(saved, architecture):
    encoder = LanguageModel(weights=str(saved[architecture])).encoder(seed=0)
    stages = encoder.stages()
    held = [id(weight) for stage in stages for weight in stage.parameters()]
    assert sorted(held) == sorted(id(weight) for weight in encoder.parameters())
    assert len(stages) == 3  # embeddings and two layers
    lookup = next(m for m in encoder.modules() if isinstance(m, torch.nn.Embedding))
    assert any(weight is lookup.weight for weight in stages[0].parameters())


def test_nested_layers_are_not_stages():
    one = T5EncoderModel(T5Config(d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2))
    layer = one.encoder.block[0]
    assert len(layer.layer) > 1
    assert [any(m is layer for m in stage.modules()) for stage in split_into_stages(one)] == [
        False,
        True,
    ]


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_molecule_with_too_many_tokens_is_refused(saved, architecture):
    modality = LanguageModel(weights=str(saved[architecture]))
    longest = "C" * (POSITIONS - 2)  # a start and an end
    assert embed(modality, [longest, "C"]).isfinite().all()
    with pytest.raises(
        ModalityError, match=rf"molecule 'C+': 41 tokens .* than the {POSITIONS} positions"
    ):
        modality.featurize(longest + "C")


def test_max_length_applies_if_it_is_smaller(saved):
    with pytest.raises(
        ModalityError, match=r"molecule 'CCO': 5 tokens .* more than max_length=4; raise"
    ):
        LanguageModel(weights=str(saved["bert"]), max_length=4).featurize("CCO")


def test_position_limit_is_read_from_the_network(saved, monkeypatch):
    monkeypatch.setattr(tokenizer, "read_max_tokens", lambda _: None)
    tokenizer.read_tokenizer_version.cache_clear()
    with pytest.raises(ModalityError, match=f"max_length must be at most {POSITIONS} for .*, not"):
        LanguageModel(weights=str(saved["roberta"])).encoder(seed=0)
    assert LanguageModel(weights=str(saved["roberta"]), max_length=POSITIONS).encoder(seed=0)
    tokenizer.read_tokenizer_version.cache_clear()


def with_tokenizer(folder, tokenizer):
    save_tokenizer(folder, tokenizer)
    return LanguageModel(architecture=str(folder))


def pairs_without_unknown():
    return Tokenizer(models.BPE({character: i for i, character in enumerate(CHARACTERS)}, []))


def lower_case():
    tokenizer = character_tokenizer()
    tokenizer.normalizer = normalizers.Lowercase()
    return tokenizer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (character_tokenizer, r"has no token for 'i'"),
        (pairs_without_unknown, r"drops the character 'i'"),
        (lower_case, r"reads it as 'c\[si\]\(c\)\(c\)c'"),
    ],
)
def test_a_character_the_tokenizer_lacks_is_named(bert, make, message):
    with pytest.raises(ModalityError, match=rf"molecule 'C\[Si\]\(C\)\(C\)C': .*{message}; choose"):
        with_tokenizer(bert, make()).featurize("C[Si](C)(C)C")


def test_truncation_and_padding_are_switched_off(bert):
    tokenizer = character_tokenizer()
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=30)
    assert len(with_tokenizer(bert, tokenizer).featurize("CCCCO")["tokens"]) == 7


def test_a_tokenizer_older_than_tokenizer_json_is_converted(bert):
    (bert / "tokenizer.json").unlink()
    (bert / "tokenizer_config.json").unlink()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "C", "##C", "##O"]
    (bert / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": False}
    (bert / "tokenizer_config.json").write_text(json.dumps(config))
    modality = LanguageModel(architecture=str(bert))
    assert modality.featurize("CCO")["tokens"].tolist() == [2, 5, 6, 7, 3]
    with pytest.raises(ModalityError, match="has no token for 'CCN'"):
        modality.featurize("CCN")


def test_the_default_asks_for_a_checkpoint():
    with pytest.raises(ModalityError, match=r"'language_model' needs a checkpoint: set weights"):
        LanguageModel()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "a", "architecture": "b"}, "architecture must be left out when weights are"),
        ({"architecture": "b", "sha256": "0"}, "sha256 must be left out when weights are random"),
        ({"weights": "a", "pooling": "sum"}, "pooling must be mean, start or max, not 'sum'"),
        ({"weights": "a", "max_length": 1}, "max_length must be 2 or more, not 1"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ModalityError, match=f"modality 'language_model': {message}"):
        LanguageModel(**options)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_missing_file_is_named(bert, file):
    (bert / file).unlink()
    with pytest.raises(ModalityError, match=rf"bert lacks {file}.*; copy the file into"):
        LanguageModel(weights=str(bert))


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_file_cut_short_is_named(bert, file):
    content = (bert / file).read_bytes()
    (bert / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(ModalityError, match=rf"checkpoint '{bert}': .* cannot be (read|loaded)"):
        embed(LanguageModel(weights=str(bert)))


def sha256sum(folder, *names):
    """The documented digest, by its definition."""
    lines = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def test_the_digest_is_over_the_files_that_matter(bert):
    names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    digest = sha256sum(bert, *names)
    (bert / "README.md").write_text("no part of it")
    assert LanguageModel(weights=str(bert), sha256=digest).encoder(seed=0)
    with pytest.raises(ModalityError, match=rf"has digest {digest}, not 00; fetch it again"):
        LanguageModel(weights=str(bert), sha256="00").encoder(seed=0)


def test_version_depends_on_tokenizer_and_not_weights(bert):
    modality = LanguageModel(weights=str(bert))
    before = modality.version
    state = load_file(bert / "model.safetensors")
    save_file({k: v + 1 for k, v in state.items()}, bert / "model.safetensors", {"format": "pt"})
    assert modality.version == before
    save_tokenizer(bert, character_tokenizer(CHARACTERS[::-1]))
    assert modality.version != before


def test_version_reads_no_file_twice(bert, monkeypatch):
    modality, read = LanguageModel(weights=str(bert)), []
    hash_of = files.sha256_of

    def noted(source):
        read.extend([source.name] if isinstance(source, Path) else [])
        return hash_of(source)

    monkeypatch.setattr(files, "sha256_of", noted)
    versions = {LanguageModel(weights=str(bert)).version, modality.version, modality.version}
    assert len(versions) == 1
    assert sorted(read) == ["config.json", "tokenizer.json", "tokenizer_config.json"]


def spoil(folder, change):
    state = load_file(folder / "model.safetensors")
    save_file(change(state), folder / "model.safetensors", {"format": "pt"})


def configure(folder, **values):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


def test_weights_that_the_file_lacks_are_named(bert):
    spoil(bert, lambda state: {k: v for k, v in state.items() if "layer.1.output" not in k})
    missing = r"4 missing \(encoder.layer.1.output.LayerNorm.bias, .*\); give"
    with pytest.raises(ModalityError, match=rf"not those of the BertModel that .*: {missing}"):
        LanguageModel(weights=str(bert)).encoder(seed=0)


def test_layers_that_the_configuration_lacks_are_named(bert):
    configure(bert, num_hidden_layers=1)
    with pytest.raises(ModalityError, match=r"16 left over \(bert.encoder.layer.1.attention"):
        LanguageModel(weights=str(bert)).encoder(seed=0)


def test_weights_of_another_shape_are_named(bert):
    configure(bert, intermediate_size=64)
    with pytest.raises(ModalityError, match=r"6 of another shape \(encoder.layer.0.intermediate"):
        LanguageModel(weights=str(bert)).encoder(seed=0)


def test_unknown_network_type_suggests_trusting_code(bert):
    configure(bert, model_type="strange", auto_map={"AutoModel": "model.Strange"})
    with pytest.raises(ModalityError, match=r"cannot be loaded .* or needs trust_remote_code"):
        LanguageModel(weights=str(bert)).encoder(seed=0)


def test_random_attention_is_fixed_in_evaluation(bert):
    configure(bert, deterministic_eval=False)  # as MoLFormer is published
    encoder = LanguageModel(weights=str(bert)).encoder(seed=0)
    assert encoder.network.config.deterministic_eval


def test_trusted_code_is_part_of_the_digest(bert):
    plain, trusting = (LanguageModel(weights=str(bert), trust_remote_code=t) for t in (False, True))
    before = plain.version, trusting.version
    (bert / "model.py").write_text("print('run')")
    assert plain.version == before[0]
    assert trusting.version != before[1]


def test_older_weights_are_read_as_tensors_only(bert):
    class Harmful:
        def __reduce__(self):
            return print, ("this code was run",)

    whole = embed(LanguageModel(weights=str(bert)))
    torch.save(load_file(bert / "model.safetensors"), bert / "pytorch_model.bin")
    (bert / "model.safetensors").unlink()
    assert torch.equal(embed(LanguageModel(weights=str(bert))), whole)
    torch.save({"weight": Harmful()}, bert / "pytorch_model.bin")
    with pytest.raises(ModalityError, match=r"cannot be loaded \(UnpicklingError"):
        LanguageModel(weights=str(bert)).encoder(seed=0)


def test_weights_in_several_files_are_read_whole(bert):
    whole = embed(LanguageModel(weights=str(bert)))
    network = AutoModel.from_pretrained(bert)
    (bert / "model.safetensors").unlink()
    network.save_pretrained(bert, max_shard_size="8KB")
    parts = sorted(bert.glob("model-*.safetensors"))
    assert len(parts) > 1
    assert torch.equal(embed(LanguageModel(weights=str(bert))), whole)
    parts[1].unlink()
    with pytest.raises(ModalityError, match=rf"lacks {parts[1].name}, which model.safetensors.ind"):
        LanguageModel(weights=str(bert))


def test_loading_is_silent_and_restores_library_settings(saved, capfd, monkeypatch):
    monkeypatch.setattr(logging, "_tqdm_active", True)
    level = logging.get_verbosity()
    LanguageModel(weights=str(saved["bert"])).encoder(seed=0)
    said = capfd.readouterr()
    assert said.out + said.err == ""
    assert logging.is_progress_bar_enabled()
    assert logging.get_verbosity() == level


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The cache of a hub without network: name -> folder for a copy of a checkpoint."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    def folder(name):
        place = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        commit = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
        (place / "refs").mkdir(parents=True)
        (place / "refs" / "main").write_text(commit)
        return place / "snapshots" / commit

    return folder


def test_a_cached_hub_name_needs_no_network(hub, saved):
    shutil.copytree(saved["bert"], hub("lab/cached"))
    ours = embed(LanguageModel(weights="lab/cached"))
    assert torch.equal(ours, embed(LanguageModel(weights=str(saved["bert"]))))


def test_a_hub_name_without_network_says_what_is_missing(hub):
    with pytest.raises(ModalityError) as error:
        LanguageModel(weights="lab/absent")
    message = str(error.value)
    assert (
        "checkpoint 'lab/absent' is not on this machine: there is no folder lab/absent" in message
    )
    assert "the hub's cache lacks config.json, tokenizer.json and model.safetensors" in message
    assert "run 'hf download lab/absent' once where there is a network" in message


def test_missing_path_is_not_a_hub_name(hub, tmp_path):
    missing = str(tmp_path / "missing")
    with pytest.raises(ModalityError, match=f"'{missing}' is not on this .* no folder {missing};"):
        LanguageModel(weights=missing)


def test_a_hub_name_cached_in_part_says_which_file_is_missing(hub, saved):
    folder = shutil.copytree(saved["bert"], hub("lab/partial"))
    (folder / "model.safetensors").unlink()
    assert LanguageModel(architecture="lab/partial").featurize("CCO")
    with pytest.raises(
        ModalityError, match=r"lab/partial' is not on this .* lacks model.safetensors .*hf download"
    ):
        LanguageModel(weights="lab/partial")


def test_revision_of_a_folder_is_refused(saved):
    with pytest.raises(ModalityError, match="has no revision 'v2'; leave revision out"):
        LanguageModel(weights=str(saved["bert"]), revision="v2")


def test_a_relative_path_is_found_in_the_folder_of_weights(saved, monkeypatch):
    monkeypatch.setenv("OLFACTION_WEIGHTS", str(saved["bert"].parent))
    assert LanguageModel(weights="bert").featurize("CCO")
