"""A source is what an encoder learns from. A pretrain yaml names the class with the key `source`; its other keys are the fields.

    @dataclass(frozen=True, kw_only=True)
    class Images(Source, name="images"): ...        # in datasets/sources/images.py
    build_source({"source": "images", "name": "imagenet1k", "images": FOLDER}).open()

A package outside the repository adds one through the entry-point group `longtake.sources`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from longtake.datasets.store import Store
from longtake.registry import Registry, UnknownName, unknown

SOURCES: "Registry[type[Source]]" = Registry("source", "longtake.datasets.sources", group="longtake.sources")
FRAMES_OF_A_TOUR = 200_000  # about: table 2a of https://arxiv.org/abs/2310.08584


class Truth(NamedTuple):
    """The objects to be seen in a rendered source: one row per visible object and frame, those of a frame together."""

    fps: float
    classes: Sequence[str]
    frame: Int[np.ndarray, "n"]
    instance: Int[np.ndarray, "n"]  # one number for one object, within a shot
    class_index: Int[np.ndarray, "n"]
    box: Float[np.ndarray, "n 4"]  # x0, y0, x1, y1 of the visible pixels, as shares of the frame
    visible: Float[np.ndarray, "n"]  # share of the whole silhouette


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """The frames that an encoder learns from, and how clips are drawn from them.

    A subclass is a frozen keyword-only dataclass: its fields are the keys of its yaml.

    `name` is that of the yaml. `clips_per_epoch` None: every admissible start once. Clips of a batch that are of one video are
    `min_gap_seconds` apart, frames of a clip `stride_seconds` (paper, section 5.1).
    """

    name: str
    clips_per_epoch: int | None = None
    min_gap_seconds: float = 0.0
    stride_seconds: float = 1.0

    def __init_subclass__(cls, name: str | None = None, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if name is not None:
            SOURCES.add(name, cls)

    @property
    def label(self) -> str:
        """The source's name in a leaderboard row; the part after a colon is the user's own (`video:walk`)."""
        return self.name

    def digest(self) -> str:
        """Hex digits of what is in the data that `check` accepts; "" where the label says it: a world, a published set."""
        return ""

    @property
    def title(self) -> str:
        """The label and what is in the data, as a row has it: `video:walk@3f2a1c04`. For data that `check` accepts."""
        digest = self.digest()
        return f"{self.label}@{digest}" if digest else self.label

    @property
    def collection(self) -> bool:
        """Its videos were found, not named one by one: those shorter than a clip are left out."""
        return False

    @property
    def cross_cuts(self) -> bool:
        """Clips may go on over a cut."""
        return False

    def check(self, num_frames: int) -> str:
        """One line on what is there. Raises `ValueError` for what is not, or cannot give one clip of T frames. Cheap."""
        if self.stride_seconds <= 0 or num_frames < 1:
            raise ValueError(
                f"a clip of {num_frames} frames, {self.stride_seconds} s apart: expected at least 1, more than 0 s"
            )
        return self.found(num_frames)

    @abstractmethod
    def found(self, num_frames: int) -> str:
        """Do the work of `check`, called with at least one frame and a stride above 0."""

    @abstractmethod
    def stored_frames(self) -> int:
        """About how many frames the store will have, known before it is built. For data that `check` accepts."""

    @abstractmethod
    def open(self) -> Store:
        """Its frames, rendered, decoded or whatever it takes where that is not done yet."""

    def expected_frames(self) -> int:
        """About how many frames it has where it is not on this machine, so that a plan can say what it would cost."""
        return FRAMES_OF_A_TOUR

    def fetch(self) -> None:  # noqa: B027 - most have nothing to fetch
        """Get files that are named but not there (task=prepare). Raises `ValueError` with the reasons and what to do by hand."""

    def doubts(self) -> list[str]:
        """List what looks wrong with data that are there, a line each."""
        return []

    def truth(self) -> Truth | None:
        """Return the objects to be seen in the frames of an open source, where they are known."""
        return None


def build_source(keys: Mapping[str, Any]) -> Source:
    """A source from its yaml: `source` names the class, the rest are its fields.

    Raises `ValueError` for a class or a key that there is not, with the nearest right name, and for a key that has to be given.
    """
    cls = source_class(keys)
    given = {key: value for key, value in keys.items() if key != "source"}
    known = {field.name: field for field in fields(cls)}
    for key in given:
        if key not in known:
            raise ValueError(unknown(f"key of source {keys['source']}:", key, list(known)))
    for name, field in known.items():
        if name not in given and field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"source {keys['source']} needs pretrain.{name}")
    return cls(**given)


def source_class(keys: Mapping[str, Any]) -> type[Source]:
    """The class that the yaml names. Raises `UnknownName`, a `ValueError`, where it names none."""
    name = str(keys.get("source"))
    try:
        return SOURCES[name]
    except UnknownName as error:
        raise UnknownName(unknown("source", name, SOURCES.all_names())) from error
