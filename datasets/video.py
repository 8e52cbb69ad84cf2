"""Video files as RGB frames with their times, decoded in order with PyAV (FFmpeg is inside its wheel).

`probe` opens a file and says what it holds; `decode` and `raw_frames` walk through it once. What goes wrong is a `VideoError`, one
line that names the file, the time and the remedy.

Times are presentation timestamps in seconds after the start of the stream, so a variable frame rate needs no special
care. A frame without a timestamp, or with one that does not increase, is placed one average frame interval after the
frame before.

Damage: FFmpeg hides most of it by painting over the hole; `err_detect=explode` makes the decoder report it. Later
frames refer to a damaged one, so all frames up to the next key frame are lost with it. Damage that leaves a valid bit
stream cannot be noticed.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from math import floor, inf
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import UInt8

# Seconds. A seek aims this much before the wanted time: containers seek by decoding time, which precedes presentation
# time by the reordering delay (at most 16 frames in H.264, 0.67 s at 24 frames per second).
SEEK_MARGIN = 1.0
# Seconds. A file is cut short when its last frame comes this much before the end that its header announces (headers
# round, and the last frame's own length is unknown).
END_TOLERANCE = 1.0
# In lattice steps. Which of two equally near frames is taken must not hang on rounding.
TIE = 1e-6

HDR_TRANSFERS = (16, 18)  # SMPTE ST 2084 (PQ) and ARIB STD-B67 (HLG), numbers of ITU-T H.273

Lost = Callable[[Iterable[float]], None]  # hears the times, in seconds, of frames that cannot be decoded
TimedFrames = Iterator[tuple[float, VideoFrame]]  # (seconds, frame), the frame still in the codec's pixel format


class VideoError(ValueError):
    """A video that cannot be used: file, time where there is one, remedy."""


@dataclass(frozen=True)
class VideoInfo:
    """What a file says about its video stream. Width and height are those of the display: upright, square pixels."""

    path: Path
    codec: str
    width: int
    height: int
    rotation: int  # degrees counterclockwise, a multiple of 90, that turn the stored picture upright
    fps: float  # average
    seconds: float  # of the video stream
    container_seconds: float  # of the longest stream
    num_frames: int  # an estimate: what the header says, else duration times rate, else the number of packets
    hdr: bool = False  # PQ or HLG transfer: shown without tone mapping, colours are pale


class RawFrame(NamedTuple):
    seconds: float  # after the start of the stream
    frame: VideoFrame  # in the codec's size and pixel format
    kept: bool  # it is nearest to a wanted time


class DecodedFrame(NamedTuple):
    seconds: float  # after the start of the stream
    image: UInt8[np.ndarray, "h w 3"]  # RGB


def probe(path: Path, *, skip_corrupt: bool = False) -> VideoInfo:
    """Open a file, decode its first sound frame and say what it holds. Raises `VideoError` where there is none."""
    with _opened(path) as (container, stream):
        lost = (lambda times: None) if skip_corrupt else _refusal(path)
        frame = next((frame for _, frame in _sound_frames(container, stream, lost)), None)
        if frame is None:
            raise VideoError(f"{path}: the video stream holds no frame; download or copy the file again")
        width, height = round(frame.width * (stream.sample_aspect_ratio or 1)), frame.height
        rotation = round(frame.rotation / 90) * 90 % 360
        if rotation % 180 == 90:
            width, height = height, width
        rate = _rate(stream)
        total = None if container.duration is None else container.duration / av.time_base
        seconds = _announced_seconds(container, stream) or total
        num_frames = stream.frames or (_num_packets(path) if seconds is None else max(1, round(seconds * rate)))
        seconds = num_frames / rate if seconds is None else seconds
        return VideoInfo(
            path=path,
            codec=stream.codec_context.name,
            width=width,
            height=height,
            rotation=rotation,
            fps=rate,
            seconds=seconds,
            container_seconds=seconds if total is None else total,
            num_frames=num_frames,
            hdr=stream.codec_context.color_trc in HDR_TRANSFERS,
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
    path: Path, *, frames_per_second: float | None = None, start: float = 0.0, corrupt: list[float] | None = None
) -> Iterator[RawFrame]:
    """All frames of a video in presentation order, as the codec leaves them.

    Args:
        frames_per_second: `kept` are the frames nearest to the times n / frames_per_second, n = 0, 1, ..., each frame once and
            of two equally near ones the earlier; None: all frames.
        start: seconds; emit exactly those frames of the whole decode that are not before it, reached by a seek.
        corrupt: None raises `VideoError` at the first damaged frame; a list receives the time of every lost frame that
            is not before `start`.
    """
    report = _refusal(path) if corrupt is None else corrupt.extend
    frames = _frames_from_before(start, path, lambda times: report(t for t in times if t >= start))
    raw = (
        (RawFrame(seconds, frame, True) for seconds, frame in frames)
        if frames_per_second is None
        else _nearest_to_lattice(frames, frames_per_second)
    )
    return (frame for frame in raw if frame.seconds >= start)


class Converter:
    """From a codec's frame to upright RGB, for any number of threads.

    `short_side` in pixels, resized by swscale's area average, never enlarged; None: as displayed.
    """

    def __init__(self, info: VideoInfo, short_side: int | None = None) -> None:
        scale = 1.0 if short_side is None else min(1.0, short_side / min(info.width, info.height))
        self.width, self.height = max(1, round(info.width * scale)), max(1, round(info.height * scale))
        self.turns = info.rotation // 90
        self._own = threading.local()  # a reformatter keeps swscale's tables from frame to frame, and serves one thread

    def __call__(self, frame: VideoFrame) -> UInt8[np.ndarray, "h w 3"]:
        if not hasattr(self._own, "reformatter"):
            self._own.reformatter = VideoReformatter()
        # the picture is resized as stored, then turned
        width, height = (self.height, self.width) if self.turns % 2 else (self.width, self.height)
        rgb = self._own.reformatter.reformat(frame, width, height, "rgb24", interpolation="AREA").to_ndarray()
        return np.ascontiguousarray(np.rot90(rgb, self.turns))


def _refusal(path: Path) -> Lost:
    def lost(times: Iterable[float]) -> None:
        for seconds in times:
            raise VideoError(
                f"{path}: cannot decode the frame at about {seconds:.2f} s; download or copy the file again, "
                "or skip_corrupt=true skips and counts such frames"
            )

    return lost


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The file and its video stream, set to report damage and to decode with FFmpeg's threads."""
    if not path.is_file():
        raise VideoError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}; expected a video file")
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: the file is empty (0 bytes); download or copy it again")
    # the default; otherwise FFmpeg's threads wait for Python's lock in order to log, while we wait for the threads
    av.logging.set_level(None)
    try:
        container = av.open(path)
    except av.FFmpegError as error:
        reason = error.strerror or type(error).__name__
        raise VideoError(f"{path}: not a readable video ({reason}); download it again or re-encode it") from error
    with container:
        # the cover picture of an audio file is a video stream, too
        streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
            raise VideoError(f"{path}: no video stream (the file holds {kinds}); give a file with pictures")
        if streams[0].codec_context is None:
            raise VideoError(f"{path}: FFmpeg has no decoder for its codec; re-encode it, for example to H.264")
        streams[0].thread_type = "AUTO"
        streams[0].codec_context.options = {"err_detect": "explode"}
        yield container, streams[0]


def _frames_from_before(start: float, path: Path, lost: Lost) -> TimedFrames:
    """Frames from at least one frame before `start` on, so that whoever looks at neighbours finds them."""
    if start > SEEK_MARGIN:
        with _opened(path) as (container, stream):
            frames = _sound_frames(container, stream, lost, seek=start - SEEK_MARGIN)
            first = next(frames, None)
            if first is not None and first[0] < start:
                yield from chain([first], frames)
                return
    # the format cannot seek, its index is wrong, or there is nothing to skip
    with _opened(path) as (container, stream):
        yield from _sound_frames(container, stream, lost)


def _sound_frames(container: InputContainer, stream: VideoStream, lost: Lost, seek: float | None = None) -> TimedFrames:
    """Frames in presentation order, without those that refer to something missing.

    `seek` starts at a key frame before that time; nothing comes where the format cannot seek. Damage before the first
    frame after a seek is not reported.
    """
    if seek is not None:
        try:
            container.seek(round(seek / _time_base(stream)) + (stream.start_time or 0), stream=stream)
        except av.FFmpegError:
            return
    interval = 1 / _rate(stream)
    seconds = -interval
    running = reporting = seek is None
    origin = -inf  # time of the key frame that the decoder was started with
    damaged = False
    pending: list[float] = []  # times of the packets that have no frame yet
    for packet in container.demux(stream):
        if packet.size:  # the last packet is empty and drains the decoder
            time = seconds + interval if packet.pts is None else _seconds(packet.pts, stream)
            if not packet.is_discard:
                pending.append(time)
            if not running and packet.is_keyframe:
                running, origin = True, time
            if not running or time < origin:
                continue  # refers to the group before: the middle of a group, leading pictures of an open one
        try:
            decoded = stream.decode(packet)
        except av.FFmpegError:
            stream.codec_context.flush_buffers()
            running, damaged = False, True
            continue
        for frame in decoded:
            last, seconds = seconds, seconds + interval
            if frame.pts is not None and _seconds(frame.pts, stream) > last:
                seconds = _seconds(frame.pts, stream)
            # an error can be lost on the way; but one packet without a frame may be half of an interlaced picture
            missing = sorted(t for t in pending if last < t < seconds)
            if reporting and (damaged or len(missing) > 1):
                lost(missing or [last + interval])
            damaged, reporting = False, True
            pending = [t for t in pending if t > seconds]
            yield seconds, frame
    missing = sorted(t for t in pending if t > seconds)
    cut_off = _cut_off(container, stream, max([seconds, *missing]) + interval)
    if reporting and (damaged or len(missing) > 1 or cut_off):
        lost(missing + cut_off or [seconds + interval])


def _announced_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """Duration of the video in the header; that of the whole file stands for it only where nothing else is in it."""
    if stream.duration is not None:
        return float(stream.duration * _time_base(stream))
    if container.duration is not None and len(container.streams) == 1:
        return container.duration / av.time_base
    return None


def _cut_off(container: InputContainer, stream: VideoStream, end: float) -> list[float]:
    """Times of the frames between `end` and the end that the header announces: FFmpeg itself ends without an error."""
    announced = _announced_seconds(container, stream)
    if announced is None or end > announced - END_TOLERANCE:
        return []
    return [float(t) for t in np.arange(end, announced, 1 / _rate(stream))]


def _time_base(stream: VideoStream) -> Fraction:
    assert stream.time_base is not None  # only before a demuxer has opened the stream
    return stream.time_base


def _seconds(pts: int, stream: VideoStream) -> float:
    return float((pts - (stream.start_time or 0)) * _time_base(stream))


def _num_packets(path: Path) -> int:
    """How many frames a stream without a header has (bare H.264): one packet each, read without decoding."""
    with _opened(path) as (container, stream):
        return sum(packet.size > 0 for packet in container.demux(stream))


def _rate(stream: VideoStream) -> float:
    """Average frames per second; 25, FFmpeg's own default, where neither the header nor the first packets tell."""
    return float(stream.average_rate or stream.guessed_rate or 25)


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
