"""The second decoder gives what the first gives: torchcodec itself where it is installed, and a stand-in everywhere."""

import sys
from fractions import Fraction
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from videos import damage, flat, textured, write

from longtake.datasets.frames import StoreSpec, build
from longtake.datasets.packets import VideoError
from longtake.datasets.video import decode, probe, raw_frames

STRIDES = [Fraction(n * n, 100) for n in range(20)]  # seconds, an uneven frame rate


class StandIn:
    """What `torchcodec_frames` uses of a `VideoDecoder`, made with PyAV."""

    def __init__(self, source: str, dimension_order: str, num_ffmpeg_threads: int, device: str) -> None:
        assert dimension_order == "NHWC"
        self.frames = list(decode(Path(source)))
        info = probe(Path(source))
        self.metadata = SimpleNamespace(begin_stream_seconds=1.5, average_fps=info.fps)

    def __len__(self) -> int:
        return len(self.frames)

    def get_frame_at(self, index: int) -> SimpleNamespace:
        frame = self.frames[index]
        return SimpleNamespace(pts_seconds=frame.seconds + 1.5, data=torch.from_numpy(frame.image))


def loads() -> bool:
    """torchcodec is no dependency, and a wheel for another torch or FFmpeg fails while it loads."""
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, OSError, RuntimeError):
        return False
    return True


installed = pytest.mark.skipif(not loads(), reason="needs torchcodec")


@pytest.fixture(params=["stand-in", pytest.param("torchcodec", marks=installed)])
def torchcodec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "stand-in":
        module = ModuleType("torchcodec.decoders")
        module.VideoDecoder = StandIn  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "torchcodec", ModuleType("torchcodec"))
        monkeypatch.setitem(sys.modules, "torchcodec.decoders", module)
    return request.param


@pytest.mark.parametrize("start", [0.0, 0.45, 1.25])
@pytest.mark.parametrize("options", [{}, {"times": STRIDES}, {"rotation": 90}], ids=["even", "uneven", "rotated"])
def test_frames_and_times_are_those_of_pyav(torchcodec: str, tmp_path: Path, options: dict, start: float) -> None:
    path = write(tmp_path / "a.mp4", textured(20), rate=10, **options)
    expected = [f for f in decode(path) if f.seconds >= start]
    got = list(raw_frames(path, start=start, decoder="torchcodec"))
    np.testing.assert_allclose([f.seconds for f in got], [f.seconds for f in expected], atol=1e-4)
    for a, b in zip(got, expected, strict=True):
        assert np.abs(a.frame.to_ndarray(format="rgb24").astype(int) - b.image).max() <= 2


def test_a_store_is_built_with_it_and_is_another_one(torchcodec: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", flat(30), rotation=90)
    first, second = (
        build([path], StoreSpec(32, decoder=name), tmp_path, progress=False) for name in ("pyav", "torchcodec")
    )
    assert first.path != second.path
    assert len(first) == len(second) == 30
    assert first.read([3]).shape == second.read([3]).shape
    assert (first.read(range(30)).int() - second.read(range(30)).int()).abs().max() <= 4


@installed
def test_damage_is_named_with_what_can_be_done(tmp_path: Path) -> None:
    path = damage(write(tmp_path / "a.mp4", textured(40)), 20)
    with pytest.raises(
        VideoError, match=r"a\.mp4: torchcodec cannot decode the frame after 0\.\d\d s; try .*decoder=pyav"
    ):
        list(raw_frames(path, decoder="torchcodec"))


def test_without_torchcodec_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    path = write(tmp_path / "a.mp4", flat(3))
    with pytest.raises(VideoError, match=r"decoder=torchcodec: torchcodec does not import .*decoder=pyav"):
        list(raw_frames(path, decoder="torchcodec"))
    with pytest.raises(ValueError, match=r"pretrain.decoder: got 'ffmpeg', expected pyav or torchcodec"):
        StoreSpec(decoder="ffmpeg")
