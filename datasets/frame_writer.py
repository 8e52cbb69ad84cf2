"""The writing half of a frame store: one pass over a video, in transactions of `BLOCK` frames.

Three kinds of threads: FFmpeg's decode, a pool makes of each decoded frame what is stored (resize, measure, JPEG), the caller's
puts the results in order, looks for cuts and writes. Hence the store does not depend on the number of threads.
"""

import io
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import cv2
import lmdb
import numpy as np
from jaxtyping import Float64, UInt8

from longtake.datasets.frame_store import FRAME, key_of, read_json, read_records
from longtake.datasets.shots import SMALL_SIDE, CutFinder
from longtake.datasets.store_sums import sums_of
from longtake.datasets.video import Converter, RawFrame, VideoInfo, raw_frames

BLOCK = 256  # frames per transaction: about 10 MB, half a second of work lost by a kill
MAX_THREADS = (
    8  # each holds a decoded frame and is fed by FFmpeg's threads: more would only take memory (12 MB each in 4K)
)

Blur = Callable[[UInt8[np.ndarray, "h w 3"]], int]  # blurs faces of an RGB image in place and counts them
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class StoreSpec:
    """Which frames of a video are kept, and how.

    `short_side` in pixels (smaller videos keep their size), `quality` of the JPEG; `frames_per_second` None keeps all
    frames, else those nearest to the times n / frames_per_second. With `cuts` shots are told apart; `faces` may be `blur`,
    `decoder` `torchcodec`.
    """

    short_side: int = 360
    quality: int = 90
    frames_per_second: float | int | None = None
    cuts: bool = True
    faces: str = "keep"
    decoder: str = "pyav"

    def __post_init__(self) -> None:
        if self.short_side < 1 or not 1 <= self.quality <= 100 or (self.frames_per_second or 1) <= 0:
            raise ValueError(f"frame store: got {self}, expected short_side > 0, quality 1-100, frames_per_second > 0")
        for key, choices in (("faces", ("keep", "blur")), ("decoder", ("pyav", "torchcodec"))):
            if getattr(self, key) not in choices:
                raise ValueError(f"pretrain.{key}: got {getattr(self, key)!r}, expected {' or '.join(choices)}")
        if self.frames_per_second is not None:  # 5 and 5.0 are one store
            object.__setattr__(self, "frames_per_second", float(self.frames_per_second))


class Made(NamedTuple):
    """The result of one decoded frame; a frame that is not kept has at most its small picture."""

    seconds: float
    kept: bool
    small: UInt8[np.ndarray, "h w 3"]  # BGR
    jpeg: bytes = b""
    lightness: float = 0.0
    contrast: float = 0.0
    faces: int = 0


class Maker:
    """Makes of a frame what is stored of it."""

    def __init__(self, info: VideoInfo, spec: StoreSpec, blur: Blur | None) -> None:
        self.convert, self.quality, self.blur = Converter(info, spec.short_side), spec.quality, blur
        self.convert_small = Converter(info, SMALL_SIDE)
        self.size = (self.convert_small.width, self.convert_small.height)

    def __call__(self, raw: RawFrame) -> Made:
        if not raw.kept:
            return Made(raw.seconds, False, cv2.cvtColor(self.convert_small(raw.frame), cv2.COLOR_RGB2BGR))
        image = self.convert(raw.frame)
        faces = self.blur(image) if self.blur else 0
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        small = cv2.resize(bgr, self.size, interpolation=cv2.INTER_AREA)
        light = lightness(small)
        return Made(raw.seconds, True, small, jpeg_of(bgr, self.quality), light.mean(), light.std(), faces)


def lightness(bgr: UInt8[np.ndarray, "h w 3"]) -> Float64[np.ndarray, "h w"]:
    """CIE L*, 0 to 100. For 8-bit images OpenCV scales it to 0-255."""
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2LAB)[..., 0] * (100 / 255)


def jpeg_of(bgr: UInt8[np.ndarray, "h w 3"], quality: int) -> bytes:
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


class VideoWriter:
    """Adds the frames of one video to an environment, those that are not there yet."""

    def __init__(
        self, environment: lmdb.Environment, video: int, info: VideoInfo, spec: StoreSpec, blur: Blur | None = None
    ) -> None:
        self.environment, self.video, self.info, self.spec = environment, video, info, spec
        self.make = Maker(info, spec, blur)
        stored = read_records(environment)
        self.finished = bool(len(stored)) and stored["video"][-1] > video
        self.first = len(stored)
        self.done: Float64[np.ndarray, "n"] = stored["seconds"][stored["video"] == video]
        self.lost, self.cuts = read_json(environment, b"lost"), read_json(environment, b"cuts")
        # what was lost later is found again
        self.lost[video] = [t for t in self.lost[video] if len(self.done) and t < self.done[-1]]
        self.finder = CutFinder(unpacked(self._get(b"tail")) if len(self.done) else [])
        self.block: list[Made] = []
        self.records: list[tuple[float, int, float, float, float, int]] = []
        self.last = self.finder.tail[-1][1] if self.finder.tail else None  # a block ends with a frame that is kept

    def write(self, skip_corrupt: bool, advance: Callable[[], Any]) -> None:
        """`advance` is called once for each frame that is kept."""
        if self.finished:
            return
        for made in self._remaining(skip_corrupt):
            self._look_for_cuts(made)
            if made.kept:
                self._put(made)
                advance()
            if len(self.block) == BLOCK:
                self._commit()
        self._commit(last=True)

    def _look_for_cuts(self, made: Made) -> None:
        if self.spec.cuts:
            found = self.finder.feed(made.seconds, made.small)
            self.cuts[self.video] += [t for t in found if t not in self.cuts[self.video][-1:]]
        else:
            self.finder.tail.append((made.seconds, made.small))

    def _put(self, made: Made) -> None:
        change = np.nan if self.last is None else np.abs(lightness(made.small) - lightness(self.last)).mean()
        self.block.append(made)
        self.records.append((made.seconds, self.video, made.lightness, made.contrast, change, made.faces))
        self.last = made.small

    def _commit(self, last: bool = False) -> None:
        with self.environment.begin(write=True) as transaction:
            transaction.put(b"lost", json.dumps(self.lost).encode())
            transaction.put(b"cuts", json.dumps(self.cuts).encode())
            for index, made in enumerate(self.block, start=self.first):
                transaction.put(key_of(b"jpeg", index), made.jpeg)
            if self.records:
                transaction.put(key_of(b"block", self.first), np.array(self.records, FRAME).tobytes())
                transaction.put(key_of(b"sums", self.first), sums_of([made.jpeg for made in self.block]))
            if last:
                transaction.delete(b"tail")
            else:
                transaction.put(b"tail", packed(self.finder.tail))
        self.first += len(self.block)
        self.block, self.records = [], []

    def _remaining(self, skip_corrupt: bool) -> Iterator[Made]:
        """Yield what becomes of the frames after those that are done; `lost` receives the times of damaged frames among them.

        Decoding goes on from the last stored frame; if the file's index leads to another picture, from the beginning.
        """
        lost = self.lost[self.video]
        if len(self.done):
            late: list[float] = []
            frames = self._made(float(self.done[-1]), late if skip_corrupt else None)
            again = next(frames, None)
            stored = self._get(key_of(b"jpeg", self.first - 1))
            if again is not None and again.seconds == self.done[-1] and again.jpeg == stored:
                for made in frames:
                    lost += late
                    late.clear()
                    yield made
                lost += late
                return
            lost.clear()
        for made in self._made(0.0, lost if skip_corrupt else None):
            if not len(self.done) or made.seconds > self.done[-1]:
                yield made

    def _made(self, start: float, corrupt: list[float] | None) -> Iterator[Made]:
        rate, decoder = self.spec.frames_per_second, self.spec.decoder
        frames = raw_frames(self.info.path, frames_per_second=rate, start=start, corrupt=corrupt, decoder=decoder)
        return in_order(self.make, (frame for frame in frames if frame.kept or self.spec.cuts))

    def _get(self, key: bytes) -> bytes | None:
        with self.environment.begin() as transaction:
            return transaction.get(key)


def in_order(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results of `work`, done by threads a few items ahead, in the order of the items."""
    from joblib import cpu_count  # of those that this process may use; the import takes a moment, and no plan needs it

    num_threads = min(cpu_count(), MAX_THREADS)
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(num_threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) > num_threads + 1:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def packed(tail: Iterable[tuple[float, UInt8[np.ndarray, "h w 3"]]]) -> bytes:
    file = io.BytesIO()
    seconds, small = zip(*tail, strict=True)
    np.savez(file, seconds=seconds, small=small)
    return file.getvalue()


def unpacked(data: bytes | None) -> list[tuple[float, UInt8[np.ndarray, "h w 3"]]]:
    if data is None:
        return []
    with np.load(io.BytesIO(data)) as arrays:
        return list(zip(arrays["seconds"].tolist(), arrays["small"], strict=True))
