"""A store serves the frames of a training, wherever they lie: in a frame store, in image files, in a plug-in's arrays."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64, Int, Int32, UInt8
from rich.table import Table
from torch import Tensor


@runtime_checkable
class Store(Protocol):
    """Frames of videos, numbered through all of them from 0 to n - 1; copied or pickled to the processes that read.

    Attributes (arrays over the n frames):
        names: of the videos, as messages have them.
        seconds: time of each frame after the start of its video; within a video it increases.
        video: which of the videos a frame comes from; it does not decrease.
        shot: which shot of its video a frame belongs to: clips do not go from one into the next unless they may.
        blank: it shows nothing; no clip has it.
    """

    seconds: Float64[np.ndarray, "n"]
    video: Int32[np.ndarray, "n"]
    shot: Int32[np.ndarray, "n"]
    blank: Bool[np.ndarray, "n"]

    @property
    def names(self) -> Sequence[str]: ...

    def __len__(self) -> int: ...

    def read(self, indices: Sequence[int] | Int[np.ndarray, "t"]) -> UInt8[Tensor, "t 3 h w"]:
        """RGB frames of one video, in the given order. Raises `ValueError` for one that cannot be read."""

    def summary(self) -> str | Table:
        """Describe the store's contents, for people."""
