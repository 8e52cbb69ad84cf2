"""A picture that is cut, or whose end is zeros, is refused by name in every evaluation, before there are outcomes, and found by
`task=check_data`."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from eval_cases import CASES, maker, pictures, vit
from PIL import Image
from spoilt import halved, zeroed

from longtake.datasets.findings import Wrong
from longtake.datasets.image_store import ImageStore
from longtake.datasets.pictures import UnreadableImage, read_levels, read_picture
from longtake.datasets.sources.frames import Frames
from longtake.downstream.base import Downstream

# A picture that is read whichever images are drawn for training, of each evaluation's data.
CUT = {
    "knn": "val/class3/4.png", "knn_fewshot": "val/class3/4.png", "linear": "val/class3/4.png", "logreg": "val/class3/4.png",
    "finetune": "val/class3/4.png", "lost": "JPEGImages/000005.jpg", "dense_knn": "JPEGImages/000005.jpg",
    "davis": "JPEGImages/480p/walk/00002.jpg", "video_kmeans": "JPEGImages/480p/walk/00002.jpg",
    "upernet": "images/validation/validation2.jpg", "cascade_mask_rcnn": "val2017/000000000003.jpg",
    "seqtrack": "val/*/00000004.jpg", "own_video": "walk.mp4",
}  # fmt: skip


@pytest.mark.parametrize("spoil", [halved, zeroed])
@pytest.mark.parametrize("name", sorted(CASES))
def test_every_evaluation_refuses_a_cut_picture_by_name(name, spoil, data, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path / "stores"))
    root = shutil.copytree(data(name), tmp_path / "copy")
    path = next(root.glob(CUT[name]))
    spoil(path)
    task = maker(CASES[name], root)()
    with pytest.raises(ValueError, match=path.name):  # noqa: PT012 - some look at every file in `check`
        raise_if(task.check())
        task.evaluate(vit(), tmp_path / "out")
    assert not (tmp_path / "out" / "outcomes.npz").exists()


@pytest.mark.parametrize("spoil", [halved, zeroed])
@pytest.mark.parametrize("name", sorted(CASES))
def test_a_look_at_every_file_finds_it(name, spoil, data, tmp_path) -> None:
    """A file of video by its index, which is at its end; its frames are looked at when its store is built."""
    root = shutil.copytree(data(name), tmp_path / "copy")
    task = maker(CASES[name], root)()
    assert not refused(task)
    path = next(root.glob(CUT[name]))
    spoil(path)
    (line,) = refused(task)
    assert path.name in line


def refused(task: Downstream) -> list[str]:
    """As `task=check_data` finds it."""
    return task.check() or [line for line in task.validate() if isinstance(line, Wrong)]


def raise_if(missing: list[str]) -> None:
    if missing:
        raise ValueError(missing[0])


@pytest.mark.parametrize("spoil", [halved, zeroed])
def test_sources_refuse_it_by_name(spoil, tmp_path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    for n in range(3):
        Image.fromarray(noise).save(tmp_path / f"{n}.jpg", quality=95)
    spoil(tmp_path / "1.jpg")
    with pytest.raises(UnreadableImage, match=r"1\.jpg"):
        Frames(name="frames", path=str(tmp_path), frames_per_second=1.0).open().read([0, 1])
    root = pictures(tmp_path / "classes") / "train"
    spoil(root / "class1" / "0.png")
    store = ImageStore(root)
    number = [Path(path).parts[-2:] for path in store.paths].index(("class1", "0.png"))
    with pytest.raises(UnreadableImage, match=r"class1/0\.png"):
        store.read([number])


@pytest.mark.parametrize("read", [read_picture, read_levels])
def test_bytes_behind_the_end_are_sound(read, tmp_path) -> None:
    noise, path = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8), tmp_path / "a.jpg"
    Image.fromarray(noise).save(path, quality=95)
    content, expected = path.read_bytes(), np.asarray(read(path))
    for more in (bytes(7), b"SEFT", content[: len(content) // 2]):
        path.write_bytes(content + more)
        assert np.array_equal(np.asarray(read(path)), expected)
    exif = (
        b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content
    )  # a small picture in the headers has an end, too
    path.write_bytes(content[:2] + exif + content[2:])
    assert np.array_equal(np.asarray(read(path)), expected)
    zeroed_tail = content[:2] + exif + content[2 : len(content) // 2] + bytes(len(content) // 2)
    path.write_bytes(zeroed_tail)
    with pytest.raises(UnreadableImage, match="the file is cut"):
        read(path)


def test_a_picture_above_pillows_own_limit_is_read_and_one_above_ours_named(tmp_path) -> None:
    path = tmp_path / "huge.png"
    Image.new("1", (20_000, 10_000)).save(path)
    with Image.open(path) as image:
        assert image.size == (20_000, 10_000)
    Image.new("1", (40_000, 30_000)).save(path)
    for read in (read_picture, read_levels):
        with pytest.raises(UnreadableImage, match=r"huge\.png"):
            read(path)
