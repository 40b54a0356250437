"""Dataclasses whose arrays have one entry a trial, so that trials are chosen in all of them at once."""

from dataclasses import fields, is_dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


class Rows:
    """Base of a frozen dataclass of arrays of shape (n, ...) and of other ``Rows``; other fields are of no trial."""

    def take(self, rows: NDArray[Any]) -> Self:
        """The trials of a mask or of positions."""
        assert is_dataclass(self)
        mine = {field.name: getattr(self, field.name) for field in fields(self)}
        chosen = {name: value.take(rows) for name, value in mine.items() if isinstance(value, Rows)}
        chosen |= {name: value[rows] for name, value in mine.items() if isinstance(value, np.ndarray)}
        return replace(self, **chosen)
