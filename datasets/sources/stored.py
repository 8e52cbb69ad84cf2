"""Videos that are decoded once, into a frame store under the data root, whoever made them."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from longtake.datasets.frame_store import FrameStore
from longtake.datasets.frames import StoreSpec, build
from longtake.datasets.roots import data_root
from longtake.datasets.sources.base import Source


@dataclass(frozen=True, kw_only=True)
class Stored(Source):
    """A source whose `files` are videos.

    `frames_per_second` None stores all frames; `short_side` (pixels; smaller videos keep theirs) and `quality` (JPEG) are those
    of the stored frames. `skip_corrupt` leaves out frames that do not decode, counted and reported. `cuts`: clips `avoid` them,
    may `cross` them, or nobody looks for them (`ignore`). `faces`: `keep` or `blur` (needs the extra `faces`). `decoder`: `pyav`,
    or `torchcodec`, where that is installed; it decodes on a GPU.
    """

    frames_per_second: float | None = None
    short_side: int = 360
    quality: int = 90
    skip_corrupt: bool = False
    cuts: str = "avoid"
    faces: str = "keep"
    decoder: str = "pyav"

    def __post_init__(self) -> None:
        if self.cuts not in ("avoid", "cross", "ignore"):
            raise ValueError(f"pretrain.cuts: got {self.cuts!r}, expected avoid, cross or ignore")

    @property
    def cross_cuts(self) -> bool:
        return self.cuts == "cross"

    @abstractmethod
    def files(self) -> Sequence[Path]:
        """The videos, made where they are not there yet."""

    @property
    def spec(self) -> StoreSpec:
        """How its frames are stored."""
        look = self.cuts != "ignore"
        return StoreSpec(self.short_side, self.quality, self.frames_per_second, look, self.faces, self.decoder)

    def open(self) -> FrameStore:
        """The frame store, built where it is missing."""
        return build(self.files(), self.spec, data_root() / "frames", skip_corrupt=self.skip_corrupt)
