"""Images as clips of one frame."""

import pytest
import torch

from longtake.datasets.clips import Clips
from longtake.datasets.image_store import ImageStore
from longtake.datasets.packets import VideoError
from longtake.datasets.pictures import UnreadableImage
from longtake.datasets.sources.base import build_source


def test_every_image_is_a_clip(tiny_folder):
    store = ImageStore(tiny_folder / "train")
    clips = Clips(store, num_frames=1, stride_seconds=1.0, seed=1)
    assert len(store) == len(clips) == 36
    assert sorted(clips.epoch_starts(0)) == list(range(36))
    clip = clips[40]  # of the second epoch
    assert clip.frames.shape == (1, 3, 64, 64)
    assert clip.frames.dtype == torch.uint8
    start = clips.epoch_starts(1)[4]
    assert torch.equal(clip.frames, store.read([int(start)]))
    with pytest.raises(VideoError):
        Clips(store, num_frames=2, stride_seconds=1.0)


def test_a_source_of_images(tiny_folder, monkeypatch):
    monkeypatch.setenv("LONGTAKE_DATA", str(tiny_folder))
    source = build_source({"source": "images", "name": "pictures", "images": "$LONGTAKE_DATA/train"})
    assert source.label == "pictures"
    assert source.check(1).startswith("36 images")
    assert source.stored_frames() == 36
    with pytest.raises(ValueError, match="num_frames=4, expected 1"):
        source.check(4)


def test_a_broken_image_is_named(tiny_folder, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "broken.png").write_bytes(b"no picture")
    with pytest.raises(UnreadableImage, match=r"a/broken\.png"):
        ImageStore(tmp_path).read([0])
