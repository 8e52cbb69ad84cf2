"""Clips: T frames of one take, `stride_seconds` apart, and every draw in them.

A clip's id is epoch * clips_per_epoch + slot. All that is random about a clip follows from (seed, epoch, slot), and the ids
of a batch follow from the step (`sampler.StepSampler`), so the data are the same for any number of workers and ranks, and after
any interruption. A loader that gives slots says the epoch by `set_epoch`.
"""

from bisect import bisect
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from longtake.datasets.epoch import first_epoch, warn_of_repetition
from longtake.datasets.packets import VideoError
from longtake.datasets.store import Store

TIE = 1e-6  # seconds: which of two equally near frames is taken must not depend on rounding
# Median frame intervals between a frame and the time it stands for: rounding to a regular grid costs up to a half, the
# rest allows for jitter and still keeps clips out of gaps.
REACH = 0.75

MakeViews = Callable[[UInt8[Tensor, "t 3 h w"], torch.Generator], Any]


@dataclass(frozen=True)
class Clip:
    frames: UInt8[Tensor, "t 3 h w"]
    index: int  # the clip's id
    generator: torch.Generator  # for everything else that is drawn for this clip


def clip_generator(seed: int, epoch: int, slot: int) -> torch.Generator:
    """The source of every draw that makes the views of one clip: the three numbers hashed by numpy's `SeedSequence`."""
    state = np.random.SeedSequence([seed, epoch, slot]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


class Clips(Dataset):
    """The clips of a store by their ids.

    A frame is an admissible start if the frames nearest to n * `stride_seconds` after it, n = 0 ... T - 1, all differ and
    lie in its video and its shot, each within `REACH` median frame intervals of its time, and none of them is blank. With T = 1
    every frame that is not blank is.

    An epoch draws its starts uniformly without replacement; when it has more clips than there are starts, each start once
    before any comes again. The order is a permutation that depends on (seed, epoch). With `min_gap_seconds` a start that is too
    close to another one of its batch waits for the next batch (contrastive methods take neighbours for negatives).

    Args:
        num_frames: T.
        clips_per_epoch: None for as many as there are starts, the reading of "epoch" in DoRA's released loader.
        views: makes the views of a clip from its frames and its generator, in `__getitem__`, or with `late_views` when
            `views_of` is called, on the device where the frames then are.
        cross_cuts: clips may go on over a cut.
        min_gap_seconds, batch_size: clips of one batch (all ranks together) that are of one video start so far apart, at least.
        skip_short: leave out videos in which not one clip fits, as long as there is one in which it does.

    Raises `VideoError` (a `ValueError`) for a video in which not one clip fits, and for videos too short for the gap.
    """

    def __init__(
        self,
        store: Store,
        num_frames: int,
        stride_seconds: float,
        clips_per_epoch: int | None = None,
        seed: int = 0,
        views: MakeViews | None = None,
        late_views: bool = False,
        cross_cuts: bool = False,
        skip_short: bool = False,
        min_gap_seconds: float = 0.0,
        batch_size: int = 1,
    ) -> None:
        self.store, self.num_frames, self.stride_seconds = store, num_frames, stride_seconds
        self.seed, self.views, self.late_views = seed, views, late_views
        shot = np.zeros_like(store.shot) if cross_cuts else store.shot
        takes = np.flatnonzero(np.diff(store.video) | np.diff(shot) | np.diff(store.blank)) + 1
        self.edges = np.concatenate([[0], takes, [len(store)]])  # take i is frames edges[i] ... edges[i + 1] - 1
        shown = [(i, j) for i, j in zip(self.edges[:-1], self.edges[1:], strict=True) if not store.blank[i]]
        self.starts = (
            np.flatnonzero(~store.blank)
            if num_frames == 1
            else np.concatenate(
                [np.zeros(0, np.int64)]
                + [first + _admissible(store.seconds[first:end], num_frames, stride_seconds) for first, end in shown]
            )
        )
        if not (skip_short and len(self.starts)):
            self._check_videos()
        self.clips_per_epoch = len(self.starts) if clips_per_epoch is None else clips_per_epoch
        self.min_gap_seconds, self.batch_size = min_gap_seconds, batch_size
        self._check_gap()
        self._order = (-1, self.starts)
        self._epoch = first_epoch()

    def __len__(self) -> int:
        """Clips of one epoch; ids go on beyond it."""
        return self.clips_per_epoch

    def set_epoch(self, epoch: int) -> None:
        """To be called before each epoch of a loader that gives slots, 0 ... `len` - 1: `clips[slot]` is then of this epoch.

        It is 0 until then, so that an index is the clip's id. Worker processes that run already see it, too.
        """
        if epoch < 0:
            raise ValueError(f"epoch: got {epoch}, expected 0 or more")
        self._epoch.copy_(torch.tensor([epoch, 0]))

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """The clips of a batch, as loaders ask for them."""
        warn_of_repetition(self._epoch, indices)
        return [self[index] for index in indices]

    def __getitem__(self, index: int) -> Any:
        """A `Clip`; with `views` the pair (views of the clip, id), or with `late_views` (frames, id)."""
        index = index + int(self._epoch[0]) * self.clips_per_epoch
        epoch, slot = divmod(index, self.clips_per_epoch)
        frames = self.store.read(self.frames_of(self.epoch_starts(epoch)[slot]))
        if self.views is None:
            return Clip(frames, index, clip_generator(self.seed, epoch, slot))
        return (frames if self.late_views else self.views_of(frames, index)), index

    def views_of(self, frames: UInt8[Tensor, "t 3 h w"], index: int) -> Any:
        """The views of a clip from its frames and its id."""
        assert self.views is not None
        return self.views(frames, clip_generator(self.seed, *divmod(index, self.clips_per_epoch)))

    def epoch_starts(self, epoch: int) -> Int64[np.ndarray, "clips_per_epoch"]:
        """The first frame of every slot of an epoch."""
        if self._order[0] != epoch:
            draw = np.random.default_rng([self.seed, epoch])
            if self.min_gap_seconds > 0:
                order = self._spread(draw)
            else:
                rounds = -(-self.clips_per_epoch // len(self.starts))
                order = np.concatenate([draw.permutation(self.starts) for _ in range(rounds)])
            self._order = (epoch, order[: self.clips_per_epoch])
        return self._order[1]

    def frames_of(self, start: int | np.integer) -> Int64[np.ndarray, "t"]:
        """The T frames of the clip that begins at frame `start`."""
        take = np.searchsorted(self.edges, start, side="right")
        first, end = self.edges[take - 1], self.edges[take]
        times = self.store.seconds[start] + self.stride_seconds * np.arange(self.num_frames)
        return first + _nearest(self.store.seconds[first:end], times)

    def _spread(self, draw: np.random.Generator) -> Int64[np.ndarray, "n"]:
        """Permutations of the starts, one after the other, in batches whose starts keep the gap."""
        stream = chain.from_iterable(draw.permutation(self.starts).tolist() for _ in count())
        order: list[int] = []
        waiting: deque[int] = deque()
        while len(order) < self.clips_per_epoch:
            taken: list[tuple[int, float]] = []  # (video, seconds) of the batch, sorted
            refused: list[int] = []
            while len(taken) < self.batch_size:
                start = waiting.popleft() if waiting else next(stream)
                video, seconds = int(self.store.video[start]), float(self.store.seconds[start])
                place = bisect(taken, (video, seconds))
                beside = taken[max(place - 1, 0) : place + 1]
                if any(v == video and abs(t - seconds) < self.min_gap_seconds for v, t in beside):
                    refused.append(start)
                    if len(refused) > 2 * len(self.starts):
                        raise VideoError(self._no_room(len(taken)))
                    continue
                taken.insert(place, (video, seconds))
                order.append(start)
            waiting.extendleft(reversed(refused))
        return np.array(order)

    def _check_gap(self) -> None:
        """Any choice of starts leaves room for the next one if a batch of twice the gap fits."""
        if self.min_gap_seconds <= 0:
            return
        videos, seconds = self.store.video[self.starts], self.store.seconds[self.starts]
        room = sum(int(np.ptp(seconds[videos == v]) // (2 * self.min_gap_seconds)) + 1 for v in np.unique(videos))
        if room < self.batch_size:
            raise VideoError(self._no_room(room))

    def _no_room(self, room: int) -> str:
        return (
            f"min_gap_seconds={self.min_gap_seconds:g} with batches of {self.batch_size} clips: the videos have room for {room}; "
            "use a smaller gap or batch, or more video"
        )

    def _check_videos(self) -> None:
        clip_seconds = (self.num_frames - 1) * self.stride_seconds
        for video, name in enumerate(self.store.names):
            if (self.store.video[self.starts] == video).any():
                continue
            own = self.store.video == video
            if self.store.blank[own].all():
                raise VideoError(f"{name}: every frame is blank or stands still; give a video that shows something")
            seconds = self.store.seconds[own]
            length, interval = (np.ptp(seconds), np.median(np.diff(seconds))) if len(seconds) > 1 else (0.0, 0.0)
            if self.stride_seconds < interval:
                raise VideoError(
                    f"{name}: stored frames are {interval:.3f} s apart, but stride_seconds is "
                    f"{self.stride_seconds:g}; keep more frames per second or use a longer stride"
                )
            raise VideoError(
                f"{name}: {length:.1f} s of frames, but one clip of {self.num_frames} frames lasts "
                f"{clip_seconds:.1f} s{' without a cut or a gap' if length >= clip_seconds else ''}; "
                "use a longer video, a smaller stride_seconds or fewer frames"
            )


def _admissible(
    seconds: Float64[np.ndarray, "n"], num_frames: int, stride_seconds: float
) -> Int64[np.ndarray, "starts"]:
    """Return the frames of one take that can begin a clip."""
    frames = np.arange(len(seconds))
    interval = np.median(np.diff(seconds)) if len(seconds) > 1 else 0.0
    fits, previous = np.ones(len(seconds), bool), frames
    for n in range(1, num_frames):
        times = seconds + n * stride_seconds
        nearest = _nearest(seconds, times)
        fits &= (nearest > previous) & (np.abs(seconds[nearest] - times) <= REACH * interval + TIE)
        previous = nearest
    return frames[fits]


def _nearest(seconds: Float64[np.ndarray, "n"], times: Float64[np.ndarray, "m"]) -> Int64[np.ndarray, "m"]:
    """Return for each time the nearest of the frames at `seconds`; of two equally near ones the earlier."""
    right = np.searchsorted(seconds, times).clip(max=len(seconds) - 1)
    left = (right - 1).clip(min=0)
    return np.where(times - seconds[left] <= seconds[right] - times + TIE, left, right)
