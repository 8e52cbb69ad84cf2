"""Decode a video file's packets into its sound frames with their times, in presentation order.

Times are presentation timestamps in seconds after the first frame's, so a variable frame rate needs no special care, and neither
does a clock that begins at 600 s or at that of the day. A frame without a timestamp, or with one far before that of the frame
before, is placed one average frame interval after it; one with the same timestamp half of the rest of a tick after it. Files that
keep times of decoding alone give them to their frames in the order in which those are shown.

Damage: FFmpeg hides most of it by painting over the hole; `err_detect=explode` makes the decoder report it. Later
frames refer to a damaged one, so all frames up to the next key frame are lost with it. Damage that leaves a valid bit
stream cannot be noticed.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from math import inf
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

# Seconds. A file is cut short when its last frame comes this much before the end that its header announces (headers
# round, and the last frame's own length is unknown).
END_TOLERANCE = 1.0
MOST_LOST = 100_000  # times that are listed of a file that is cut short: one hour of frames, whatever the header says
REORDERED = 16  # frames, at most, are decoded before one that is shown before them (H.264, H.265)
LOOKED_AT = 20_000  # packets, at most, that are read before anything is decided: a tenth of a second
FASTEST = 1000  # frames per second; a rate above it is that of a clock (90,000 in H.264), not of frames
DECODING_TIMES = ("avi", "asf")  # formats of FFmpeg's that keep no times of presentation
LENGTHS = ("mov,mp4,m4a,3gp,3g2,mj2",)  # where a duration is a length; elsewhere it can be the time of the end

Lost = Callable[[Iterable[float]], None]  # hears the times, in seconds, of frames that cannot be decoded
TimedFrames = Iterator[tuple[float, VideoFrame]]  # (seconds, frame), the frame still in the codec's pixel format


class VideoError(ValueError):
    """A video that cannot be used: file, time where there is one, remedy."""


@contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The file and its video stream (`largest`), set to report damage and to decode with FFmpeg's threads."""
    if not path.is_file():
        raise VideoError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}; expected a video file")
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: the file is empty (0 bytes); download or copy it again")
    # the default; otherwise FFmpeg's threads wait for Python's lock in order to log, while we wait for the threads
    av.logging.set_level(None)
    try:
        container = av.open(local(path), options={"protocol_whitelist": "file"})
    except av.FFmpegError as error:
        reason = error.strerror or type(error).__name__
        raise VideoError(f"{path}: not a readable video ({reason}); download it again or re-encode it") from error
    with container:
        stream = largest(path, container)
        stream.thread_type = "AUTO"
        stream.codec_context.options = {"err_detect": "explode"}
        yield container, stream


def local(path: Path) -> str:
    """A path as FFmpeg takes it for a file: `10:30.mp4` has no protocol `10`."""
    return f"file:{path}"


def largest(path: Path, container: InputContainer) -> VideoStream:
    """The stream whose pictures are largest, the first of equal ones: a smaller one beside it is its preview.

    Raises `VideoError` where there is none, or none that can be decoded.
    """
    # the cover picture of an audio file is a video stream, too
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        raise VideoError(f"{path}: no video stream (the file holds {kinds}); give a file with pictures")
    readable = [s for s in streams if s.codec_context is not None]
    if not readable:
        raise VideoError(f"{path}: FFmpeg has no decoder for its codec; re-encode it, for example to H.264")
    return max(readable, key=lambda s: s.codec_context.width * s.codec_context.height)


class Clock(NamedTuple):
    """How the packets of a stream tell the time: in ticks of `tick` seconds, the first frame's are `origin`."""

    origin: int
    delay: int  # ticks from the first packet's decoding to `origin`
    tick: Fraction
    interval: float  # seconds between two frames, on average
    decoding: bool  # of decoding alone

    def seconds(self, stamp: int) -> float:
        return float((stamp - self.origin) * self.tick)

    def stamp(self, packet: Packet) -> int | None:
        return packet.dts if self.decoding else packet.pts


def clock_of(container: InputContainer, stream: VideoStream, first: Sequence[Packet]) -> Clock:
    """The clock, from the first packets: what a header says of it is not asked."""
    decoding = container.format.name in DECODING_TIMES
    stamps = [(p.dts if decoding else p.pts, p.is_discard) for p in first if p.size]
    known = [stamp for stamp, _ in stamps if stamp is not None]
    # pictures that are shown before the first key frame refer to what is not in the file
    shown = [s for s, discarded in stamps if s is not None and not discarded and s >= known[0]]
    origin = min(shown or known, default=0)
    delay = origin - min((p.dts for p in first if p.dts is not None), default=origin)
    return Clock(origin, max(0, delay), _time_base(stream), 1 / rate_of(stream), decoding)


def first_packets(packets: Iterable[Packet]) -> list[Packet]:
    """The packets up to the one after which no earlier time can come."""
    found: list[Packet] = []
    shown = 0
    for packet in packets:
        found.append(packet)
        shown += not packet.is_discard
        if shown > REORDERED or len(found) == LOOKED_AT:
            break
    return found


def timed_frames(
    container: InputContainer, stream: VideoStream, lost: Lost, seek: float | None = None, bound: float = inf
) -> TimedFrames:
    """Frames in presentation order, without those that refer to something missing.

    `seek` starts at a key frame before that time; nothing comes where the format cannot seek. Damage before the first
    frame after a seek is not reported. At most `bound` packets are looked at.
    """
    packets = container.demux(stream)
    first = first_packets(packets)
    clock = clock_of(container, stream, first)
    if seek is not None:
        if not _sought(container, stream, clock, seek):
            return
        packets, first = container.demux(stream), []
    seconds = -clock.interval
    running = reporting = seek is None
    origin = -inf  # time of the key frame that the decoder was started with
    damaged = False
    stamp = None  # of the last frame
    pending: list[float] = []  # times of the packets that have no frame yet
    for number, packet in enumerate(chain(first, packets)):
        if number >= bound:
            return
        if packet.size:  # the last packet is empty and drains the decoder
            time = _time_of(packet, clock, seconds)
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
            last = seconds
            if clock.decoding:
                seconds = min((t for t in pending if t >= max(origin, last)), default=last + clock.interval)
            else:
                seconds = _placed(frame.pts, stamp, last, clock)
            stamp = frame.pts
            # an error can be lost on the way; but one packet without a frame may be half of an interlaced picture
            missing = sorted(t for t in pending if last < t < seconds)
            if reporting and (damaged or len(missing) > 1):
                lost(missing or [last + clock.interval])
            damaged, reporting = False, True
            pending = [t for t in pending if t > seconds]
            yield seconds, frame
    missing = sorted(t for t in pending if t > seconds)
    cut_off = _missing_end(container, stream, clock, max([seconds, *missing]) + clock.interval)
    if reporting and (damaged or len(missing) > 1 or cut_off):
        lost(missing + cut_off or [seconds + clock.interval])


def _sought(container: InputContainer, stream: VideoStream, clock: Clock, seconds: float) -> bool:
    """Whether the file now stands before that time. Times of decoding do not say what is shown after a key frame."""
    if clock.decoding:
        return False
    try:
        container.seek(round(seconds / clock.tick) + clock.origin, stream=stream)
    except av.FFmpegError:
        return False
    return True


def _time_of(packet: Packet, clock: Clock, last: float) -> float:
    stamp = clock.stamp(packet)
    return last + clock.interval if stamp is None else clock.seconds(stamp)


def _placed(stamp: int | None, before: int | None, last: float, clock: Clock) -> float:
    """The time of a frame after one of the stamp `before` at the time `last`; it always increases."""
    if stamp is None or clock.seconds(stamp) > last:
        return last + clock.interval if stamp is None else clock.seconds(stamp)
    if before is None or clock.seconds(stamp) < last - clock.interval:  # a clock that starts again
        return last + clock.interval
    tick = float(clock.tick)
    rest = max(clock.seconds(before), clock.seconds(stamp)) + tick - last  # until the next stamp that there can be
    return last + (rest if 0 < rest <= tick else tick) / 2


def _missing_end(container: InputContainer, stream: VideoStream, clock: Clock, end: float) -> list[float]:
    """Times of the frames between `end` and the end that the header announces: FFmpeg itself ends without an error."""
    announced = announced_length(container, stream, clock)
    if announced is None or end > announced - END_TOLERANCE:
        return []
    count = min(MOST_LOST, (announced - end) / clock.interval)
    return [float(t) for t in np.arange(end, min(announced, end + count * clock.interval), clock.interval)]


def announced_length(container: InputContainer, stream: VideoStream, clock: Clock) -> float | None:
    """Length of the video by the header; that of the whole file stands for it only where nothing else is in it."""
    if stream.duration is not None:
        announced = float(stream.duration * clock.tick)
    elif container.duration is not None and len(container.streams) == 1:
        announced = container.duration / av.time_base
    else:
        return None
    if container.format.name in LENGTHS:
        return announced
    start = float(clock.origin * clock.tick)
    return announced - (start if 0 < start < announced else float(clock.delay * clock.tick))


def _time_base(stream: VideoStream) -> Fraction:
    assert stream.time_base is not None  # only before a demuxer has opened the stream
    return stream.time_base


def rate_of(stream: VideoStream) -> float:
    """Average frames per second; 25, FFmpeg's own default, where neither the header nor the first packets tell."""
    rates = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    return next((float(rate) for rate in rates if rate and rate <= FASTEST), 25.0)


def refusal(path: Path) -> Lost:
    def lost(times: Iterable[float]) -> None:
        for seconds in times:
            raise VideoError(
                f"{path}: cannot decode the frame at about {seconds:.2f} s; download or copy the file again, "
                "or skip_corrupt=true skips and counts such frames"
            )

    return lost
