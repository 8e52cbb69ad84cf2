"""Length, count and times of a video are those of its packets, whatever container, codec, clock, rate and header it has."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from videos import encoded, flat, joined, numbers, packets, remuxed, write

from longtake.datasets import packets as reading
from longtake.datasets.packets import VideoError
from longtake.datasets.sources.video import Video
from longtake.datasets.video import decode, probe
from longtake.datasets.video_files import doubts

N = 26
REGULAR = [Fraction(i, 10) for i in range(N)]
IRREGULAR = [
    Fraction(int(t), 10) for t in np.concatenate([[0], np.random.default_rng(0).choice([1, 2, 3, 12], N - 1).cumsum()])
]
PRESENTATION = ("mp4", "mov", "mkv", "ts", "flv", "nut")  # they keep times of presentation
CODECS = {
    "libx264": (*PRESENTATION, "avi", "wmv"),
    "libx265": ("mp4", "mov", "mkv", "ts", "flv", "nut"),
    "mpeg4": ("mp4", "mkv", "ts", "avi", "wmv", "nut", "m4v"),
    "mpeg2video": ("mpg", "mkv", "ts", "avi", "wmv"),
    "libvpx-vp9": ("webm", "mkv", "mp4"),
    "mjpeg": ("mov", "mkv", "avi"),
    "ffv1": ("mkv", "avi"),
}
CLOCKS = {"zero": 0, "segment": 600, "two hours": 7200, "clock of the day": 1_700_000_000}
NO_OFFSET = ("avi", "wmv")  # their writer begins anew, or fills the gap with frames


def cases() -> list:
    found = []
    for codec, containers in CODECS.items():
        for container in containers:
            for b_frames in (0, 2) if codec in ("libx264", "libx265", "mpeg4", "mpeg2video") else (0,):
                for clock in CLOCKS if container not in NO_OFFSET else ("zero",):
                    for times in ("regular", "irregular"):
                        reordered = b_frames or codec == "mpeg2video"
                        # what has no times of presentation cannot tell those of reordered frames, nor MPEG-PS irregular ones
                        lossy = container in (*NO_OFFSET, "mpg") or codec in ("mpeg4", "mpeg2video")
                        if times == "irregular" and lossy and (reordered or container == "mpg"):
                            continue
                        found.append(
                            pytest.param(
                                codec,
                                container,
                                b_frames,
                                clock,
                                times,
                                id=f"{codec}-{container}-b{b_frames}-{clock}-{times}",
                            )
                        )
    return found


@pytest.mark.parametrize(("codec", "container", "b_frames", "clock", "times"), cases())
def test_frames_and_times_are_those_that_were_written(
    tmp_path: Path, codec: str, container: str, b_frames: int, clock: str, times: str
) -> None:
    truth = REGULAR if times == "regular" else IRREGULAR
    fast = codec.startswith("libx") and container not in NO_OFFSET
    path = encoded(tmp_path / f"a.{container}", codec, [t + CLOCKS[clock] for t in truth], b_frames, fast=fast)
    info, frames, lost = probe(path), list(decode(path)), []
    assert numbers(frames) == list(range(N))
    np.testing.assert_allclose([f.seconds for f in frames], [float(t) for t in truth], atol=2e-3)
    assert info.num_frames == N
    assert info.seconds - 1 / info.fps == pytest.approx(float(truth[-1]), abs=1.3)  # what a clip has room in
    assert not doubts(info)
    assert [f.seconds for f in decode(path, corrupt=lost)] == [f.seconds for f in frames]
    assert not lost
    rest = list(decode(path, start=1.5))
    assert [(f.seconds, f.image.mean()) for f in rest] == [
        (f.seconds, f.image.mean()) for f in frames if f.seconds >= 1.5
    ]


@pytest.mark.parametrize("repeats", [1, 2, 5])
def test_a_repeated_time_stamp_shifts_nothing(tmp_path: Path, repeats: int) -> None:
    """A recorder of screens: long pauses, then a burst in which frames share a millisecond."""
    burst = [20_000 + 17 * i for i in range(N - 8 - repeats)]
    stamps = sorted([*(3000 * i for i in range(8)), *burst, *[burst[3]] * repeats])
    path = remuxed(encoded(tmp_path / "a.mkv", "libx264", REGULAR), tmp_path / "b.mkv", stamps)
    frames, lost = list(decode(path)), []
    assert numbers(frames) == list(range(N))
    seconds = np.array([frame.seconds for frame in frames])
    np.testing.assert_allclose(seconds, np.array(stamps) / 1000, atol=1.1e-3)
    assert (np.diff(seconds) > 0).all()
    assert len(list(decode(path, corrupt=lost))) == N
    assert not lost


@pytest.mark.parametrize("heights", [(32, 64), (64, 32), (32, 96, 64), (64, 64)])
def test_the_largest_stream_is_taken(tmp_path: Path, heights: tuple[int, ...]) -> None:
    path = joined(tmp_path / "a.mp4", *heights)
    number = heights.index(max(heights))
    assert probe(path).height == max(heights)
    frames = list(decode(path))
    assert len(frames) == 3
    np.testing.assert_allclose(frames[0].image.mean(), 50 * number + 30, atol=3)


def matroska_that_says(path: Path, seconds: float) -> Path:
    """A sound file of 2.6 s whose header announces another length."""
    encoded(path, "libx264", REGULAR)
    content = bytearray(path.read_bytes())
    place = content.index(b"\x44\x89\x88") + 3  # Duration, a float of 8 bytes, in milliseconds
    content[place : place + 8] = np.array(seconds * 1000, ">f8").tobytes()
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("seconds", [1e4, 1e9, 1e12])
def test_nothing_is_allocated_or_announced_by_the_word_of_a_header(tmp_path: Path, seconds: float) -> None:
    path = matroska_that_says(tmp_path / "a.mkv", seconds)
    info = probe(path)
    assert (info.num_frames, info.seconds) == (N, pytest.approx(2.6))
    assert Video(name="video", path=str(path)).stored_frames() == N
    lost: list[float] = []
    assert numbers(list(decode(path, corrupt=lost))) == list(range(N))
    assert len(lost) <= reading.MOST_LOST
    with pytest.raises(VideoError, match=r"a\.mkv: cannot decode the frame at about 2\.60 s"):
        list(decode(path))


def test_a_long_file_is_measured_by_its_first_packets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for clock in CLOCKS.values():
        path = write(tmp_path / "a.mkv", flat(400), 10, [Fraction(i, 10) + clock for i in range(400)], g="10")
        monkeypatch.setattr("longtake.datasets.video_length.LOOKED_AT", 100)
        info = probe(path)
        assert info.seconds == pytest.approx(40, abs=0.2)
        assert info.num_frames == pytest.approx(400, abs=2)
    path = matroska_that_says(path, 1e9)
    monkeypatch.setattr("longtake.datasets.video_length.LOOKED_AT", 10)
    assert probe(path).seconds == pytest.approx(2.6, rel=1)  # by bytes


def test_a_dry_run_decodes_no_more_than_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.mp4", flat(100), g="10")
    content = bytearray(path.read_bytes())
    for packet in packets(path):
        content[packet.pos + 5 : packet.pos + packet.size] = bytes(packet.size - 5)
    path.write_bytes(content)
    monkeypatch.setattr("longtake.datasets.video.LOOKED_AT", 20)
    with pytest.raises(VideoError, match="holds no frame"):
        probe(path, skip_corrupt=True)
