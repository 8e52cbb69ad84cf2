"""Tiny H.264 files for tests."""

import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from longtake.datasets.video import DecodedFrame

MARKED = np.zeros((64, 96, 3), np.uint8)
MARKED[:32, :48] = 255  # the upper left quarter is white


def grey(i: int) -> int:
    return 20 + i * 7 % 43 * 5  # neighbours differ by far more than the coding error; repeats after 43 frames


def flat(num_frames: int, height: int = 64, width: int = 96) -> list[np.ndarray]:
    return [np.full((height, width, 3), grey(i), np.uint8) for i in range(num_frames)]


def numbers(frames: Iterable[DecodedFrame]) -> list[int]:
    """Which frames of `flat` these are, modulo 43, from their grey levels."""
    levels = np.array([grey(i) for i in range(43)])
    return [int(np.abs(levels - frame.image.mean()).argmin()) for frame in frames]


def textured(num_frames: int) -> list[np.ndarray]:
    """A texture that moves, so that frames refer to one another and fill some bytes."""
    texture = np.random.default_rng(0).integers(0, 256, (8, 64, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    return [np.ascontiguousarray(np.roll(texture, -3 * i, 1)[:, :96]) for i in range(num_frames)]


def write(
    path: Path,
    images: Sequence[np.ndarray],
    rate: Fraction | int = 25,
    times: Sequence[Fraction] | None = None,
    rotation: int = 0,
    pix_fmt: str = "yuv420p",
    flags: str = "",
    **options: str,
) -> Path:
    with av.open(str(path), "w", options={"movflags": flags} if flags else {}) as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.options = {
            "g": "250",
            "bf": "3",
            "crf": "12",
            "preset": "ultrafast",
            "x264-params": "b-adapt=0",
        } | options
        if rotation:
            stream.set_display_rotation(rotation)
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 90000)
        for i, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = int(times[i] * 90000), Fraction(1, 90000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def packets(path: Path) -> list[av.Packet]:
    with av.open(str(path)) as container:
        return [packet for packet in container.demux(video=0) if packet.size]


def damage(path: Path, packet: int) -> Path:
    """Random bytes in place of one packet's, in decoding order; its length and first bytes stay."""
    position, size = packets(path)[packet].pos, packets(path)[packet].size
    content = bytearray(path.read_bytes())
    content[position + 6 : position + size] = np.random.default_rng(1).bytes(size - 6)
    path.write_bytes(content)
    return path


def encoded(
    path: Path,
    codec: str,
    times: Sequence[Fraction],
    b_frames: int = 0,
    images: Sequence[np.ndarray] = (),
    fast: bool = False,
) -> Path:
    """Flat frames at these times by any codec, in the container that the suffix stands for; `fast`: with a clock of 90,000 Hz."""
    options = {
        "bf": str(b_frames),
        "g": "12",
        "qscale": "2",
        "crf": "12",
        "preset": "ultrafast",
        "deadline": "realtime",
    }
    # Without a pool of threads: an encoding by x265 has hung for ever in one run of the tests, in code that no signal ends.
    x265 = f"bframes={b_frames}:b-adapt=0:log-level=none:keyint=12:pools=none:frame-threads=1"
    options |= {"x264-params": "b-adapt=0", "x265-params": x265}
    with av.open(str(path), "w", format="asf" if path.suffix == ".wmv" else None) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height = 96, 64
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.options = {
            key: value for key, value in options.items() if key not in ("crf", "preset") or "lib" in codec
        }
        stream.codec_context.bit_rate = 4_000_000
        if fast:
            stream.codec_context.time_base = Fraction(1, 90000)
        base = stream.codec_context.time_base or Fraction(1, 10)
        for time, image in zip(times, images or flat(len(times)), strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(time / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def remuxed(source: Path, path: Path, stamps: Sequence[int]) -> Path:
    """The packets of a video without B-frames at other times, in milliseconds."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet, stamp in zip((p for p in old.demux(video=0) if p.size), stamps, strict=True):
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            packet.pts = packet.dts = stamp
            new.mux(packet)
    return path


def joined(path: Path, *sizes: int) -> Path:
    """A file with a stream of each of these heights; in the first frame of each the grey level is its number."""
    with av.open(str(path), "w") as container:
        streams = []
        for size in sizes:
            stream = container.add_stream("libx264", rate=10, options={"crf": "4"})
            stream.height, stream.width, stream.pix_fmt = size, 2 * size, "yuv420p"
            streams.append(stream)
        for number, stream in enumerate(streams):
            for _ in range(3):
                image = np.full((stream.height, stream.width, 3), 50 * number + 30, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
    return path


def interlaced(path: Path, num_frames: int, top_first: bool = True) -> Path:
    """A white bar that moves by 4 pixels from field to field."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.options = {"crf": "4", "preset": "ultrafast", "x264-params": f"{'tff' if top_first else 'bff'}=1"}
        for i in range(num_frames):
            image = bar(2 * i)
            image[(1 if top_first else 0) :: 2] = bar(2 * i + 1)[::2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def bar(moment: int) -> np.ndarray:
    image = np.full((64, 96, 3), 20, np.uint8)
    image[:, 4 * moment % 80 : 4 * moment % 80 + 12] = 230
    return image


def shown_by(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """An MP4 whose header asks for this display matrix: the stored x axis is shown as (a, b), y as (c, d)."""
    content = bytearray(path.read_bytes())
    header = content.find(b"tkhd")
    place = header + 8 + (20 if content[header + 4] == 0 else 32) + 16
    one = 1 << 16
    content[place : place + 36] = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path
