"""An evaluation sees an encoder, never a method, and answers with metrics and per-item outcomes.

@dataclass(kw_only=True)
class KNN(FrozenClassification, name="knn"): ...        # in downstream/knn.py
DOWNSTREAM["knn"](preset="knn-mini", root="mini").evaluate(encoder, workdir)
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from longtake.backbones.finite import NotFinite, check_weights, watched
from longtake.backbones.vit import Tokens
from longtake.console import notes
from longtake.datasets.content import Content, content_of_folder
from longtake.files import whole
from longtake.parallel import is_first
from longtake.registry import Registry

DOWNSTREAM: "Registry[type[Downstream]]" = Registry("evaluation", "longtake.downstream")
# Settings of an evaluation that decide how fast it is and what it leaves behind, not what it measures.
HARMLESS = ("batch_size", "num_workers", "device", "progress", "gallery", "save_every", "submission")

NAMED = 5  # of the items that cannot be scored


@runtime_checkable
class Encoder(Protocol):
    """The interface that an evaluation may use of an encoder, an `nn.Module` (see backbones/vit.py)."""

    embed_dim: int
    patch_size: int
    depth: int

    def __call__(self, x: Float[Tensor, "b 3 h w"], *, pos_mode: str | None = None) -> Tokens:
        """Final tokens, and the last block's queries and keys."""

    def intermediate(
        self, x: Float[Tensor, "b 3 h w"], blocks: Sequence[int], norm: bool = True
    ) -> list[Float[Tensor, "b n+1 d"]]:
        """Tokens after each of `blocks` (negative ones count from the last), CLS first, with or without final norm."""


@dataclass(kw_only=True)
class Downstream(ABC):
    """One evaluation. A subclass is a keyword-only dataclass: its fields are the keys of its yaml."""

    metrics: ClassVar[tuple[str, ...]]  # names of what `evaluate` returns, in the order of the paper's table
    primary: ClassVar[tuple[str, ...]] = ()  # those compared with random init at the end of a run; () is the first one
    shared: ClassVar[bool] = False  # processes that run together evaluate it together (parallel.py)
    label_free: ClassVar[bool] = False  # its metrics describe, and are not better when they are higher
    names_its_data: ClassVar[bool] = False  # its protocol says what it is tested on
    version: ClassVar[int] = 1  # raised when the same preset would give other numbers

    preset: str  # the yaml's name for its settings

    def __init_subclass__(cls, name: str | None = None, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if name is not None:
            DOWNSTREAM.add(name, cls)

    @property
    def protocol(self) -> str:
        """Preset and version, `knn-imagenet1k-v1`: rows are comparable when it is the same."""
        return f"{self.preset}-v{self.version}"

    @abstractmethod
    def check(self) -> list[str]:
        """List what is missing, where it is expected and how to get it; [] when the evaluation can run. Cheap.

        Raises ValueError when the data are there but wrong.
        """

    def data(self) -> Content | None:
        """What is in the data that it learns from and is tested on; None where it has none, or its protocol says it.

        For data that `check` accepts. This one looks at everything in the folder `root`.
        """
        return None if self.names_its_data else content_of_folder(getattr(self, "root", None))

    def validate(self) -> list[str]:
        """List what is odd about data that `check` accepts, after looking at every file; [] when nothing is. Slow.

        Lines that are `Wrong` (datasets/findings.py) are about what `evaluate` would refuse.
        """
        return []

    def check_encoder(self, encoder: Encoder) -> None:  # noqa: B027 - most take any
        """Raise ValueError for an encoder it cannot work with. Called before a training, so that its weights may be missing."""

    def check_processes(self, count: int) -> None:  # noqa: B027 - most take any
        """Raise ValueError when so many processes cannot share it."""

    @abstractmethod
    def evaluate(self, encoder: Encoder, workdir: Path) -> dict[str, float]:
        """The metrics, in per cent; `workdir` (made when missing) receives `outcomes.npz` and whatever else is kept."""


@contextmanager
def frozen(encoder: Encoder, device: str) -> Iterator[None]:
    """The encoder on `device` and in eval mode inside the block; every module's own mode is restored after it.

    Weights that are not finite, and features inside the block, are a `ValueError` (backbones/finite.py).
    """
    assert isinstance(encoder, nn.Module)
    was_training = {module: module.training for module in encoder.modules()}
    encoder.to(device).eval()
    check_weights(encoder.state_dict(), "the encoder")
    looks = watched(encoder)
    try:
        yield
    finally:
        for look in looks:
            look.remove()
        for module, training in was_training.items():
            module.training = training


def check_size(size: int, encoder: Encoder) -> None:
    """Raise ValueError when squares of `size` pixels are not whole patches."""
    if size % encoder.patch_size:
        raise ValueError(f"size={size} is not divisible by the encoder's patch size {encoder.patch_size}")


def save_outcomes(
    workdir: Path,
    items: Sequence[str],
    outcomes: Mapping[str, Float[np.ndarray, " n"]],
    groups: Sequence[str] | None = None,
) -> dict[str, float]:
    """Write `<workdir>/outcomes.npz` and return the metrics, 100 times each outcome's mean over the items that count.

    The file holds `items` (n names, the same for every encoder, so that two encoders can be compared item by item) and
    one array per metric: the item's outcome in [0, 1], NaN where the item does not count for that metric. `groups` names what
    an item is a part of, where items come in groups that are alike (objects of one video); intervals then draw whole groups.
    """
    assert not {"items", "groups"} & outcomes.keys(), "names of other arrays"
    assert all(len(outcome) == len(items) for outcome in outcomes.values()), "one outcome per item"
    outcomes = that_count(items, outcomes)
    if is_first():
        arrays = dict[str, Any](outcomes, items=np.array(items))
        if groups is not None:
            arrays["groups"] = np.array(groups)
        with whole(workdir / "outcomes.npz") as part:
            np.savez_compressed(part, **arrays)
    return {name: 100 * float(np.nanmean(outcome, dtype=np.float64)) for name, outcome in outcomes.items()}


def that_count(
    items: Sequence[str], outcomes: Mapping[str, Float[np.ndarray, " n"]]
) -> dict[str, Float[np.ndarray, " n"]]:
    """Outcomes of the metrics for which an item counts; the others are named. Raises `ValueError` where there is none."""
    for metric, values in outcomes.items():
        if (wrong := np.isinf(values)).any():
            raise NotFinite(
                f"{metric}: {items[int(wrong.argmax())]} has {values[wrong.argmax()]}, expected a finite number"
            )
    kept = {metric: values for metric, values in outcomes.items() if not np.isnan(values).all()}
    if not kept:
        raise ValueError(
            f"none of the {len(items)} items can be scored ({', '.join(items[:NAMED])}, ...): there is no row"
        )
    for metric in (metric for metric in outcomes if metric not in kept):
        say_unscored(items, len(items), f"items, so that there is no {metric}")
    return kept


def say_unscored(names: Sequence[str], total: int, why: str) -> None:
    """A line for items that cannot be scored, which end no evaluation: how many of how many, `why`, and some names."""
    if names and is_first():
        shown = ", ".join([*names[:NAMED], *(["..."] if len(names) > NAMED else [])])
        notes.print(f"not scored: {len(names)} of {total} {why}: {shown}", soft_wrap=True)
