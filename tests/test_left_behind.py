"""What systems and tools leave in folders, other spellings of extensions, links and names that are not UTF-8: in every format."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from readers import READERS
from spoilt import NOT_UTF8, any_name

from longtake.console import console
from longtake.datasets.pictures import read_levels
from longtake.downstream.gallery import masks_drawn, neighbours_drawn

FORMATS = [
    "voc", "davis", "coco", "ade20k", "got10k", "cifar10", "cifar100", "inat18", "flowers", "cars", "image folders", "frames",
]  # fmt: skip
LISTED = ["voc", "davis", "ade20k", "got10k"]  # whose pictures are found by names without an extension
pytestmark = pytest.mark.usefixtures("own_data_root")


@pytest.fixture
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    root, name = tmp_path / "set", request.param
    READERS[name].make(root)
    return root, name


@pytest.mark.parametrize("made", FORMATS, indirect=True)
def test_what_is_left_behind_is_not_read(made: tuple[Path, str]) -> None:
    root, name = made
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    for folder in folders:
        for file in [path.name for path in folder.iterdir() if path.is_file()]:
            (folder / f"._{file}").write_bytes(b"\0\5\x16\7" + bytes(60))  # AppleDouble's first bytes
        for file in (".DS_Store", "Thumbs.db", "desktop.ini"):
            (folder / file).write_bytes(b"none of ours")
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "._x.jpg").write_bytes(b"\0\5\x16\7")
    READERS[name].look(root)


@pytest.mark.parametrize("made", [*LISTED, "image folders", "frames"], indirect=True)
def test_extensions_may_be_upper_case(made: tuple[Path, str]) -> None:
    root, name = made
    for path in [*root.rglob("*.jpg"), *(root.rglob("*.png") if name in ("image folders", "frames") else [])]:
        path.rename(path.with_suffix(path.suffix.upper()))
    READERS[name].look(root)


@pytest.mark.parametrize("made", FORMATS, indirect=True)
def test_links_are_as_good_as_files_and_folders(made: tuple[Path, str], tmp_path: Path) -> None:
    root, name = made
    shutil.move(root, tmp_path / "elsewhere")
    root.mkdir()
    for path in (tmp_path / "elsewhere").iterdir():
        (root / path.name).symlink_to(path)
    READERS[name].look(root)


@pytest.mark.parametrize("made", FORMATS, indirect=True)
def test_a_folder_may_have_any_name(made: tuple[Path, str], tmp_path: Path) -> None:
    root, name = made
    with any_name():
        root.rename(tmp_path / NOT_UTF8)
    READERS[name].look(tmp_path / NOT_UTF8)


def test_galleries_draw_pictures_of_any_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """OpenCV ends the process at such a name, so it is given the pixels."""
    path = tmp_path / f"{NOT_UTF8}.png"
    with any_name():
        Image.fromarray(np.full((30, 40, 3), 7, np.uint8)).save(path)
    assert (read_levels(path) == 7).all()
    neighbours_drawn((str(path), 0), [(str(path), 0)])
    masks_drawn([path] * 3, [np.zeros((30, 40), np.uint8)] * 3)
    console.print(f"{path}: said")
    assert ": said" in capsys.readouterr().out


WITHIN = {  # of each format, a folder of its own that people give in its place
    "voc": "JPEGImages", "davis": "JPEGImages/480p", "coco": "annotations", "ade20k": "images", "got10k": "val",
    "cifar10": None, "inat18": "train_val2018", "flowers": "jpg",
}  # fmt: skip


@pytest.mark.parametrize("made", WITHIN, indirect=True)
def test_a_folder_too_high_or_too_deep_has_a_hint(made: tuple[Path, str]) -> None:
    root, name = made
    for given in (root.parent, *([root / within] if (within := WITHIN[name]) else [])):
        with pytest.raises(ValueError, match=re.escape(f"did you mean {root}?")):
            READERS[name].look(given)
