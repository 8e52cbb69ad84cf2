"""Pixels: a picture is read the same by everybody, as it is stored, and by its own depth; masks keep their numbers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from longtake.datasets.ade20k import ADE20K, write_ade20k
from longtake.datasets.davis import write_davis
from longtake.datasets.image_store import ImageStore
from longtake.datasets.images import ImageFolder
from longtake.datasets.labelled import FileImages
from longtake.datasets.oddities import odd_pictures, turned
from longtake.datasets.pictures import UnreadableImage, read_levels, read_picture, read_rgb
from longtake.datasets.sources.frames import Frames
from longtake.datasets.voc import Annotated, write_voc
from longtake.downstream import gallery, mm, seqtrack_samples

RAMP = np.linspace(0, 65535, 64).round().astype(np.uint16)[None].repeat(48, 0)
GREY = (RAMP.astype(np.int64) * 255 // 65535).astype(np.uint8)


def as_source(path: Path) -> np.ndarray:
    (path.parent / "f" / "class").mkdir(parents=True)
    path.rename(path.parent / "f" / "class" / f"1{path.suffix}")
    source = Frames(name="frames", path=str(path.parent / "f"), frames_per_second=1.0)
    return source.open().read([0])[0].permute(1, 2, 0).numpy()


def as_store(path: Path) -> np.ndarray:
    for name in ("a", "b"):
        (path.parent / "g" / name).mkdir(parents=True)
        (path.parent / "g" / name / path.name).write_bytes(path.read_bytes())
    return ImageStore(path.parent / "g").read([0])[0].permute(1, 2, 0).numpy()


def as_folder(path: Path) -> np.ndarray:
    as_store(path)
    return (
        ImageFolder(path.parent / "g", lambda image: torch.from_numpy(np.array(image)).permute(2, 0, 1).float())[0][0]
        .permute(1, 2, 0)
        .numpy()
        .astype(np.uint8)
    )


READERS: dict[str, Callable[[Path], np.ndarray]] = {
    "picture": lambda path: np.array(read_picture(path)),
    "levels": read_levels,
    "rgb": lambda path: read_rgb(path).permute(1, 2, 0).numpy(),
    "mm": lambda path: mm.ReadImage()({"img_path": str(path)})["img"][..., ::-1],
    "seqtrack": seqtrack_samples.read_frame,
    "gallery": gallery._read,
    "source frames": as_source,
    "source images": as_store,
    "image folder": as_folder,
    "set of files": lambda path: np.array(FileImages([path.name], np.zeros(1, int), ["a"], path.parent).image(0)),
}


def big_endian(path: Path) -> None:
    Image.frombytes("I;16B", RAMP.shape[::-1], RAMP.astype(">u2").tobytes()).save(path)


def tiff(path: Path, levels: np.ndarray, bits: int, photometric: int = 1) -> None:
    """Packed by hand: Pillow writes no 12 bits, and no white that is 0."""
    (height, width), swapped = levels.shape, levels.astype("<u2").byteswap() if bits == 16 else levels
    text = "".join(f"{int(v):0{bits}b}" for v in swapped.ravel())
    strip = int(text, 2).to_bytes(len(text) // 8, "big")
    tags = [
        (256, width),
        (257, height),
        (258, bits),
        (259, 1),
        (262, photometric),
        (273, 8),
        (277, 1),
        (278, height),
        (279, len(strip)),
    ]
    entries = b"".join(tag.to_bytes(2, "little") + b"\x03\0\1\0\0\0" + v.to_bytes(4, "little") for tag, v in tags)
    header = b"II*\0" + (8 + len(strip)).to_bytes(4, "little")
    path.write_bytes(header + strip + len(tags).to_bytes(2, "little") + entries + bytes(4))


DEEP = {
    "a.png": lambda path: Image.fromarray(RAMP).save(path),
    "a.tif": lambda path: Image.fromarray(RAMP).save(path),
    "b.tif": big_endian,
    "a.pgm": lambda path: path.write_bytes(b"P5 64 48 65535\n" + RAMP.astype(">u2").tobytes()),
    "white.tif": lambda path: tiff(path, 65535 - RAMP, 16, photometric=0),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", DEEP)
def test_greys_of_16_bits_are_scaled_by_their_depth(name: str, reader: str, tmp_path: Path) -> None:
    DEEP[name](tmp_path / name)
    found = READERS[reader](tmp_path / name)
    assert found.shape == (48, 64, 3)
    assert found[5, [4, 32, 60], 0].tolist() == [16, 129, 242]
    np.testing.assert_array_equal(found, GREY[..., None].repeat(3, -1))


def test_12_bits_of_a_tiff_are_its_depth(tmp_path: Path) -> None:
    tiff(tmp_path / "a.tif", np.array([[0, 4095, 2048, 1024]]), 12)
    assert read_levels(tmp_path / "a.tif")[0, :, 0].tolist() == [0, 255, 127, 63]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_numbers_without_a_range_are_refused_by_name(dtype: type, reader: str, tmp_path: Path) -> None:
    Image.fromarray((RAMP / 65535).astype(dtype)).save(tmp_path / "1.tif")
    with pytest.raises(UnreadableImage, match=r"1\.tif: its pixels are .*save it with 8 or 16 bits"):
        READERS[reader](tmp_path / "1.tif")


COLOURS = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def tagged(path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(COLOURS).save(path, exif=exif.tobytes())


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_nobody_turns_a_picture(suffix: str, reader: str, tmp_path: Path) -> None:
    found = []
    for orientation in (1, 3, 6):
        folder = tmp_path / str(orientation)
        folder.mkdir()
        tagged(folder / f"1{suffix}", orientation)
        found.append(READERS[reader](folder / f"1{suffix}"))
    assert found[0].shape == (48, 64, 3)
    assert all(np.array_equal(found[0], other) for other in found[1:])


def converted(mode: str) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(COLOURS).convert(mode).save(path)


def transparent(path: Path) -> None:
    image = Image.fromarray(COLOURS).convert("P")
    image.save(path, transparency=3)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("name", "make"),
    [("a.png", transparent), ("a.png", converted("RGBA")), ("a.png", converted("LA")), ("a.jpg", converted("CMYK")),
     ("a.jpg", converted("L")), ("a.png", converted("1")), ("a.tif", converted("CMYK"))],
)  # fmt: skip
def test_everybody_reads_the_same_pixels_of_other_modes(name: str, make, reader: str, tmp_path: Path) -> None:
    make(tmp_path / name)
    expected = np.array(Image.open(tmp_path / name).convert("RGB"))
    np.testing.assert_array_equal(READERS[reader](tmp_path / name), expected)


def mask_readers(root: Path) -> dict[str, tuple[Path, Callable[[], np.ndarray]]]:
    """A mask file in each layout, and how it is read."""
    mask = np.zeros((48, 64), np.uint8)
    mask[4:20, 4:20], mask[30:40, 30:60] = 1, 2
    ade = write_ade20k(root / "ade", "training", [("a", COLOURS, mask - np.uint8(1))])
    box = np.array([[4, 4, 20, 20]])
    voc = write_voc(root / "voc", [Annotated("a", COLOURS, box, ["x"], mask)])
    davis = write_davis(root / "davis", [("a", np.stack([COLOURS] * 3), np.stack([mask] * 3))])
    (sequence,) = davis.sequences()
    return {
        "ade20k": (ade.mask_file("training/a"), lambda: ADE20K(root / "ade").mask("training/a") + np.uint8(1)),
        "voc": (voc.root / "SegmentationClass" / "a.png", lambda: voc.mask("a")),
        "davis": (sequence.masks[0], lambda: davis.truth(sequence)[0]),
    }


@pytest.mark.parametrize("layout", ["ade20k", "voc", "davis"])
def test_masks_of_16_bits_keep_their_numbers(layout: str, tmp_path: Path) -> None:
    path, read = mask_readers(tmp_path)[layout]
    expected = read()
    Image.fromarray(np.array(Image.open(path)).astype(np.uint16)).save(path)
    np.testing.assert_array_equal(read(), expected)
    Image.fromarray(np.array(Image.open(path)) * np.uint16(300)).save(path)
    with pytest.raises(ValueError, match=r"\.png: got number 600, expected \w+ numbers, 255 at most"):
        read()
    Image.fromarray(COLOURS).save(path)
    with pytest.raises(ValueError, match=r"\.png: got an image of mode RGB, expected \w+ numbers"):
        read()


def test_what_is_read_in_a_way_of_its_own_is_said(tmp_path: Path) -> None:
    for number in range(5):
        tagged(tmp_path / f"{number}.jpg", 6 if number else 1)
    Image.fromarray(RAMP).save(tmp_path / "deep.png")
    transparent(tmp_path / "clear.png")
    pages = [Image.fromarray(COLOURS)] * 2
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    (tmp_path / "broken.jpg").write_bytes(b"none")
    paths = sorted(tmp_path.iterdir())
    assert odd_pictures(paths, "val") == [
        "val: 4 pictures would be turned by a viewer (EXIF orientation); they are read as stored: 1.jpg, 2.jpg, 3.jpg and 1 more",
        "val: 1 pictures have transparency; it is left out: clear.png",
        "val: 1 pictures have 16 bits a channel; they are scaled to 8: deep.png",
        "val: 1 pictures have several pictures in one file; the first is read: pages.tif",
    ]
    assert turned(paths[:5]) == (
        "; 4 of 5 looked at would be turned by a viewer (EXIF orientation); they are read as stored"
    )
    assert turned(paths[:1]) == ""
