"""IUPAC names, read character by character."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from modalities._base import Record
from modalities.featurizers.characters import START, TextNetwork, encode_text
from modalities.featurizers.molecule import featurizer_version
from modalities.featurizers.names import NameTable, find_names, read_names

if TYPE_CHECKING:
    from modalities.nn.transformer import NameEncoder

NAME = "iupac"


class Iupac:
    """Characters of a molecule's IUPAC name, in the alphabet of `modalities.smiles.Smiles`.

    Features: ``tokens`` uint8 (1 + characters,), with a start token and no end token; ``named``
    uint8 (1,). A molecule without a name has ``named`` 0 and only the start token; its embedding
    is a separate learned vector, which starts at zero, not the embedding of an empty text. The
    encoder is the same network as for `smiles`.

    Names are looked up by structure: an entry for the same molecule with its stereo and isotope
    marks, else for its constitution (an entry without marks), else, for a molecule without marks,
    an entry that differs in marks only. Of several names the shortest is taken, then the first in
    alphabetical order. Of the 4,897 constitutions of the 91-label table, the table of the archives
    names 4,423 by an entry without marks, 438 by a stereoisomer and 36 not at all. A name that
    cannot be read (too long, or not printable ASCII) is an error and does not count as missing:
    change an option or the row of the table.

    Parameters
    ----------
    names : str
        CSV table of names. A relative path is also looked for in the folder OLFACTION_ARCHIVE. The
        content of the table is part of `version`.
    smiles_column, name_column : str
        Columns of the table; an empty name counts as missing.
    layers, width, heads, feedforward, dropout, pooling, weights, sha256
        As in `modalities.smiles.Smiles`.
    max_length : int
        Maximum number of tokens of a name, including the start token; names are about twice as
        long as SMILES.

    Raises
    ------
    ModalityError
        An option breaks its rule, or the table of names or one of its columns is missing.
    """

    letter: ClassVar[str] = "I"
    trainable: ClassVar[bool] = True
    fitted: ClassVar[bool] = False

    def __init__(
        self,
        *,
        names: str = "molecules/molecules.csv",
        smiles_column: str = "IsomericSMILES",
        name_column: str = "IUPACName",
        layers: int = 2,
        width: int = 64,
        heads: int = 4,
        feedforward: int = 128,
        dropout: float = 0.1,
        max_length: int = 512,
        pooling: Literal["mean", "start", "max"] = "mean",
        weights: str = "random",
        sha256: str | None = None,
    ) -> None:
        self.network = TextNetwork(
            name=NAME,
            layers=layers,
            width=width,
            heads=heads,
            feedforward=feedforward,
            dropout=dropout,
            max_length=max_length,
            pooling=pooling,
            weights=weights,
            sha256=sha256,
        )
        self.names = names
        self.columns = smiles_column, name_column
        read_names(find_names(names), *self.columns)

    @property
    def version(self) -> str:
        """Identity of the featurizer: the table of names and `max_length`."""
        smiles, name = self.columns
        return featurizer_version(
            NAME,
            1,
            "rdkit",
            names=self._table.sha256,
            smiles_column=smiles,
            name_column=name,
            max_length=self.network.max_length,
        )

    def featurize(self, smiles: str) -> Record:
        """Convert the name to token ids: ``tokens`` (1 + characters,), ``named`` (1,).

        Raises
        ------
        ModalityError
            The text is not a SMILES, or its name is too long or has a character outside
            printable ASCII.
        """
        name = self._table.find_name(smiles)
        if name is None:
            tokens = np.array([START], dtype=np.uint8)
        else:
            source = f"molecule '{smiles}', name '{name}' in {self.names}"
            tokens = encode_text(name, source, max_length=self.network.max_length)
        return {"tokens": tokens, "named": np.array([name is not None], dtype=np.uint8)}

    def encoder(self, *, seed: int) -> NameEncoder:
        """Build the encoder with the weights of the checkpoint, or random ones from `seed`."""
        from modalities.nn.transformer import NameEncoder

        return self.network.build(NameEncoder, seed=seed)

    @property
    def _table(self) -> NameTable:
        return read_names(find_names(self.names), *self.columns)
