"""Decode a video file's packets into its sound frames with their times, in presentation order.

Times are presentation timestamps in seconds after the start of the stream, so a variable frame rate needs no special
care. A frame without a timestamp, or with one that does not increase, is placed one average frame interval after the
frame before.

Damage: FFmpeg hides most of it by painting over the hole; `err_detect=explode` makes the decoder report it. Later
frames refer to a damaged one, so all frames up to the next key frame are lost with it. Damage that leaves a valid bit
stream cannot be noticed.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from math import inf
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

# Seconds. A file is cut short when its last frame comes this much before the end that its header announces (headers
# round, and the last frame's own length is unknown).
END_TOLERANCE = 1.0

Lost = Callable[[Iterable[float]], None]  # hears the times, in seconds, of frames that cannot be decoded
TimedFrames = Iterator[tuple[float, VideoFrame]]  # (seconds, frame), the frame still in the codec's pixel format


class VideoError(ValueError):
    """A video that cannot be used: file, time where there is one, remedy."""


@contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
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


def sound_frames(container: InputContainer, stream: VideoStream, lost: Lost, seek: float | None = None) -> TimedFrames:
    """Frames in presentation order, without those that refer to something missing.

    `seek` starts at a key frame before that time; nothing comes where the format cannot seek. Damage before the first
    frame after a seek is not reported.
    """
    if seek is not None:
        try:
            container.seek(round(seek / _time_base(stream)) + (stream.start_time or 0), stream=stream)
        except av.FFmpegError:
            return
    interval = 1 / rate_of(stream)
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


def _cut_off(container: InputContainer, stream: VideoStream, end: float) -> list[float]:
    """Times of the frames between `end` and the end that the header announces: FFmpeg itself ends without an error."""
    announced = announced_seconds(container, stream)
    if announced is None or end > announced - END_TOLERANCE:
        return []
    return [float(t) for t in np.arange(end, announced, 1 / rate_of(stream))]


def announced_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """Duration of the video in the header; that of the whole file stands for it only where nothing else is in it."""
    if stream.duration is not None:
        return float(stream.duration * _time_base(stream))
    if container.duration is not None and len(container.streams) == 1:
        return container.duration / av.time_base
    return None


def _time_base(stream: VideoStream) -> Fraction:
    assert stream.time_base is not None  # only before a demuxer has opened the stream
    return stream.time_base


def _seconds(pts: int, stream: VideoStream) -> float:
    return float((pts - (stream.start_time or 0)) * _time_base(stream))


def rate_of(stream: VideoStream) -> float:
    """Average frames per second; 25, FFmpeg's own default, where neither the header nor the first packets tell."""
    return float(stream.average_rate or stream.guessed_rate or 25)


def refusal(path: Path) -> Lost:
    def lost(times: Iterable[float]) -> None:
        for seconds in times:
            raise VideoError(
                f"{path}: cannot decode the frame at about {seconds:.2f} s; download or copy the file again, "
                "or skip_corrupt=true skips and counts such frames"
            )

    return lost
