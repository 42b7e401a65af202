import hashlib
import pickle
import warnings

import pytest
import torch
from torch import nn

from modalities import ModalityError
from modalities.graph import Graph
from modalities.weights.checkpoint import find_weights, load_weights


def network():
    with torch.random.fork_rng(devices=[]):
        return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(network().state_dict(), path)
    return path


def refused(message, path, module=None, **options):
    module = module or network()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(ModalityError, match=message):
        load_weights(module, path, **options)
    assert all(torch.equal(before[name], v) for name, v in module.state_dict().items())


def test_exact_match_loads_and_is_reported(saved):
    module = network()
    report = load_weights(module, saved, sha256=hashlib.sha256(saved.read_bytes()).hexdigest())
    assert report.loaded == tuple(module.state_dict())
    assert report.missing == report.unexpected == report.mismatched == report.ignored == ()
    assert all(torch.equal(v, module.state_dict()[n]) for n, v in torch.load(saved).items())


def test_only_declared_extra_weights_are_ignored(saved, tmp_path):
    state = torch.load(saved) | {"head.weight": torch.ones(1), "tail": torch.ones(1)}
    path = tmp_path / "more.pth"
    torch.save(state, path)
    refused(r"1 unexpected \(tail\); choose the encoder", path, ignorable=["head."])
    torch.save({name: v for name, v in state.items() if name != "tail"}, path)
    assert load_weights(network(), path, ignorable=["head."]).ignored == ("head.weight",)
    refused(r"1 unexpected \(head.weight\)", path)


def test_another_architecture_is_refused_with_the_names(saved):
    refused(
        r"of another architecture than Linear: 0 of 2 weights match; 2 missing \(weight, bias\); "
        r"7 unexpected \(0.weight, 0.bias, 1.weight, 1.bias and 3 more\)",
        saved,
        nn.Linear(3, 2),
    )
    refused(r"1 of another shape \(0.weight \(2, 3\) for \(2, 4\)\)", saved,
            nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2)))  # fmt: skip


def test_a_wrong_hash_is_refused_before_the_file_is_read(tmp_path):
    path = tmp_path / "bomb.pth"
    path.write_bytes(b"anything")
    refused("have sha256 [0-9a-f]{64}, not 00ff; fetch the file again", path, sha256="00ff")


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_truncated_file_is_refused(saved, legacy, share):
    torch.save(network().state_dict(), saved, _use_new_zipfile_serialization=not legacy)
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    refused("cannot be read .*damaged, cut short or holds more than tensors", saved)


@pytest.mark.parametrize("content", [b"not a checkpoint", b"\x80\x02}q\x00.", bytes(100)])
def test_another_file_is_refused(saved, content):
    saved.write_bytes(content)
    refused("cannot be read", saved)


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


def test_code_in_a_checkpoint_is_not_run(saved):
    torch.save({"weight": Bomb()}, saved)
    refused("holds more than tensors", saved)
    saved.write_bytes(pickle.dumps(Bomb()))
    refused("holds more than tensors", saved)


@pytest.mark.parametrize("content", [[torch.ones(1)], {"epoch": 3, "state": torch.ones(1)}])
def test_other_content_than_a_state_dict_is_refused(saved, content):
    torch.save(content, saved)
    refused("are not a state dict .* save module.state_dict", saved)


def test_missing_file_lists_the_paths_tried(tmp_path, monkeypatch):
    monkeypatch.delenv("OLFACTION_WEIGHTS", raising=False)
    with pytest.raises(
        ModalityError, match=r"'no.pth' not found \(tried no.pth; a folder must hold weights.pt\)"
    ):
        find_weights("no.pth")
    monkeypatch.setenv("OLFACTION_WEIGHTS", str(tmp_path))
    with pytest.raises(ModalityError, match=rf"tried no.pth, {tmp_path}/no.pth"):
        find_weights("no.pth")
    (tmp_path / "no.pth").touch()
    assert find_weights("no.pth") == tmp_path / "no.pth"


def test_graph_takes_only_the_checkpoint_of_its_network(tmp_path):
    path = tmp_path / "gcn.pth"
    torch.save(Graph().encoder(seed=1).state_dict(), path)
    same = Graph(weights=str(path)).encoder(seed=2).state_dict()
    assert all(torch.equal(value, same[name]) for name, value in torch.load(path).items())
    with pytest.raises(ModalityError, match="of another architecture than MolclrEncoder"):
        Graph(encoder="gin", weights=str(path)).encoder(seed=1)
    with pytest.raises(ModalityError, match="have sha256"):
        Graph(weights=str(path), sha256="0" * 64).encoder(seed=1)
    with pytest.raises(ModalityError, match="not found"):
        Graph(weights=str(tmp_path / "absent.pth")).encoder(seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Graph(
            weights=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest().upper()
        ).encoder(seed=1)
