"""GOT-10k on disk: one object per sequence, a box per frame and labels; and a writer of the same layout.

    GOT-10k/{train,val,test}/list.txt
    GOT-10k/val/GOT-10k_Val_000001/00000001.jpg ...     frames from 1; 1.jpg, frame_1.png and from 0 will do
                                   groundtruth.txt      x,y,w,h in pixels per frame; of test the first frame alone
                                   absence.label        1: the object is not in the picture
                                   cover.label          0 (hidden) to 8 (in full view)
                                   cut_by_image.label   1: the object reaches beyond the picture
                                   meta_info.ini        [METAINFO], then key: value; resolution: (width, height)

Known of the original (https://arxiv.org/abs/1810.11981): 9335, 180 and 180 sequences. What its users found (issues 10, 25, 29 of
got-10k/toolkit): Val_000136, Val_000137 and about eight training sequences (Train_007947) change their resolution midway; some
frames of Train_001636 and Train_001638 show something else; near Train_008630 and Train_009058 the first frames repeat and boxes
miss the object.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image

from longtake.datasets.annotations import below
from longtake.datasets.findings import Wrong, looked_at
from longtake.datasets.folders import nearby
from longtake.datasets.got10k_files import (
    OFFICIAL,
    Numbering,
    finite,
    labels_of,
    numbering_of,
    read_numbers,
    resolution_of,
)
from longtake.datasets.listing import by_stem, lines_of
from longtake.datasets.oddities import odd_pictures
from longtake.datasets.pictures import UnreadableImage, opened, read_picture

SPLITS = ("train", "val", "test")
EXPECTED = {"train": 9335, "val": 180, "test": 180}  # sequences of the original
HIDDEN_TRUTH = "test"  # the split of which only the server knows the boxes
CHANGES_RESOLUTION = {"GOT-10k_Val_000136", "GOT-10k_Val_000137", "GOT-10k_Train_007947"}
DOUBTFUL = {
    **dict.fromkeys(("GOT-10k_Train_001636", "GOT-10k_Train_001638"), "some frames show something else"),
    **{f"GOT-10k_Train_{i:06d}": "repeated first frames, boxes that miss the object" for i in range(8623, 8638)},
    **{f"GOT-10k_Train_{i:06d}": "repeated first frames, boxes that miss the object" for i in (9058, 9059)},
}
HOW_TO_GET = "GOT-10k: got-10k.aitestunion.com (registration), unpacked under the data root; or root=FOLDER"


@dataclass(frozen=True, eq=False)
class Track:
    """A sequence and its labels. Boxes are x, y, w, h in pixels; where the truth is hidden there is the first frame's alone."""

    name: str
    folder: Path
    num_frames: int
    boxes: Float[np.ndarray, "n 4"]
    absent: Bool[np.ndarray, " n"]
    cover: Int[np.ndarray, " n"]
    resolution: tuple[int, int]  # width, height
    numbering: Numbering = OFFICIAL

    def frame(self, t: int) -> Path:
        """Return the file of frame `t`, counted from 0."""
        return self.folder / self.numbering.name(t)

    @property
    def visible(self) -> Bool[np.ndarray, " n"]:
        """Frames that SeqTrack trains on: not absent, not covered, with an area."""
        return ~self.absent & (self.cover > 0) & (self.boxes[:, 2:] > 0).all(1)


@dataclass(frozen=True)
class GOT10k:
    """One split of a folder in GOT-10k's layout, without the sequences named in `exclude`."""

    root: Path
    split: str = "val"
    exclude: Sequence[str] = field(default=())

    @property
    def list_file(self) -> Path:
        return self.root / self.split / "list.txt"

    def check(self) -> list[str]:
        """List what is missing; [] when every sequence can be read (minutes for the original's training split on a slow disk).

        Raises `ValueError` when what is there is wrong.
        """
        if not self.root.is_dir():
            return [f"no folder {self.root} (expected {', '.join(SPLITS)} in it). {HOW_TO_GET}"]
        if not self.list_file.parent.is_dir():
            if hint := nearby(self.root, f"{self.split}/list.txt"):
                raise ValueError(f"{self.root}: no {self.split}/list.txt in it, expected the folder GOT-10k{hint}")
            return [f"no folder {self.root / self.split} (expected list.txt in it). {HOW_TO_GET}"]
        self.tracks()
        return []

    def validate(self, progress: bool = False) -> list[str]:
        """List what is odd: another number of sequences than the original's, known defects, frames of another size, boxes beside
        the picture. `Wrong` are frames that cannot be decoded."""
        found, tracks = [], self.tracks()
        if len(tracks) != EXPECTED.get(self.split) and tracks[0].name.startswith("GOT-10k_"):
            found.append(f"{self.split}: {len(tracks)} sequences, the original has {EXPECTED.get(self.split)}")
        found += looked_at(odd_track, tracks, f"sequences of {self.split}", progress)
        return found + odd_pictures((track.frame(t) for track in tracks for t in range(track.num_frames)), self.split)

    def tracks(self) -> list[Track]:
        """All sequences, in the list's order. Raises `ValueError` for files that are missing or contradict one another."""
        if not self.list_file.is_file():
            raise ValueError(f"{self.list_file}: no such list of sequences")
        names = below(lines_of(self.list_file), self.list_file)
        tracks = [self._track(name) for name in names if name not in self.exclude]
        if not tracks:
            raise ValueError(f"{self.list_file}: the list is empty")
        if changing := [t.name for t in tracks if t.name not in CHANGES_RESOLUTION and not _keeps_resolution(t)]:
            raise ValueError(
                f"{', '.join(changing)}: a frame is not as large as meta_info.ini says; leave out with "
                f"exclude=[{','.join(changing)}]"
            )
        return tracks

    def _track(self, name: str) -> Track:
        folder = self.root / self.split / name
        if not folder.is_dir():
            raise ValueError(f"{folder}: no such sequence, but {self.list_file} names it")
        frames = by_stem(folder)
        num_frames = len(frames)
        boxes, hidden = finite(read_numbers(folder / "groundtruth.txt", 4), folder), self.split == HIDDEN_TRUTH
        expected = 1 if hidden else num_frames
        if num_frames == 0 or len(boxes) != expected:
            raise ValueError(
                f"{name}: {num_frames} frames and {len(boxes)} lines in groundtruth.txt, expected {expected}"
            )
        numbering = numbering_of(name, [path.name for path in frames.values()])
        labels = [np.ones(1) if hidden else labels_of(folder, kind, num_frames) for kind in ("absence", "cover")]
        if not hidden:
            labels_of(folder, "cut_by_image", num_frames)
        absent = np.zeros(1, bool) if hidden else labels[0] > 0
        return Track(
            name, folder, num_frames, boxes, absent, labels[1].astype(np.int64), resolution_of(folder), numbering
        )


def odd_track(track: Track) -> list[str]:
    """List known defects, frames of another size, a box beside its picture, frames that cannot be decoded (`Wrong`)."""
    found: list[str] = []
    if track.name in DOUBTFUL:
        found.append(f"{track.name}: {DOUBTFUL[track.name]} (known of the original)")
    sizes: set[tuple[int, int]] = set()
    for t in range(track.num_frames):
        try:
            size = read_picture(track.frame(t)).size
        except UnreadableImage as error:
            found.append(Wrong(error))
            continue
        if size not in sizes | {track.resolution}:
            known = " (known of the original)" if track.name in CHANGES_RESOLUTION else ""
            found.append(f"{track.frame(t)}: {_by(size)}, meta_info.ini says {_by(track.resolution)}{known}")
        sizes.add(size)
    shown = track.boxes[track.visible[: len(track.boxes)]]
    beside = (shown[:, :2] >= track.resolution).any(1) | (shown[:, :2] + shown[:, 2:] <= 0).any(1)
    if beside.any():
        found.append(f"{track.name}: a box of a visible object is beside its picture: {shown[beside][0].tolist()}")
    return found


def check_given(tracks: Iterable[Track]) -> None:
    """Raise `ValueError` for sequences that a tracker cannot begin: the first box, which it is given, has no area."""
    if lost := [track.name for track in tracks if not (track.boxes[0, 2:] > 0).all()]:
        raise ValueError(f"{', '.join(lost)}: the first box has no area; leave out with exclude=[{','.join(lost)}]")


def _keeps_resolution(track: Track) -> bool:
    """Judged by the first and the last frame."""
    return {_size(track.frame(t)) for t in (0, track.num_frames - 1)} == {track.resolution}


def _size(path: Path) -> tuple[int, int]:
    with opened(path) as image:
        return image.size


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


@dataclass(frozen=True, eq=False)
class LabelledSequence:
    """A sequence to be written: n frames, boxes x, y, w, h, and the labels of the layout (see the module)."""

    name: str
    frames: UInt8[np.ndarray, "n h w 3"]
    boxes: Float[np.ndarray, "n 4"]
    cover: Int[np.ndarray, " n"]
    cut: Bool[np.ndarray, " n"]
    object_class: str = "object"


def write_got10k(root: Path, sequences: Iterable[LabelledSequence], split: str = "val") -> GOT10k:
    """Write one split in the official layout; an object is absent where its cover is 0."""
    names = []
    for sequence in sequences:
        names.append(sequence.name)
        folder = root / split / sequence.name
        folder.mkdir(parents=True, exist_ok=True)
        for t, frame in enumerate(sequence.frames, 1):
            Image.fromarray(frame).save(folder / f"{t:08d}.jpg", quality=95)
        height, width = sequence.frames.shape[1:3]
        meta = {"object_class": sequence.object_class, "resolution": f"({width}, {height})"}
        (folder / "meta_info.ini").write_text("[METAINFO]\n" + "".join(f"{k}: {v}\n" for k, v in meta.items()))
        boxes = sequence.boxes[:1] if split == HIDDEN_TRUTH else sequence.boxes
        np.savetxt(folder / "groundtruth.txt", boxes, "%.4f", delimiter=",")
        if split != HIDDEN_TRUTH:
            labels = {"absence": sequence.cover == 0, "cover": sequence.cover, "cut_by_image": sequence.cut}
            for kind, values in labels.items():
                np.savetxt(folder / f"{kind}.label", values, "%d")
    written = GOT10k(root, split)
    written.list_file.parent.mkdir(parents=True, exist_ok=True)
    written.list_file.write_text("".join(f"{name}\n" for name in names))
    return written
