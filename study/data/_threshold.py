"""From ratings to labels: the stated rule of a recipe."""

from __future__ import annotations

from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from study.data._table import LARGEST


class Threshold(BaseModel):
    """Rule that turns ratings into labels; give exactly one of the two.

    The rule defines the target, like the vocabulary does, so it looks at the whole table; no
    model sees it.

    Attributes
    ----------
    at_least : float, optional
        A molecule has the label when its rating is this much or more (units of the source).
    top_share : float, optional
        A molecule has the label when its rating is among this share of the highest of that
        label, in (0, 1). For scales whose levels differ between labels. Ties are all included.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_least: Annotated[float, Field(ge=-LARGEST, le=LARGEST)] | None = None
    top_share: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if (self.at_least is None) == (self.top_share is None):
            msg = "give exactly one of at_least and top_share"
            raise ValueError(msg)
        return self

    def __str__(self) -> str:
        if self.at_least is not None:
            return f"rating at least {self.at_least:g}"
        return f"rating among the highest {self.top_share:.0%} of the label"

    def apply(self, ratings: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Label a table of ratings (n, l) -> (n, l); NaN (not rated) is never a positive."""
        if self.at_least is not None:
            return (ratings >= self.at_least).astype(np.uint8)
        rated = ~np.isnan(ratings).all(axis=0)
        level = np.full(ratings.shape[1], np.inf)
        rank = 1 - (self.top_share or 0.0)
        level[rated] = np.nanquantile(ratings[:, rated], rank, axis=0, method="higher")
        return (ratings >= level).astype(np.uint8)
