"""Folders of images as people have them, to learn from without labels: flat, of one class, nested, with what systems leave."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from spoilt import NOT_UTF8, any_name

from longtake.datasets.image_store import ImageStore, pictures_below
from longtake.datasets.images import images_in
from longtake.datasets.sources.base import build_source

pytestmark = pytest.mark.usefixtures("own_data_root")


def painted(path: Path, value: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(path)
    return path


LAYOUTS = {
    "flat": ["a.png", "b.png", "c.jpg"],
    "one class": ["birds/a.png", "birds/b.png"],
    "classes": ["birds/a.png", "birds/b.png", "cars/a.png"],
    "nested": ["animals/birds/a.png", "animals/cats/a.png", "cars/a.png"],
    "mixed": ["a.png", "birds/a.png", "birds/old/2019/b.png", "cars/a.png"],
    "one image each": ["birds/a.png", "cars/a.png"],
    "upper case": ["birds/a.JPG", "cars/a.PNG"],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_learnt_from(layout: str, tmp_path: Path) -> None:
    for number, name in enumerate(LAYOUTS[layout]):
        painted(tmp_path / "set" / name, number)
    source = build_source({"source": "images", "name": "images", "images": str(tmp_path / "set")})
    assert source.check(1) == f"{len(LAYOUTS[layout])} images of {tmp_path / 'set'}"
    assert source.label == "images:set"
    store = source.open()
    assert [os.path.relpath(path, tmp_path / "set") for path in store.paths] == LAYOUTS[layout]  # type: ignore[attr-defined]
    assert len(store.read([0])) == 1


def test_ordinary_class_folders_keep_their_numbers(tiny_folder: Path) -> None:
    assert pictures_below(tiny_folder / "train") == [path for path, _ in images_in(tiny_folder / "train")]


def test_what_systems_leave_is_no_image_and_no_class(tmp_path: Path) -> None:
    for name in ("birds/a.png", "birds/b.png", "cars/a.png"):
        painted(tmp_path / name)
    expected = pictures_below(tmp_path)
    for name in (
        "birds/._a.png",
        "__MACOSX/birds/._a.png",
        "__MACOSX/a.png",
        ".hidden/a.png",
        "@eaDir/a.png",
        "birds/@eaDir/a.png",
    ):
        painted(tmp_path / name)
    for name in (".DS_Store", "birds/Thumbs.db", "cars/desktop.ini", "cars/notes.txt"):
        (tmp_path / name).write_bytes(b"none of ours")
    assert pictures_below(tmp_path) == expected
    assert [path for path, _ in images_in(tmp_path)] == expected


def test_links_to_folders_are_followed_and_none_twice(tmp_path: Path) -> None:
    painted(tmp_path / "elsewhere" / "b" / "x.png")
    painted(tmp_path / "set" / "a" / "y.png")
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "round").symlink_to(tmp_path / "set")
    names = [os.path.relpath(path, tmp_path / "set") for path in pictures_below(tmp_path / "set")]
    assert names == ["a/y.png", "linked/b/x.png"]


def test_a_listing_is_kept_while_no_folder_changes(tmp_path: Path, own_data_root: Path, monkeypatch) -> None:
    monkeypatch.setattr("longtake.datasets.image_store.CACHE_FROM", 1)
    painted(tmp_path / "set" / "a" / "1" / "x.png")
    for place, _, _ in os.walk(tmp_path / "set"):
        os.utime(place, (1.6e9, 1.6e9))
    first = pictures_below(tmp_path / "set")
    (kept,) = (own_data_root / "listings").glob("below*.json")
    monkeypatch.setattr("longtake.datasets.image_store.walk", lambda folder: pytest.fail("listed again"))
    assert pictures_below(tmp_path / "set") == first
    monkeypatch.undo()
    monkeypatch.setenv("LONGTAKE_DATA", str(own_data_root))
    painted(tmp_path / "set" / "a" / "1" / "y.png")
    assert len(pictures_below(tmp_path / "set")) == 2
    kept.write_text('{"stamps": 3')
    assert len(pictures_below(tmp_path / "set")) == 2


def test_nothing_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no folder .*none: expected images"):
        ImageStore(tmp_path / "none")
    with pytest.raises(ValueError, match="no image in it or below"):
        ImageStore(tmp_path)


def test_a_name_that_is_not_utf8_is_read(tmp_path: Path) -> None:
    with any_name():
        painted(tmp_path / "a" / f"{NOT_UTF8}.png", 7)
    assert ImageStore(tmp_path).read([0])[0, 0, 0, 0] == 7


def test_a_folder_has_to_be_given() -> None:
    source = build_source({"source": "images", "name": "images", "images": None})
    with pytest.raises(ValueError, match=r"pretrain=images needs a folder of images: pretrain\.images=FOLDER"):
        source.check(1)
