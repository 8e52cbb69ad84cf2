"""Tiny H.264 files for tests."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

MARKED = np.zeros((64, 96, 3), np.uint8)
MARKED[:32, :48] = 255  # the upper left quarter is white


def grey(i: int) -> int:
    return 20 + i * 7 % 43 * 5  # neighbours differ by far more than the coding error; repeats after 43 frames


def flat(num_frames: int, height: int = 64, width: int = 96) -> list[np.ndarray]:
    return [np.full((height, width, 3), grey(i), np.uint8) for i in range(num_frames)]


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
