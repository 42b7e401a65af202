"""Contracts of components as test classes: inherit one to test a component of your own.

Needs pytest. One class with one attribute is a complete test file::

    from study.testing import ModalityContract

    from my_package import Composition


    class TestComposition(ModalityContract):
        component = Composition

The components of this program pass the same tests.
"""

import pytest

# Assertions are only explained in modules that are named before they are imported.
pytest.register_assert_rewrite(
    *(f"{__name__}.{name}" for name in ("base", "modality", "objective", "operator")),
    *(f"{__name__}.{name}" for name in ("partition", "source")),
)

from study.testing.base import MOLECULES, ComponentContract  # noqa: E402 (named above)
from study.testing.modality import ModalityContract, TrainableModalityContract  # noqa: E402
from study.testing.objective import ObjectiveContract  # noqa: E402
from study.testing.operator import OperatorContract  # noqa: E402
from study.testing.partition import PartitionContract  # noqa: E402
from study.testing.source import SourceContract  # noqa: E402

__all__ = [
    "MOLECULES",
    "ComponentContract",
    "ModalityContract",
    "ObjectiveContract",
    "OperatorContract",
    "PartitionContract",
    "SourceContract",
    "TrainableModalityContract",
]
