"""Video files as RGB frames with their times, decoded in order with PyAV (FFmpeg is inside its wheel).

`probe` opens a file and says what it holds; `decode` and `raw_frames` walk through it once. What goes wrong is a `VideoError`, one
line that names the file, the time and the remedy.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from math import floor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from jaxtyping import UInt8

from longtake.datasets.interlaced import whole_pictures
from longtake.datasets.packets import (
    LOOKED_AT,
    Lost,
    TimedFrames,
    VideoError,
    opened,
    refusal,
    timed_frames,
)
from longtake.datasets.torchcodec_frames import torchcodec_frames
from longtake.datasets.video_length import is_odd, measured_length, total_seconds

# Seconds. A seek aims this much before the wanted time: containers seek by decoding time, which precedes presentation
# time by the reordering delay (at most 16 frames in H.264, 0.67 s at 24 frames per second).
SEEK_MARGIN = 1.0
# In lattice steps. Which of two equally near frames is taken must not depend on rounding.
TIE = 1e-6

HDR_TRANSFERS = (16, 18)  # SMPTE ST 2084 (PQ) and ARIB STD-B67 (HLG), numbers of ITU-T H.273


@dataclass(frozen=True)
class VideoInfo:
    """Facts about a file's video stream. Width and height are those of the display: upright, square pixels."""

    path: Path
    codec: str
    width: int
    height: int
    rotation: int  # degrees counterclockwise, a multiple of 90, that turn the stored picture upright (`is_mirrored`)
    fps: float  # average
    seconds: float  # of the video stream
    container_seconds: float  # of the longest stream, by the header
    num_frames: int  # counted, or of a large file an estimate (`video_length`)
    hdr: bool = False  # PQ or HLG transfer: shown without tone mapping, colours are pale
    timed: bool = True  # the first frame has a timestamp; else frames are placed by the average rate
    interlaced: bool = False  # one field of every frame is made a whole picture
    mirrored: bool = False  # the stored picture has to be flipped, too
    read_anew: bool = False  # a frame store of an older `READER` had other frames of it, or other times


class RawFrame(NamedTuple):
    seconds: float  # after the start of the stream
    frame: VideoFrame  # in the codec's size and pixel format
    kept: bool  # it is nearest to a wanted time


class DecodedFrame(NamedTuple):
    seconds: float  # after the start of the stream
    image: UInt8[np.ndarray, "h w 3"]  # RGB


def probe(path: Path, *, skip_corrupt: bool = False) -> VideoInfo:
    """Open a file, decode its first sound frame and say what it holds. Raises `VideoError` where there is none."""
    with opened(path) as (container, stream):
        lost = (lambda times: None) if skip_corrupt else refusal(path)
        frame = next((frame for _, frame in timed_frames(container, stream, lost, bound=LOOKED_AT)), None)
        if frame is None:
            raise VideoError(f"{path}: the video stream holds no frame; download or copy the file again")
        width, height = round(frame.width * (stream.sample_aspect_ratio or 1)), frame.height
        turns = quarter_turns(frame)
        if turns % 2:
            width, height = height, width
        length = measured_length(path, container, stream)
        return VideoInfo(
            path=path,
            codec=stream.codec_context.name,
            width=width,
            height=height,
            rotation=90 * turns,
            fps=length.rate,
            seconds=length.seconds,
            container_seconds=total_seconds(container, length),
            num_frames=length.num_frames,
            hdr=stream.codec_context.color_trc in HDR_TRANSFERS,
            timed=frame.pts is not None,
            interlaced=frame.interlaced_frame,
            mirrored=is_mirrored(frame),
            read_anew=frame.interlaced_frame or is_mirrored(frame) or is_odd(container, stream, length),
        )


def decode(
    path: Path,
    *,
    short_side: int | None = None,
    frames_per_second: float | None = None,
    start: float = 0.0,
    corrupt: list[float] | None = None,
) -> Iterator[DecodedFrame]:
    """Frames of a video in presentation order, in RGB. Only frames that are emitted are converted.

    `short_side` as in `Converter`, the rest as in `raw_frames`.
    """
    convert = Converter(probe(path, skip_corrupt=corrupt is not None), short_side)
    for raw in raw_frames(path, frames_per_second=frames_per_second, start=start, corrupt=corrupt):
        if raw.kept:
            yield DecodedFrame(raw.seconds, convert(raw.frame))


def raw_frames(
    path: Path,
    *,
    frames_per_second: float | None = None,
    start: float = 0.0,
    corrupt: list[float] | None = None,
    decoder: str = "pyav",
) -> Iterator[RawFrame]:
    """All frames of a video in presentation order, as the codec leaves them.

    Args:
        frames_per_second: `kept` are the frames nearest to the times n / frames_per_second, n = 0, 1, ..., each frame once and
            of two equally near ones the earlier; None: all frames.
        start: seconds; emit exactly those frames of the whole decode that are not before it, reached by a seek.
        corrupt: None raises `VideoError` at the first damaged frame; a list receives the time of every lost frame that
            is not before `start`.
        decoder: `pyav`, or `torchcodec`, which always raises at the first damaged frame.
    """
    report = refusal(path) if corrupt is None else corrupt.extend
    frames = (
        torchcodec_frames(path, start)
        if decoder == "torchcodec"
        else _frames_before(start, path, lambda times: report(t for t in times if t >= start))
    )
    raw = (
        (RawFrame(seconds, frame, True) for seconds, frame in frames)
        if frames_per_second is None
        else _nearest_to_lattice(frames, frames_per_second)
    )
    return (frame for frame in raw if frame.seconds >= start)


def quarter_turns(frame: VideoFrame) -> int:
    """Return how often a stored picture has to be turned by 90 degrees, counterclockwise, to stand upright."""
    return round(frame.rotation / 90) % 4


def is_mirrored(frame: VideoFrame) -> bool:
    """Whether a stored picture has to be flipped, top to bottom, before it is turned: its display matrix is a reflection."""
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    a, b, _, c, d, *_ = np.frombuffer(bytes(matrix), np.int32).astype(float) if matrix else (1, 0, 0, 0, 1)
    return bool(a * d < b * c)


class Converter:
    """Convert a codec's frames to upright RGB, for any number of threads.

    `short_side` in pixels, resized by swscale's area average, never enlarged; None: as displayed.
    """

    def __init__(self, info: VideoInfo, short_side: int | None = None) -> None:
        scale = 1.0 if short_side is None else min(1.0, short_side / min(info.width, info.height))
        self.width, self.height = max(1, round(info.width * scale)), max(1, round(info.height * scale))
        self._own = threading.local()  # a reformatter keeps swscale's tables from frame to frame, and serves one thread

    def __call__(self, frame: VideoFrame) -> UInt8[np.ndarray, "h w 3"]:
        if not hasattr(self._own, "reformatter"):
            self._own.reformatter = VideoReformatter()
        # the picture is resized as stored, then flipped and turned
        turns = quarter_turns(frame)
        width, height = (self.height, self.width) if turns % 2 else (self.width, self.height)
        rgb = self._own.reformatter.reformat(frame, width, height, "rgb24", interpolation="AREA").to_ndarray()
        return np.ascontiguousarray(np.rot90(np.flipud(rgb) if is_mirrored(frame) else rgb, turns))


def _frames_before(start: float, path: Path, lost: Lost) -> TimedFrames:
    """Frames from at least one frame before `start` on, so that whoever looks at neighbours finds them."""
    if start > SEEK_MARGIN:
        with opened(path) as (container, stream):
            frames = whole_pictures(timed_frames(container, stream, lost, seek=start - SEEK_MARGIN))
            first = next(frames, None)
            if first is not None and first[0] < start:
                yield from chain([first], frames)
                return
    # the format cannot seek, its index is wrong, or there is nothing to skip
    with opened(path) as (container, stream):
        yield from whole_pictures(timed_frames(container, stream, lost))


def _nearest_to_lattice(frames: TimedFrames, frames_per_second: float) -> Iterator[RawFrame]:
    """A frame is kept if a time n / frames_per_second lies between the midpoints to its two neighbours."""
    half, last_point = 0.0, -1
    current = next(frames, None)
    while current is not None:
        following = next(frames, None)
        if following is not None:
            half = (following[0] - current[0]) / 2  # the last frame reaches as far as the one before
        point = floor((current[0] + half) * frames_per_second + TIE)
        yield RawFrame(*current, point > last_point)
        current, last_point = following, point
