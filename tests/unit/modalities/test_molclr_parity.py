"""Both networks against the equations of MolCLR, written with the dense matrices of a molecule."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from modality_words import MOLECULES, features_of
from rdkit import Chem

from modalities.graph import Graph

VARIED = (
    *MOLECULES,
    *["O=C(O)/C=C/c1ccccc1", "C\\C=C/CO", "CC(C)=CCC/C(C)=C/CO", "OC[C@H]1OC(O)[C@H](O)[C@@H]1O"],
    *["CC1=CCC(CC1)C(C)(C)O", "CC12CCC(CC1=O)C2(C)C", "N", "S", "CS", "CSC", "C1=CSC=C1", "CC=S"],
    *["c1cnccn1", "Cc1nccnc1C", "O=c1occc(C)c1O", "COc1ccccc1N", "CN(C)C", "C#CCO", "N#CC#N"],
    *["ClC(Cl)Cl", "BrCCBr", "FC(F)(F)CO", "CI", "O=S(=O)(C)C", "C[N+](=O)[O-]", "[NH4+].[Cl-]"],
    *["CC(C)(C)c1cc(C)cc(C(C)(C)C)c1O", "O=C1CCCCCCCCCCCCCC1", "C1CC1", "CCOP(=O)(OCC)OCC"],
    *["C[Si](C)(C)C", "OB(O)c1ccccc1", "CC[Se]CC", "C1CCC2CCCCC2C1", "CCCCCCCCCCCCCCCCCC(=O)O"],
    *["O=Cc1ccc(O)c(OCC)c1", "CC(=O)c1ccc2ccccc2c1", "C=CCSSCC=C", "CCCCC/C=C/C=C/C=O"],
)
BOND_TYPES = [Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE]
BOND_TYPES.append(Chem.BondType.AROMATIC)
WAYS = [Chem.BondDir.NONE, Chem.BondDir.ENDUPRIGHT, Chem.BondDir.ENDDOWNRIGHT]


def matrices_of(mol):
    """Bonds of each type (5, n, n) and direction (3, n, n); every atom has a loop to itself."""
    n = mol.GetNumAtoms()
    kinds, ways = torch.zeros(5, n, n).double(), torch.zeros(3, n, n).double()
    kinds[4], ways[0] = torch.eye(n), torch.eye(n)
    for bond in mol.GetBonds():
        i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        for ends in ((i, j), (j, i)):
            kinds[(BOND_TYPES.index(bond.GetBondType()), *ends)] = 1
            ways[(WAYS.index(bond.GetBondDir()), *ends)] = 1
    return kinds, ways


def layer(w, x, kinds, ways, kind):
    """One layer before its batch norm; w: its weights by short name."""
    neighbors = kinds.sum(dim=0)
    t, d = w["edge_embedding1.weight"], w["edge_embedding2.weight"]
    bonds = kinds.sum(dim=2).T @ t + ways.sum(dim=2).T @ d
    if kind == "gcn":
        return neighbors @ x @ w["weight"] + bonds + w["bias"]
    hidden = (neighbors @ x + bonds) @ w["mlp.0.weight"].T + w["mlp.0.bias"]
    return hidden.clamp(min=0) @ w["mlp.2.weight"].T + w["mlp.2.bias"]


def part(state, prefix):
    return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}


def reference(state, mol, kind):
    """512 numbers of one molecule, in double precision."""
    state = {name: value.double() for name, value in state.items()}
    numbers = torch.tensor([atom.GetAtomicNum() - 1 for atom in mol.GetAtoms()])
    tags = torch.tensor([int(atom.GetChiralTag()) for atom in mol.GetAtoms()])
    x = state["x_embedding1.weight"][numbers] + state["x_embedding2.weight"][tags]
    for level in range(5):
        x = layer(part(state, f"gnns.{level}."), x, *matrices_of(mol), kind)
        norm = part(state, f"batch_norms.{level}.")
        x = (x - norm["running_mean"]) / (norm["running_var"] + 1e-5).sqrt()
        x = x * norm["weight"] + norm["bias"]
        x = x if level == 4 else x.clamp(min=0)
    return state["feat_lin.weight"] @ x.mean(0) + state["feat_lin.bias"]


def compare(modality, kind):
    encoder = modality.encoder(seed=0).eval()
    features = features_of(modality, VARIED)
    with torch.no_grad():
        ours = encoder(encoder.collate(features, np.arange(len(VARIED)))).double()
    mols = [Chem.MolFromSmiles(smiles) for smiles in VARIED]
    mols = [Chem.AddHs(mol) if modality.hydrogens else mol for mol in mols]
    theirs = torch.stack([reference(encoder.state_dict(), mol, kind) for mol in mols])
    assert torch.pdist(theirs).median() > 0.1, "the reference cannot tell molecules apart"
    return ours, theirs


def randomize_norms(modality, path):
    """Save random weights whose batch norms do something, and return the modality with them."""
    state = modality.encoder(seed=7).state_dict()
    generator = torch.Generator().manual_seed(8)
    for name, value in state.items():
        if name.startswith("batch_norms") and value.dtype.is_floating_point:
            state[name] = torch.rand(value.shape, generator=generator) + 0.5
    torch.save(state, path)
    return Graph(encoder=modality.network, hydrogens=modality.hydrogens, weights=str(path))


@pytest.mark.parametrize("hydrogens", [True, False])
@pytest.mark.parametrize("kind", ["gcn", "gin"])
def test_random_weights(kind, hydrogens, tmp_path):
    modality = randomize_norms(Graph(encoder=kind, hydrogens=hydrogens), tmp_path / "w.pth")
    ours, theirs = compare(modality, kind)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["gcn", "gin"])
def test_gradients(kind):
    modality = Graph(encoder=kind)
    encoder = modality.encoder(seed=3).eval().double()
    features, some = features_of(modality, VARIED[:8]), np.arange(8)
    by_hand = {name: v.detach().clone().requires_grad_() for name, v in encoder.named_parameters()}
    state = encoder.state_dict() | by_hand
    mols = [Chem.AddHs(Chem.MolFromSmiles(smiles)) for smiles in VARIED[:8]]
    theirs = torch.stack([reference(state, mol, kind) for mol in mols])
    direction = torch.linspace(-1, 1, theirs.numel()).view_as(theirs)
    (theirs * direction).sum().backward()
    (encoder(encoder.collate(features, some)) * direction).sum().backward()
    for name, weight in encoder.named_parameters():
        scale = by_hand[name].grad.abs().max().item()
        torch.testing.assert_close(
            weight.grad, by_hand[name].grad, rtol=0, atol=1e-9 * scale, msg=lambda m, n=name: n + m
        )


@pytest.fixture
def gcn_weights():
    folder = os.environ.get("OLFACTION_WEIGHTS")
    if folder is None:
        pytest.skip("OLFACTION_WEIGHTS is not set: the published weights are not here")
    return Path(folder) / "molclr_gcn" / "model.pth"


@pytest.mark.archives
@pytest.mark.parametrize("hydrogens", [True, False])
def test_published_weights(hydrogens, gcn_weights):
    ours, theirs = compare(Graph(weights=str(gcn_weights), hydrogens=hydrogens), "gcn")
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.archives
def test_published_weights_load_except_the_projection_head(gcn_weights):
    from modalities.weights.checkpoint import load_weights

    network = Graph().encoder(seed=0)
    report = load_weights(network, gcn_weights, ignorable=network.ignorable)
    assert (len(report.loaded), len(report.ignored)) == (49, 4)
    assert all(name.startswith("out_lin.") for name in report.ignored)
    assert network.batch_norms[0].num_batches_tracked == 3_673_692


@pytest.mark.parametrize(
    ("pooling", "torch_name"), [("mean", "mean"), ("add", "sum"), ("max", "amax")]
)
def test_pooling_is_over_the_atoms_of_each_molecule(pooling, torch_name):
    modality = Graph(pooling=pooling)
    features = features_of(modality, ["CCO", "C", "CC#N"])
    encoder = modality.encoder(seed=0).eval()
    states = []
    encoder.batch_norms[4].register_forward_hook(lambda *args: states.append(args[-1]))
    embedding = encoder(encoder.collate(features, np.arange(3)))
    sizes = features.fields["atoms"].lengths.tolist()
    pooled = [getattr(part, torch_name)(dim=0) for part in states[0].split(sizes)]
    torch.testing.assert_close(
        embedding, encoder.feat_lin(torch.stack(pooled)), rtol=1e-4, atol=1e-4
    )
