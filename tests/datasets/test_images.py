"""Image folders: what is read, in which order, and what is said of a folder that is wrong."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from longtake.datasets import image_listing, images
from longtake.datasets.image_listing import files_of_classes
from longtake.datasets.images import ImageFolder, eval_transform, missing_splits, open_splits, train_transform
from longtake.datasets.mini.worlds import WORLDS, World
from longtake.datasets.pictures import UnreadableImage


def write_image(path: Path, size: tuple[int, int] = (40, 30), seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two splits of two classes, three and two images per class."""
    for split, count in (("train", 3), ("val", 2)):
        for label, name in enumerate(("n02", "n01")):
            for i in range(count):
                write_image(tmp_path / split / name / f"{i}.png", seed=10 * label + i)
    return tmp_path


# --- transforms


def test_eval_transform_is_pillows_resize_centre_crop_and_imagenet_norm(tmp_path):
    write_image(tmp_path / "a.png", size=(301, 199))
    image = Image.open(tmp_path / "a.png")
    resized = image.resize((int(32 * 301 / 199), 32), Image.Resampling.BICUBIC)  # torchvision truncates the long side
    left = round((resized.width - 28) / 2)
    pixels = np.asarray(resized.crop((left, 2, left + 28, 30)), dtype=np.float64) / 255
    expected = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    got = eval_transform(28)(image)  # 28 * 256 / 224 = 32
    np.testing.assert_allclose(got.permute(1, 2, 0).numpy(), expected, atol=1e-5)


def test_eval_transform_refuses_a_crop_larger_than_the_image():
    with pytest.raises(ValueError, match="resize=32 below size=64"):
        eval_transform(64, resize=32)


def test_train_transform_gives_a_normalised_crop_of_the_size(tmp_path):
    image = Image.new("RGB", (50, 70), (124, 116, 104))  # about ImageNet's mean colour
    crop = train_transform(24)(image)
    assert crop.shape == (3, 24, 24)
    assert crop.abs().max() < 0.02


# --- reading


def test_items_classes_and_labels_follow_sorted_names(root):
    (root / "train" / "n01" / "notes.txt").write_text("not an image")
    (root / "train" / "n01" / "._0.png").write_bytes(b"what macOS leaves on shared disks")
    (root / "train" / ".cache").mkdir()
    folder = ImageFolder(root / "train", eval_transform(16))
    assert folder.classes == ["n01", "n02"]
    assert folder.items == ["n01/0.png", "n01/1.png", "n01/2.png", "n02/0.png", "n02/1.png", "n02/2.png"]
    assert folder.targets == [0, 0, 0, 1, 1, 1]
    image, label, index = folder[4]
    assert (image.shape, label, index) == ((3, 16, 16), 1, 4)


def test_subset_numbers_anew_and_keeps_classes(root):
    folder = ImageFolder(root / "train", eval_transform(16))
    part = folder.subset([1, 4], eval_transform(8))
    assert (part.items, part.targets, part.classes) == (["n01/1.png", "n02/1.png"], [0, 1], folder.classes)
    assert (part[1][0].shape, part[1][2]) == ((3, 8, 8), 1)
    assert len(folder) == 6
    assert folder[1][0].shape == (3, 16, 16)


def test_draws_depend_on_seed_epoch_and_image_alone(root):
    folder = ImageFolder(root / "train", train_transform(16), seed=3)
    forwards = [folder[i][0] for i in range(6)]
    torch.manual_seed(1)
    before = torch.get_rng_state()
    backwards = [folder[i][0] for i in reversed(range(6))][::-1]
    assert torch.equal(torch.get_rng_state(), before), "the caller's generator is left alone"
    in_worker = torch.cat([x for x, _, _ in DataLoader(folder, 2, num_workers=1)])
    assert all(map(torch.equal, forwards, backwards))
    assert torch.equal(torch.stack(forwards), in_worker)
    folder.epoch = 1
    assert not torch.equal(folder[0][0], forwards[0])
    other_seed = ImageFolder(root / "train", train_transform(16), seed=4)
    assert not torch.equal(other_seed[0][0], forwards[0])


# --- wrong folders


def test_missing_folder_is_named_with_where_and_how(tmp_path):
    (message,) = missing_splits(str(tmp_path), ["train"])
    assert str(tmp_path / "train") in message
    assert "image-net.org" in message
    with pytest.raises(ValueError, match="no image folder"):
        open_splits(str(tmp_path), ["train"], eval_transform(16))


def test_default_root_is_imagenet_under_the_data_root(tmp_path, monkeypatch):
    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path))
    train, val = missing_splits(None, ["train", "val"])
    assert str(tmp_path / "imagenet1k" / "train") in train
    assert str(tmp_path / "imagenet1k" / "val") in val


def test_one_class_is_refused(tmp_path):
    write_image(tmp_path / "train" / "only" / "0.png")
    with pytest.raises(ValueError, match=r"got 1 class folder\(s\) \['only'\]"):
        missing_splits(str(tmp_path), ["train"])


def test_empty_class_is_named(root):
    (root / "val" / "n03").mkdir()
    (root / "val" / "n03" / "readme.md").write_text("no image")
    with pytest.raises(ValueError, match=r"class 'n03' in .*val has no image"):
        missing_splits(str(root), ["val"])


def test_splits_with_different_classes_name_the_first_differences(root):
    write_image(root / "train" / "n07" / "0.png")
    write_image(root / "val" / "n05" / "0.png")
    with pytest.raises(ValueError, match=r"1 only in the first \['n07'\], 1 only in the second \['n05'\]"):
        missing_splits(str(root), ["train", "val"])


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("damage", ["cut", "not an image"])
def test_unreadable_image_is_named_in_one_line(root, damage, num_workers):
    broken = root / "train" / "n01" / "1.png"
    broken.write_bytes(broken.read_bytes()[:900] if damage == "cut" else b"plain words")
    folder = ImageFolder(root / "train", eval_transform(16))
    with pytest.raises(UnreadableImage) as error:
        list(DataLoader(folder, 2, num_workers=num_workers))
    assert str(error.value).startswith(f"cannot read the image {broken}: ")
    assert "\n" not in str(error.value)


# --- the listing kept for long folders


@pytest.fixture
def settled(root, tmp_path, monkeypatch) -> Path:
    """A split whose class folders changed an hour ago, and a listing kept from one image on."""
    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(image_listing, "CACHE_FROM", 1)
    for name in ("n01", "n02"):
        os.utime(root / "train" / name, (time.time() - 3600,) * 2)
    return root / "train"


def test_kept_listing_is_read_while_folders_are_unchanged(settled, tmp_path):
    listing = files_of_classes(settled, ["n01", "n02"])
    (kept,) = (tmp_path / "data" / "listings").iterdir()
    kept.write_text(kept.read_text().replace("2.png", "from the file.png"))
    assert files_of_classes(settled, ["n01", "n02"])["n01"] == ["0.png", "1.png", "from the file.png"]
    write_image(settled / "n02" / "new.png")
    assert files_of_classes(settled, ["n01", "n02"]) == {"n01": listing["n01"], "n02": [*listing["n02"], "new.png"]}


def test_listing_of_a_folder_just_changed_is_not_kept(settled, tmp_path):
    write_image(settled / "n02" / "new.png")
    files_of_classes(settled, ["n01", "n02"])
    assert not (tmp_path / "data" / "listings").exists()


def test_listing_that_cannot_be_kept_warns_and_is_used(settled, tmp_path, monkeypatch):
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path / "a file"))
    with pytest.warns(UserWarning, match="could not be kept"):
        assert len(files_of_classes(settled, ["n01", "n02"])["n01"]) == 3


# --- procedural worlds


def test_a_world_is_rendered_when_it_is_opened_and_never_missing(root, tmp_path, monkeypatch):
    asked = []

    def prepare(world: World, data: Path, progress: bool) -> Path:
        asked.append((world, data, progress))
        (root / "world").mkdir()
        (root / "world" / "imagefolder").symlink_to(root, target_is_directory=True)
        return root / "world"

    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(images, "prepare", prepare)
    assert missing_splits("mini", ["train", "val"]) == []
    assert asked == []
    train, val = open_splits("mini", ["train", "val"], eval_transform(16), progress=False)
    assert (len(train), len(val)) == (6, 4)
    assert asked == [(WORLDS["mini"], tmp_path / "data", False)]
