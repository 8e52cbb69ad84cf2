"""A run ends with a picture of what attention found; where that fails, it is said, and the run has ended well."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from longtake.backbones.vit import ViT
from longtake.datasets.sources.video import Video
from longtake.engine.config import plainly
from longtake.engine.plan import Plan
from longtake.tasks import run
from longtake.tasks.visualize.found import draw_found


@pytest.fixture
def source(tiny_video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Video:
    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path / "data"))
    return Video(name="video", path=str(tiny_video))


def height_of(method: str, source: Video, folder: Path) -> int:
    folder.mkdir()
    drawn = draw_found(ViT("mini", 8, 64).eval(), plainly([f"method={method}", "pretrain=mini"]), source, folder)
    with Image.open(drawn) as picture:
        assert np.asarray(picture.convert("L")).std() > 10
        return picture.height


def test_methods_that_track_have_tracks_too(source: Video, tmp_path: Path):
    """Four seconds have room for clips of four frames, not of six."""
    heights = [height_of(method, source, tmp_path / method) for method in ("dino", "dora")]
    assert heights[1] > 1.3 * heights[0]  # nine lines of pictures instead of six


def test_a_picture_that_fails_is_said(source: Video, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    plan = Plan(plainly(["pretrain=mini"]), source, "", None, {}, {}, None)
    run.show_attention(plan, tmp_path)  # there is no encoder
    assert "no picture of attention: " in capsys.readouterr().out
