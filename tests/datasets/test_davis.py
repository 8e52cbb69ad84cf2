"""DAVIS on disk: what is written is read again; what is wrong is named."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from longtake.datasets.davis import DAVIS, write_davis, write_mask
from longtake.datasets.palette import PALETTE


def clip(num_frames: int = 5) -> tuple[np.ndarray, np.ndarray]:
    frames = np.random.default_rng(0).integers(0, 256, (num_frames, 48, 86, 3), np.uint8)
    masks = np.zeros((num_frames, 48, 86), np.uint8)
    masks[:, 5:20, 10:30], masks[:, 30:40, 50:80], masks[:, 20, 10:30] = 1, 2, 255
    return frames, masks


@pytest.fixture
def davis(tmp_path: Path) -> DAVIS:
    return write_davis(tmp_path / "DAVIS", [("clip", *clip()), ("other", *clip(4))])


def test_what_is_written_is_read_again(davis: DAVIS) -> None:
    assert davis.check() == []
    first, second = davis.sequences()
    assert (first.name, len(first.frames), second.name, len(second.frames)) == ("clip", 5, "other", 4)
    np.testing.assert_array_equal(davis.truth(first), clip()[1])
    image = Image.open(first.masks[0])
    assert image.mode == "P"
    assert image.getpalette() == PALETTE.ravel().tolist()


def test_the_palette_is_the_official_one() -> None:
    """davis2017.utils.color_map."""
    assert (
        hashlib.sha256(PALETTE.tobytes()).hexdigest()
        == "ec76f86cfddd0f4c0768796cda862d8f5099af416b298a406db7e84b55136fc9"
    )
    colours = {1: [128, 0, 0], 3: [128, 128, 0], 7: [128, 128, 128], 8: [64, 0, 0], 21: [128, 64, 128], 128: [0, 32, 0]}
    assert {number: PALETTE[number].tolist() for number in colours} == colours
    assert PALETTE.sum() == 81920


def test_a_missing_folder_is_named_with_the_way_to_get_it(tmp_path: Path) -> None:
    (line,) = DAVIS(tmp_path / "DAVIS").check()
    assert str(tmp_path / "DAVIS") in line
    assert "DAVIS-2017-trainval-480p.zip" in line


def mask_of(davis: DAVIS, name: str, mask: np.ndarray) -> DAVIS:
    write_mask(mask.astype(np.uint8), davis.root / "Annotations" / "480p" / "clip" / name)
    return davis


def truth_of(davis: DAVIS) -> np.ndarray:
    return davis.truth(davis.sequences()[0])


LATE, FLAT, SMALL = clip()[1][0].copy(), np.zeros((48, 86)), np.ones((10, 10))
LATE[0, 0] = 3
BAD = {
    "level": (
        lambda davis: DAVIS(davis.root.parent).check(),
        r"expected the folder DAVIS itself; did you mean .*DAVIS\?",
    ),
    "list": (lambda davis: DAVIS(davis.root, "test-dev").check(), r"test-dev\.txt: no such list"),
    "count": (
        lambda davis: (next((davis.root / "Annotations/480p/clip").glob("00004.png")).unlink(), davis.check()),
        "clip: 5 frames in .* and 4 masks in .*, expected the same names",
    ),
    "sequence": (lambda davis: (shutil.rmtree(davis.root / "JPEGImages/480p/other"), davis.check()), "other: 0 frames"),
    "binary": (lambda davis: mask_of(davis, "00000.png", FLAT + 255 * (LATE > 0)).check(), "binary_masks=true"),
    "late": (lambda davis: truth_of(mask_of(davis, "00002.png", LATE)), r"clip: object 3 appears first in 00002\.png"),
    "empty": (lambda davis: truth_of(mask_of(davis, "00000.png", FLAT)), "no object in the first mask"),
    "sizes": (lambda davis: truth_of(mask_of(davis, "00003.png", SMALL)), "masks of different sizes"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_named(davis: DAVIS, case: str) -> None:
    work, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        work(davis)


def test_binary_masks_are_one_object_when_asked_for(davis: DAVIS) -> None:
    for t in range(5):
        mask_of(davis, f"{t:05d}.png", 255 * (clip()[1][t] == 1))
    binary = DAVIS(davis.root, binary_masks=True)
    np.testing.assert_array_equal(binary.truth(binary.sequences()[0]), clip()[1] == 1)


def test_a_coloured_mask_is_refused(davis: DAVIS) -> None:
    Image.new("RGB", (86, 48)).save(davis.sequences()[0].masks[0])
    with pytest.raises(ValueError, match="mode RGB, expected object numbers"):
        davis.check()
