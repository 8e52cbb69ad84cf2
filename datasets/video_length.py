"""How long a video is, and how many frames it has: by its packets, of which a bounded part is read and none decoded.

What a header says is believed where the packets do not speak against it: a clock can begin at that of the day, a rate be that of a
clock, a bit be flipped.
"""

from collections.abc import Sequence
from itertools import chain
from math import inf
from pathlib import Path
from typing import NamedTuple

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from longtake.datasets.packets import (
    DECODING_TIMES,
    END_TOLERANCE,
    FASTEST,
    LENGTHS,
    LOOKED_AT,
    REORDERED,
    Clock,
    announced_length,
    clock_of,
    first_packets,
    opened,
    rate_of,
)

MOST_READ = 1 << 26  # bytes
AGREE = 0.01  # a rate in a header is that of the packets when it differs by no larger share
PLAUSIBLE = 4  # times longer or shorter than its bytes tell can a file be whose header says so: the bit rate varies


class Length(NamedTuple):
    seconds: float
    num_frames: int
    rate: float  # average, frames per second
    start: float | None = None  # of the clock, in seconds, where the packets were asked


class Seen(NamedTuple):
    """The packets of a stream, up to a bound."""

    clock: Clock
    times: list[float]  # sorted
    num_frames: int
    share: float  # of the file's bytes that were read; 1: all


def measured_length(path: Path, container: InputContainer, stream: VideoStream) -> Length:
    """The length of an open file's stream."""
    return _by_index(container, stream) or _by_packets(path)


def is_odd(container: InputContainer, stream: VideoStream, length: Length) -> bool:
    """Whether it was read otherwise while the first stream was taken, its clock by the header, and all times as of presentation."""
    start = float((stream.start_time or 0) * (stream.time_base or 0))
    first = min(s.index for s in container.streams.video if not s.disposition & Disposition.attached_pic)
    by_header = stream.average_rate or stream.guessed_rate or 25
    other_clock = length.start is not None and abs(length.start - start) > 1e-6
    return container.format.name in DECODING_TIMES or stream.index != first or other_clock or by_header > FASTEST


def total_seconds(container: InputContainer, length: Length) -> float:
    """Length of the longest stream, by the header; that of the video where it does not tell."""
    if container.duration is None:
        return length.seconds
    total = container.duration / av.time_base
    start = (length.start or 0) if container.start_time is None else container.start_time / av.time_base
    return total - start if 0 < start < total and container.format.name not in LENGTHS else total


def _by_index(container: InputContainer, stream: VideoStream) -> Length | None:
    """By the list of all frames that MP4 and its relatives keep; None where there is none."""
    entries = stream.index_entries
    if container.format.name not in LENGTHS or not 1 < len(entries) <= stream.frames:
        return None
    assert stream.time_base is not None
    shown = [entry.timestamp for entry in entries if not entry.is_discard]
    if len(shown) < 2:
        return None
    span = float((max(shown) - min(shown)) * stream.time_base)
    stated = float((stream.duration or 0) * stream.time_base)
    interval = span / (len(shown) - 1)
    near = REORDERED * interval + END_TOLERANCE  # the index has times of decoding
    seconds = stated if abs(stated - span) <= near else span + interval
    return Length(seconds, len(shown), _rate(rate_of(stream), len(shown), seconds))


def _by_packets(path: Path) -> Length:
    with opened(path) as (container, stream):
        seen = _packets_seen(path, container, stream)
        announced, rate = announced_length(container, stream, seen.clock), rate_of(stream)
    num_frames = max(1, round(seen.num_frames / seen.share))
    if not _timed(seen):
        return Length(num_frames / rate, num_frames, rate)
    span = seen.times[-1] - seen.times[0]
    interval = span / (len(seen.times) - 1)
    seconds = (span + interval) / seen.share
    if seen.share < 1 and announced is not None and seconds / PLAUSIBLE <= announced <= seconds * PLAUSIBLE:
        num_frames, seconds = max(1, round(num_frames * announced / seconds)), announced
    start = float(seen.clock.origin * seen.clock.tick)
    return Length(seconds, num_frames, _rate(rate, num_frames, seconds), start)


def _timed(seen: Seen) -> bool:
    """Its packets have times, most of them."""
    return len(seen.times) > max(1, seen.num_frames // 2) and seen.times[-1] > seen.times[0]


def _packets_seen(path: Path, container: InputContainer, stream: VideoStream) -> Seen:
    """Read up to `LOOKED_AT` packets or `MOST_READ` bytes."""
    packets = container.demux(stream)
    first = first_packets(packets)
    clock = clock_of(container, stream, first)
    times: list[float] = []
    num_frames = read = 0
    for packet in chain(first, packets):
        if not packet.size or packet.is_discard:
            continue
        num_frames += 1
        read = max(read + packet.size, packet.pos or 0)
        stamp = clock.stamp(packet)
        if stamp is not None and stamp >= clock.origin:
            times.append(clock.seconds(stamp))
        if num_frames >= LOOKED_AT or read >= MOST_READ:
            return Seen(clock, run_on(times, clock.interval), num_frames, min(1.0, read / path.stat().st_size))
    return Seen(clock, run_on(times, clock.interval), num_frames, 1.0)


def run_on(times: Sequence[float], interval: float) -> list[float]:
    """Times of packets, sorted; where a clock starts again (recordings that were joined), they go on, as those of frames do."""
    found: list[float] = []
    last, shift = -inf, 0.0
    for time in times:
        if time + shift < last - REORDERED * interval - END_TOLERANCE:
            shift = last + interval - time
        last = max(last, time + shift)
        found.append(time + shift)
    return sorted(found)


def _rate(stated: float, num_frames: int, seconds: float) -> float:
    """The header's rate where the packets agree with it."""
    counted = num_frames / seconds
    return stated if abs(counted / stated - 1) <= AGREE else counted
