"""Views by counting what they hide, and the loss by a double loop over its formula."""

import math
from itertools import pairwise

import networkx
import numpy as np
import pytest
import torch
from modality_words import MOLECULES, features_of

from modalities import ModalityError
from modalities.graph import Graph
from modalities.mordred_network import MordredNetwork
from modalities.nn.graph import MASKED_ATOM, batch_graphs
from modalities.nn.objectives import compute_nt_xent_logits
from modalities.pretraining import MoleculeBatch
from modalities.pretraining.contrastive import Contrastive, GraphViews

TABLE = (*MOLECULES, "CC(=O)O.CCN", "[He]", "CC12CCC(CC1=O)C2(C)C", "CC(C)(C)c1cc(C)cc(C)c1O")
ROWS = np.arange(len(TABLE))
SEEDS = range(20)


def graphs(hydrogens=False):
    return batch_graphs(features_of(Graph(hydrogens=hydrogens), TABLE), ROWS)


def hides(**options):
    return {"mask_atoms": 0.0, "delete_bonds": 0.0, "subgraph": 0.0, **options}


def views(vary_subgraph=False, **options):
    return GraphViews(**hides(**options), vary_subgraph=vary_subgraph)


def bonds_of(graph):
    """Rows of from, to, type, direction."""
    return torch.cat([graph.edge_index.T, graph.edge_attr], dim=1)


def molecules_of(whole, view):
    """Yield (atoms, is masked (N,), bonds, bonds left) of each molecule; bonds as sets."""
    masked = (view.x == torch.tensor(MASKED_ATOM)).all(dim=1)
    assert torch.equal(view.x[~masked], whole.x[~masked])
    for first, last in pairwise(whole.ptr.tolist()):
        yield (
            range(first, last),
            masked[first:last],
            *(
                [tuple(bond) for bond in bonds_of(graph).tolist() if first <= bond[0] < last]
                for graph in (whole, view)
            ),
        )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("hydrogens", [True, False])
def test_masked_atoms_and_deleted_bonds_are_published_counts(hydrogens, seed):
    whole = graphs(hydrogens)
    view = views(mask_atoms=0.25, delete_bonds=0.25).draw(whole, np.random.default_rng(seed))
    for atoms, masked, bonds, left in molecules_of(whole, view):
        assert masked.sum() == max(1, math.floor(0.25 * len(atoms)))
        assert len(bonds) - len(left) == 2 * math.floor(0.25 * len(bonds) / 2)
        assert set(left) <= set(bonds)
        assert {(end, start, *rest) for start, end, *rest in left} == set(left)


def test_every_atom_and_bond_is_hidden_equally_often():
    whole = batch_graphs(features_of(Graph(hydrogens=False), ["CCCCCCCCC"]), np.arange(1))
    rng, draws = np.random.default_rng(0), 4000
    some = views(mask_atoms=0.25, delete_bonds=0.25)
    masked, lost = np.zeros(9), np.zeros(8)
    for _ in range(draws):
        view = some.draw(whole, rng)
        masked += (view.x[:, 0] == MASKED_ATOM[0]).numpy()
        lost += ~np.isin(np.arange(8), view.edge_index.amin(dim=0).numpy())
    for counts, share in ((masked, 2 / 9), (lost, 2 / 8)):
        spread = (share * (1 - share) / draws) ** 0.5
        assert np.abs(counts / draws - share).max() < 5 * spread


@pytest.mark.parametrize("seed", SEEDS)
def test_subgraph_is_nearest_atoms_without_bonds(seed):
    whole = graphs()
    view = views(subgraph=0.4).draw(whole, np.random.default_rng(seed))
    for atoms, masked, bonds, left in molecules_of(whole, view):
        hidden = {atom for atom, gone in zip(atoms, masked, strict=True) if gone}
        assert set(left) == {bond for bond in bonds if not hidden & set(bond[:2])}
        whole_of = networkx.Graph([bond[:2] for bond in bonds])
        whole_of.add_nodes_from(atoms)
        balls = (networkx.single_source_shortest_path_length(whole_of, start) for start in atoms)
        wanted = math.floor(0.4 * len(atoms))
        assert not hidden or any(
            len(hidden) == min(wanted, len(far))
            and hidden <= far.keys()
            and max(far[atom] for atom in hidden)
            <= min((far[atom] for atom in far.keys() - hidden), default=math.inf)
            for far in balls
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_the_subgraph_counts_towards_the_other_shares(seed):
    whole = graphs(hydrogens=True)
    mix = views(mask_atoms=0.25, delete_bonds=0.25, subgraph=0.2, vary_subgraph=True)
    for atoms, masked, bonds, left in molecules_of(
        whole, mix.draw(whole, np.random.default_rng(seed))
    ):
        assert masked.sum() == max(1, math.floor(0.25 * len(atoms)))
        assert len(bonds) - len(left) >= 2 * math.floor(0.25 * len(bonds) / 2)


def test_a_varied_subgraph_takes_every_size():
    whole = batch_graphs(features_of(Graph(hydrogens=False), ["C" * 20]), np.arange(1))
    some, rng = views(subgraph=0.25, vary_subgraph=True), np.random.default_rng(0)
    sizes = [int((some.draw(whole, rng).x[:, 0] == MASKED_ATOM[0]).sum()) for _ in range(200)]
    assert set(sizes) == {0, 1, 2, 3, 4}


def batch(objective, rows=ROWS, seed=0, **options):
    examples = objective.prepare(Graph(**options), MoleculeBatch(TABLE, (None,) * len(TABLE)))
    return objective.collate(examples, rows, np.random.default_rng(seed))


def test_batch_has_two_seeded_views_of_each_row():
    one, again, other = (batch(Contrastive(), seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["edge_index"][:, :50], other["edge_index"][:, :50])
    sizes = one["ptr"].diff()
    assert torch.equal(sizes[: len(ROWS)], sizes[len(ROWS) :])
    first, second = one["x"].split(len(one["x"]) // 2)
    assert not torch.equal(first, second)


def double_loop(z, temperature):
    """The formula, with cosines by hand, over all ordered pairs of views of one molecule."""
    n, total = len(z) // 2, 0.0
    cosine = [[float(a @ b / (a.norm() * b.norm())) for b in z] for a in z]
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        below = sum(math.exp(cosine[i][k] / temperature) for k in range(2 * n) if k != i)
        total += -math.log(math.exp(cosine[i][j] / temperature) / below)
    return total / (2 * n)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_loss_is_the_formula(temperature):
    objective = Contrastive(temperature=temperature)
    model = objective.model(Graph(hydrogens=False).encoder(seed=0), seed=0).eval()
    some = batch(objective, hydrogens=False)
    with torch.no_grad():
        measures = model(some)
        z = model.out_lin(model.encoder(some)).double()
    assert measures["loss"].item() == pytest.approx(double_loop(z, temperature), rel=1e-4)


def test_top1_accuracy_counts_views_nearest_to_their_other_view():
    model = Contrastive().model(Graph().encoder(seed=0), seed=0)
    z = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1], [1.0, 0.2]])  # 0-2 pair, 1-3 do not
    model.encoder.forward = lambda _: z
    model.out_lin = torch.nn.Identity()
    assert model({})["top1_accuracy"].item() == 0.5
    assert compute_nt_xent_logits(z, 0.1).diagonal().isneginf().all()


def test_training_brings_views_together_and_weights_load(tmp_path):
    objective, modality = Contrastive(), Graph(hydrogens=False, dropout=0.0)
    model = objective.model(modality.encoder(seed=0), seed=0)
    examples = objective.prepare(modality, MoleculeBatch(TABLE, (None,) * len(TABLE)))
    rng, optimizer = np.random.default_rng(0), torch.optim.Adam(model.parameters(), lr=5e-4)
    losses = []
    for _ in range(25):
        loss = model(objective.collate(examples, ROWS, rng))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.2
    torch.save(model.encoder.state_dict(), tmp_path / "weights.pt")
    loaded = Graph(hydrogens=False, weights=str(tmp_path)).encoder(seed=1).state_dict()
    assert all(
        torch.equal(value, loaded[name]) for name, value in model.encoder.state_dict().items()
    )


def test_names_of_the_projection_head_are_the_published_ones():
    model = Contrastive().model(Graph().encoder(seed=0), seed=0)
    head = {name: tuple(v.shape) for name, v in model.state_dict().items() if "out_lin" in name}
    assert head == {
        "out_lin.0.weight": (512, 512),
        "out_lin.0.bias": (512,),
        "out_lin.2.weight": (256, 512),
        "out_lin.2.bias": (256,),
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature must be above 0, not 0.0"),
        ({"mask_atoms": 1.5}, "mask_atoms must be from 0 to 1, not 1.5"),
        ({"subgraph": -0.1}, "subgraph must be from 0 to 1, not -0.1"),
        (hides(), "mask_atoms must be above 0 where nothing else is hidden, not 0.0"),
        ({"vary_subgraph": True}, "vary_subgraph must be false where subgraph is 0, not True"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ModalityError, match=f"objective 'contrastive': {message}"):
        Contrastive(**options)


def test_another_encoder_is_refused():
    with pytest.raises(ModalityError, match="'contrastive' trains the encoder of 'graph', not Tab"):
        Contrastive().model(MordredNetwork().encoder(seed=0), seed=0)
