"""Each contract finds the faults that it is for: one fault a class, one test that must fail."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

MODALITY = """
import numpy as np
import torch
from torch import nn
from modalities import featurizer_version, parse_smiles, DescriptorScaler, FittedModule, seeded
from study.plugins.loading import to_component_name
from study.testing import ModalityContract, TrainableModalityContract

class Sound:
    letter, trainable, fitted = "S", False, True
    @property
    def version(self):
        return featurizer_version(to_component_name(type(self).__name__), 1, "rdkit")
    def featurize(self, smiles):
        atoms = [atom.GetSymbol() for atom in parse_smiles(smiles).GetAtoms()]
        counts = [atoms.count(element) for element in "CNOS"]
        return {"values": np.array([counts], dtype=np.float32)}
    def encoder(self, *, seed):
        return DescriptorScaler(max_missing=0.2, max_value=1e6, clip=5.0)

def with_encoder(kind):
    return lambda self, *, seed: kind(max_missing=0.2, max_value=1e6, clip=5.0)

class Positional(Sound):
    def __init__(self, power: int = 1): pass
class Untyped(Sound):
    def __init__(self, *, power=1): pass
class LowerCase(Sound):
    letter = "s"
class Borrowed(Sound):
    version = property(lambda self: Sound().version.replace("sound", "fingerprint"))
class Lenient(Sound):
    def featurize(self, smiles):
        try:
            return super().featurize(smiles)
        except ValueError:
            return {"values": np.zeros((1, 4), np.float32)}
class Noisy(Sound):
    def featurize(self, smiles):
        noise = np.random.default_rng().normal(size=(1, 4)).astype(np.float32)
        return {"values": super().featurize(smiles)["values"] + noise}
class Forgetful(Sound):
    def __init__(self, *, power: int = 1):
        self.power = power
    def featurize(self, smiles):
        return {"values": super().featurize(smiles)["values"] ** self.power}
class Peeks(Sound):
    class Scaler(DescriptorScaler):
        def fit(self, features, rows):
            super().fit(features, np.arange(len(features)))
    encoder = with_encoder(Scaler)
class Mixes(Sound):
    class Scaler(DescriptorScaler):
        def forward(self, batch):
            embedding = super().forward(batch)
            return embedding - embedding.mean(0)
    encoder = with_encoder(Scaler)
class Doubles(Sound):
    class Scaler(DescriptorScaler):
        def forward(self, batch):
            return super().forward(batch).double()
    encoder = with_encoder(Scaler)
class Unfitted(Sound):
    fitted = False
class Loses(Sound):
    class Scaler(DescriptorScaler):
        def fit(self, features, rows):
            super().fit(features, rows)
            self.shift = 1.0
        def forward(self, batch):
            return super().forward(batch) + getattr(self, "shift", 0.0)
    encoder = with_encoder(Scaler)
class Disturbs(Sound):
    def encoder(self, *, seed):
        torch.rand(1)
        return super().encoder(seed=seed)
class Shares(Sound):
    class Scaler(DescriptorScaler):
        def collate(self, features, rows):
            import warnings
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return {"values": torch.from_numpy(features.matrix("values"))}
    encoder = with_encoder(Scaler)

class Network(nn.Module):
    dim = 3
    def __init__(self, seed):
        super().__init__()
        with seeded(seed):
            self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 3)
    def fit(self, features, rows): pass
    def collate(self, features, rows):
        return {"values": torch.from_numpy(features.matrix("values")[rows])}
    def forward(self, batch):
        values = batch["values"].to(self.first.weight.dtype)
        return self.second(self.first(values).tanh())
    def stages(self):
        return [self.first, self.second]

class Learns(Sound):
    trainable, fitted, kind = True, False, Network
    def encoder(self, *, seed):
        return self.kind(seed)
class AlwaysOne(Learns):
    def encoder(self, *, seed):
        return Network(1)
class Idle(Learns):
    class kind(Network):
        def __init__(self, seed):
            super().__init__(seed)
            self.first.unused = nn.Parameter(torch.zeros(1))
class Unstaged(Learns):
    class kind(Network):
        def stages(self):
            return [self.second]
class Backwards(Learns):
    class kind(Network):
        def stages(self):
            return [self.second, self.first]
class Detached(Learns):
    class kind(Network):
        def forward(self, batch):
            values = batch["values"].to(self.first.weight.dtype)
            return self.second(self.first(values).tanh().detach())
class Single(Learns):
    class kind(Network):
        def forward(self, batch):
            return super().forward(batch).float()
class Stays(Learns):
    class kind(Network):
        def __init__(self, seed):
            super().__init__(seed)
            self.shift = torch.ones(3)
        def forward(self, batch):
            return super().forward(batch) + self.shift
class WrongContract(Learns): pass
"""
MODALITY_FAULTS = {
    "Sound": "",
    "Positional": "test_options_are_keyword_only_typed_and_have_defaults",
    "Untyped": "test_options_are_keyword_only_typed_and_have_defaults",
    "LowerCase": "test_attributes_are_declared",
    "Borrowed": "test_version_belongs_to_modality_with_equal_features",
    "Lenient": "test_invalid_smiles_is_refused_by_name",
    "Noisy": "test_featurizing_is_deterministic_and_survives_pickling",
    "Forgetful": "test_version_changes_whenever_an_option_changes_features",
    "Peeks": "test_fit_sees_only_its_rows",
    "Mixes": "test_a_molecule_embeds_the_same_alone_and_in_any_batch",
    "Doubles": "test_embeds_to_dim",
    "Unfitted": "test_fitted_declares_whether_fit_depends_on_rows",
    "Loses": "test_state_dict_restores_a_fitted_encoder",
    "Disturbs": "test_global_random_state_is_unchanged",
    "Shares": "test_collating_memory_mapped_features_copies_them",
    "Learns": "",
    "AlwaysOne": "test_initial_weights_depend_on_the_seed",
    "Idle": "test_every_weight_of_a_trainable_encoder_gets_a_gradient",
    "Unstaged": "test_every_weight_is_in_exactly_one_stage",
    "Backwards": "test_stages_run_from_input_to_output",
    "Detached": "test_training_top_stages_changes_only_their_weights",
    "Single": "test_embedding_is_equal_in_double_precision",
    "Stays": "test_every_tensor_of_an_encoder_moves_with_it",
    "WrongContract": "test_trainable_modality_has_the_trainable_contract",
}
OPERATOR = """
import torch
from fusion.operators.concat import Concat as Sound
from study.testing import OperatorContract

class Renamed(Sound):
    def __init__(self, widths, n_labels, head):
        super().__init__(widths, n_labels, head)
class Endless(Sound):
    def forward(self, embeddings):
        return super().forward(embeddings) / 0.0
class Unseeded(Sound):
    def __init__(self, dims, n_labels, head):
        super().__init__(dims, n_labels, head)
        generator = torch.Generator()
        generator.seed()
        for weight in self.parameters():
            weight.data = torch.randn(weight.shape, generator=generator)
class Deaf(Sound):
    def forward(self, embeddings):
        first, *_ = embeddings
        return super().forward({m: e if m == first else e.detach() for m, e in embeddings.items()})
class Mixes(Sound):
    def forward(self, embeddings):
        logits = super().forward(embeddings)
        return logits - logits[0]
class Ordered(Sound):
    def forward(self, embeddings):
        return super().forward(embeddings) + next(iter(embeddings.values())).mean()
class NeverDrops(Sound):
    def train(self, mode=True):
        return super().train(False)
    def double(self):
        return super().double().eval()
class Loses(Sound):
    count = 0
    def __init__(self, dims, n_labels, head):
        super().__init__(dims, n_labels, head)
        self.shift = torch.randn(1).item()
    def forward(self, embeddings):
        return super().forward(embeddings) + self.shift
class Three(Sound):
    def forward(self, embeddings):
        if len(embeddings) == 2:
            raise ValueError("three modalities, please")
        return super().forward(embeddings)
class Tolerant(Sound):
    def forward(self, embeddings):
        known = [name for name in embeddings if name != "taste"]
        return super().forward({name: embeddings[name] for name in known})
class Alone(Sound):
    def __init__(self, dims, n_labels, head):
        super().__init__(dims if len(dims) > 1 else {**dims, "more": 1}, n_labels, head)
class Empty(Sound):
    def __init__(self, dims, n_labels, head):
        super().__init__({m: max(d, 1) for m, d in dims.items()}, n_labels, head)
"""
OPERATOR_FAULTS = {
    "Sound": "",
    "Renamed": "test_has_every_member_of_its_family",
    "Endless": "test_maps_embeddings_to_finite_logits",
    "Unseeded": "test_same_seed_gives_the_same_model",
    "Deaf": "test_gradient_reaches_every_parameter_and_every_modality",
    "Mixes": "test_molecules_are_independent",
    "Ordered": "test_order_of_the_mapping_does_not_matter",
    "NeverDrops": "test_drops_units_in_training_only",
    "Loses": "test_state_dict_round_trip",
    "Three": "test_two_modalities_suffice",
    "Tolerant": "test_names_the_modality_that_does_not_fit",
    "Alone": "test_refuses_a_single_modality",
    "Empty": "test_refuses_empty_shapes",
}
PARTITION = """
import numpy as np
import torch
from fusion.partitions import LabelPartition
from study.testing import PartitionContract

class Sound:
    per_batch = needs_inner_scores = False
    def build(self, context):
        return LabelPartition(context.modalities, self.owners(context))
    def owners(self, context):
        return np.arange(context.n_labels) % context.k

class Random:
    per_batch = True
    def __init__(self, context, k):
        self.modalities, self.n_labels, self.k = context.modalities, context.n_labels, k
        self.generator = np.random.default_rng(context.seed)
    def draw(self):
        return torch.tensor(self.generator.integers(0, self.k, self.n_labels))
class Beyond(Sound):
    per_batch = True
    def build(self, context):
        return Random(context, 5)
class Undeclared(Sound):
    def build(self, context):
        return Random(context, context.k)
class Moody(Sound):
    def owners(self, context):
        return np.random.default_rng().permutation(super().owners(context))
class Restarts(Sound):
    per_batch = True
    def build(self, context):
        class Unsaved(Random):
            def __deepcopy__(self, memo):
                return type(self)(context, context.k)
        return Unsaved(context, context.k)
class Disturbs(Sound):
    def owners(self, context):
        torch.rand(1)
        return super().owners(context)
class InOrder(Sound):
    def owners(self, context):
        return np.roll(super().owners(context), context.rows[0])
class Greedy:
    per_batch = needs_inner_scores = False
    def build(self, context):
        partition = Sound().build(context)
        object.__setattr__(partition, "owner", np.zeros(context.n_labels, np.int64))
        return partition
class Demanding(Sound):
    def owners(self, context):
        if context.n_labels < context.k:
            raise ValueError("more labels, please")
        return super().owners(context)
class Curious(Sound):
    def owners(self, context):
        return np.roll(super().owners(context), context.inner_auroc is None)
"""
PARTITION_FAULTS = {
    "Sound": "",
    "Beyond": "test_gives_every_label_an_owner",
    "Undeclared": "test_owners_change_only_if_per_batch",
    "Moody": "test_same_context_gives_the_same_owners",
    "Restarts": "test_copies_and_pickles_continue_the_stream",
    "Disturbs": "test_global_random_state_is_unchanged",
    "InOrder": "test_order_of_molecules_does_not_matter",
    "Greedy": "test_every_modality_owns_a_label",
    "Demanding": "test_fewer_labels_than_modalities_are_allowed",
    "Curious": "test_inner_scores_are_needed_where_declared",
}
SOURCE = """
import itertools
from pathlib import Path
from study.data.source import RawEntry, RawTable, digest_files
from study.plugins.loading import to_component_name
from study.testing import SourceContract

class Sound:
    rated = False
    def files(self, archive):
        return {"this": Path(__file__)}
    def read(self, archive):
        entries = tuple(RawEntry(f"row {i}", s, ("a",)) for i, s in enumerate(["CCO", "CCC"]))
        name = to_component_name(type(self).__name__)
        return RawTable(name, entries, ("a", "b"), digest_files(self.files(archive)))

class Blank(Sound):
    def read(self, archive):
        table = super().read(archive)
        return RawTable(table.name, (), table.vocabulary, table.files)
class Doubled(Sound):
    def read(self, archive):
        table = super().read(archive)
        return RawTable(table.name, table.entries[:1] * 2, table.vocabulary, table.files)
class Rated(Sound):
    rated = True
class Silent(Sound):
    def read(self, archive):
        table = super().read(archive)
        return RawTable(table.name, table.entries, table.vocabulary, {})
class Drifts(Sound):
    numbers = itertools.count()
    def read(self, archive):
        table = super().read(archive)
        label = f"l{next(self.numbers)}"
        return RawTable(table.name, table.entries, (*table.vocabulary, label), table.files)
class Needy(Sound):
    def read(self, archive):
        if archive is None:
            raise ValueError("an archive, please")
        return super().read(archive)
"""
SOURCE_FAULTS = {
    "Sound": "",
    "Blank": "test_table_is_whole_and_its_places_are_unique",
    "Doubled": "test_table_is_whole_and_its_places_are_unique",
    "Rated": "test_rated_is_declared_exactly_by_sources_with_ratings_and_a_threshold",
    "Silent": "test_every_file_read_is_recorded_with_its_sha256",
    "Drifts": "test_reading_twice_gives_the_same",
    "Needy": "test_missing_archive_is_named_with_its_remedy",
}
OBJECTIVE = """
import torch
import pytest
from modalities.pretraining.masked_characters import MaskedCharacters as Sound
from modalities.smiles import Smiles
from study.plugins.loading import to_component_name
from study.testing import ObjectiveContract as Contract

class ObjectiveContract(Contract):
    @pytest.fixture(scope="class")
    @classmethod
    def modality(cls):
        return Smiles(layers=1, width=32, heads=2, feedforward=32, dropout=0.0)

class Masked(Sound):
    @property
    def version(self):
        name = to_component_name(type(self).__name__)
        return super().version.replace("masked_characters", name)
class Unknown(Masked):
    modalities = ("taste",)
class Forgetful(Masked):
    version = "forgetful 1"
class Disturbs(Masked):
    def model(self, encoder, *, seed):
        torch.rand(1)
        return super().model(encoder, seed=seed)
class OwnDice(Masked):
    def collate(self, examples, rows, rng):
        import numpy as np
        return super().collate(examples, rows, np.random.default_rng())
class Frozen(Masked):
    def model(self, encoder, *, seed):
        return super().model(encoder.requires_grad_(False), seed=seed)
class Shuffles(Masked):
    def collate(self, examples, rows, rng):
        return super().collate(examples, rows[::-1] * 0, rng)
"""
OBJECTIVE_FAULTS = {
    "Masked": "",
    "Unknown": "test_attributes_are_declared",
    "Forgetful": "test_version_names_every_option",
    "Disturbs": "test_global_random_state_is_unchanged",
    "Frozen": "test_training_changes_every_stage_of_the_encoder",
    "OwnDice": "test_same_generator_same_batch",
    "Shuffles": "test_row_i_is_molecule_i",
}
TRAINABLE = list(MODALITY_FAULTS)[list(MODALITY_FAULTS).index("Learns") : -1]
CASES = {
    "Modality": (MODALITY, MODALITY_FAULTS),
    "Operator": (OPERATOR, OPERATOR_FAULTS),
    "Partition": (PARTITION, PARTITION_FAULTS),
    "Source": (SOURCE, SOURCE_FAULTS),
    "Objective": (OBJECTIVE, OBJECTIVE_FAULTS),
}


@pytest.mark.parametrize("family", CASES)
def test_each_fault_fails_its_test(family, pytester):
    text, faults = CASES[family]
    for name in faults:
        contract = f"{'Trainable' if name in TRAINABLE else ''}{family}Contract"
        text += f"\nclass Test{name}({contract}):\n    component = {name}\n"
    pytester.makepyfile(test_faults=text)
    result = pytester.runpytest_inprocess("-q", "-p", "no:cacheprovider")
    failed = {name: set() for name in faults}
    for report in result.reprec.getfailures():
        _, class_name, test = report.nodeid.split("::")
        failed[class_name.removeprefix("Test")].add(test.partition("[")[0])
    missed = {name: fault for name, fault in faults.items() if fault and fault not in failed[name]}
    assert missed == {}
    sound = [name for name, fault in faults.items() if not fault]
    assert {name: failed[name] for name in sound if failed[name]} == {}
