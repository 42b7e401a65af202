"""A cheap modality that records every molecule it featurizes, for tests of the store."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from modalities import FeatureStore, ModalityError


class Letters:
    """Code points of a text; a text with a question mark cannot be represented."""

    def __init__(self, log, version="letters 1", delay=0.0):
        self.log, self.version, self.delay = Path(log), version, delay

    def featurize(self, smiles):
        time.sleep(self.delay)
        if "?" in smiles:
            raise ModalityError(f"molecule '{smiles}' has a question mark")
        with self.log.open("a") as file:
            file.write(smiles + "\n")
        codes = np.frombuffer(smiles.encode(), dtype=np.uint8)
        return {"codes": codes, "length": np.array([[len(smiles)]], dtype=np.int32)}

    def made(self):
        return self.log.read_text().split() if self.log.exists() else []


def fill_all(root, log, smiles):
    """Fill every shard, slowly enough for several processes to meet."""
    store, modality = FeatureStore(root), Letters(log, delay=0.002)
    return sum(store.fill(modality, shard) for shard in store.missing(modality, smiles))


def die_while_writing(root, log, smiles):
    """Be killed when a file has been written but not yet renamed."""
    os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
    fill_all(root, log, smiles)
