"""The mini world as VOC and DAVIS have it: exact truth, other scenes than the pictures, the same bytes again."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from longtake.datasets.mini import formats as mini_formats
from longtake.datasets.mini.formats import davis_sequences, prepare_davis, prepare_voc, voc_pictures
from longtake.datasets.mini.worlds import World
from longtake.datasets.voc import VOC

TINY = World("tiny", seconds=2, texels_per_metre=8)


def test_boxes_are_those_of_the_masks() -> None:
    for picture in islice(voc_pictures(TINY), 0, 60, 7):
        assert picture.image.shape == (*mini_formats.VOC_SIZE, 3)
        assert len(picture.boxes) >= 1
        main = picture.classes[np.argmax([(b[2] - b[0]) * (b[3] - b[1]) for b in picture.boxes])]
        assert picture.name.split("_")[1] in (main, *picture.classes)
        shown = picture.mask[(picture.mask > 0) & (picture.mask < 255)]
        assert len(shown) > 100
        covered = np.zeros(picture.mask.shape, bool)
        for x0, y0, x1, y1 in picture.boxes:
            assert 0 <= x0 < x1 <= picture.mask.shape[1]
            assert 0 <= y0 < y1 <= picture.mask.shape[0]
            covered[y0:y1, x0:x1] = True
        objects = (picture.mask > 0) & (picture.mask < 255)
        assert (objects & ~covered).sum() <= 0.1 * objects.sum()  # things of which next to nothing shows have no box


def test_sequences_follow_their_objects() -> None:
    for name, frames, masks in islice(davis_sequences(TINY), 3):
        assert name.startswith("walk")
        assert frames.shape == (*masks.shape, 3)
        numbers = set(np.unique(masks).tolist())
        assert numbers == set(np.unique(masks[0]).tolist()) == set(range(len(numbers)))  # all are in the first frame
        for number in numbers - {0}:
            assert 0.008 <= (masks[0] == number).mean() <= 0.4
        centres = [np.argwhere(mask == 1).mean(0) for mask in masks if (mask == 1).any()]
        assert max(np.abs(np.diff(centres, axis=0)).max(1)) < 40  # pixels between frames: it does not jump


def test_folders_are_rendered_once_and_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini_formats, "VOC_PER_CLASS", dict.fromkeys(mini_formats.VOC_PER_CLASS, 1))
    monkeypatch.setattr(mini_formats, "NUM_SEQUENCES", 1)
    folders = [[prepare(TINY, tmp_path / n, progress=False) for prepare in (prepare_voc, prepare_davis)] for n in "ab"]
    for first, second in zip(*folders, strict=True):
        files = [{p.relative_to(f): p.read_bytes() for p in f.rglob("*.*")} for f in (first, second)]
        assert files[0] == files[1]
        assert len(files[0]) > 16
    stamp = folders[0][0].stat().st_mtime_ns
    assert prepare_voc(TINY, tmp_path / "a", progress=False).stat().st_mtime_ns == stamp
    voc = VOC(folders[0][0])
    assert (
        voc.check(["Main/trainval", "Segmentation/val", "Segmentation/train"]) == voc.validate(["Main/trainval"]) == []
    )
    assert [len(voc.names(n)) for n in ("Main/trainval", "Segmentation/val", "Segmentation/train")] == [16, 16, 16]
