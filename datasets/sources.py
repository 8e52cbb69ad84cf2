"""What is learnt from: the keys of a `configs/pretrain` yaml, checked before any compute, and turned into a frame store."""

import glob
import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NoReturn

from longtake.datasets.frames import FrameStore, StoreSpec, build
from longtake.datasets.image_store import ImageStore
from longtake.datasets.mini.world import prepare
from longtake.datasets.mini.worlds import WORLDS
from longtake.datasets.roots import data_root, expanded
from longtake.datasets.tours import how_to_get, normalized, origin_of
from longtake.datasets.video import VideoInfo, probe

TIE = 1e-6  # seconds
VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".ts", ".mpg", ".mpeg", ".h264")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A rendered `world`, the video files `path`, or the folder `images` of <class>/<image>.

    `clips_per_epoch` None: every admissible start once. Clips of a batch are `min_gap_seconds` apart, frames of a clip
    `stride_seconds`. `frames_per_second` None keeps all frames; `short_side` (pixels) and `quality` (JPEG) are those of the stored
    frames. `cuts`: clips `avoid` or may `cross` them, or nobody looks for them (`ignore`). `faces`: `keep` or `blur`.
    `decoder`: `pyav` or `torchcodec`. `subset_seconds` None takes all files.
    """

    name: str
    world: str | None = None
    path: str | Sequence[str] | None = None
    images: str | None = None
    clips_per_epoch: int | None
    min_gap_seconds: float
    stride_seconds: float
    frames_per_second: float | None
    short_side: int
    quality: int
    skip_corrupt: bool
    cuts: str
    faces: str
    decoder: str
    subset_seconds: float | None
    subset_seed: int

    def __post_init__(self) -> None:
        if self.cuts not in ("avoid", "cross", "ignore"):
            raise ValueError(f"pretrain.cuts: got {self.cuts!r}, expected avoid, cross or ignore")

    @property
    def label(self) -> str:
        """What a leaderboard row calls it: own videos by their file names, a subset by a hash of what is in it."""
        if self.subset_seconds:
            names = "\n".join(f"{path.name} {path.stat().st_size}" for path in self.paths)
            return f"{self.name}:{hashlib.sha256(names.encode()).hexdigest()[:8]}"
        own = self.name == "video"
        return f"{self.name}:{'+'.join(path.stem for path in self.paths)}" if own else self.name

    @cached_property
    def paths(self) -> list[Path]:
        """The video files: those named, those in a folder named (at any depth), those that match a pattern; or a subset of them."""
        if self.path is None:
            raise ValueError(
                f"pretrain={self.name} needs files: pretrain.path=walk.mp4, pretrain.path=[a.mp4,b.mp4], a folder or 'tours/*.mp4'"
            )
        found = [p for word in ([self.path] if isinstance(self.path, str) else self.path) for p in files_of(word)]
        if not found:
            words = [self.path] if isinstance(self.path, str) else self.path
            lines = [f"pretrain={self.name}: no video at {', '.join(str(expanded(word)) for word in words)}"]
            raise ValueError("\n      ".join(lines + self.how_to_get(Path(self.name))))
        return self._subset(found) if self.subset_seconds else found

    @property
    def collection(self) -> bool:
        """The files were found, not named one by one: those shorter than a clip are left out."""
        words = [self.path] if isinstance(self.path, str) else self.path or []
        return bool(self.subset_seconds) or any(expanded(w).is_dir() or glob.has_magic(w) for w in words)

    def _subset(self, files: list[Path]) -> list[Path]:
        """The first files of an order that `subset_seed` shuffles, up to `subset_seconds` of video; sorted."""
        assert self.subset_seconds
        files = sorted(files, key=lambda path: path.name)
        random.Random(self.subset_seed).shuffle(files)
        chosen, total = [], 0.0
        for path in files:
            if total >= self.subset_seconds:
                break
            chosen.append(path)
            total += probe(path, skip_corrupt=self.skip_corrupt).seconds
        return sorted(chosen)

    def missing(self) -> list[Path]:
        """Files that are named but not there."""
        return [] if self.world or self.images else [path for path in self.paths if not path.exists()]

    def how_to_get(self, path: Path) -> list[str]:
        """Lines on where a file, or a collection, that is known by name comes from."""
        origin = origin_of(path.stem) or origin_of(self.name.removesuffix("_subset"))
        return how_to_get(origin) if origin else []

    def refuse(self, missing: Sequence[Path]) -> NoReturn:
        """Raise a `ValueError` that says what is not there and, where that is known, how to get it: one line or several."""
        advice = []
        for path in missing:
            advice += [f"  {path}: no such file", *(f"      {line}" for line in self.how_to_get(path))]
        if len(advice) == 1:
            raise ValueError(advice[0].strip())
        if any((origin := origin_of(path.stem)) and origin.watch for path in missing):
            advice.append(f"fetch with `run task=prepare pretrain={self.name}`, or put there by hand")
        raise ValueError(
            "\n".join([f"pretrain={self.name}: {len(missing)} of {len(self.paths)} files not found", *advice])
        )

    def check(self, num_frames: int) -> str:
        """One line on what is there; `ValueError` for a file that cannot be read or is shorter than one clip of T frames."""
        if self.stride_seconds <= 0 or num_frames < 1:
            raise ValueError(
                f"a clip of {num_frames} frames, {self.stride_seconds} s apart: expected at least 1, more than 0 s"
            )
        if self.world:
            if self.world not in WORLDS:
                raise ValueError(f"pretrain.world: got {self.world!r}, expected one of {', '.join(WORLDS)}")
            return f"the procedural walking tour {self.world!r}, rendered when it is not there yet"
        if self.images:
            if num_frames > 1:
                raise ValueError(
                    f"pretrain={self.name} has images, not clips: method.num_frames={num_frames}, expected 1"
                )
            return f"{len(self.open()):,} images of {self.images}"
        if missing := self.missing():
            self.refuse(missing)
        infos = [probe(path, skip_corrupt=self.skip_corrupt) for path in self.paths]
        if self.collection:
            total, sides = sum(info.seconds for info in infos), {(info.width, info.height) for info in infos}
            size = "various sizes" if len(sides) > 1 else "{} x {}".format(*sides.pop())
            return f"{len(infos)} videos, {total / 3600:.2f} h, {size}"
        return "; ".join(_checked(info, (num_frames - 1) * self.stride_seconds) for info in infos)

    def stored_frames(self) -> int:
        """About how many frames the store will have, known before it is built."""
        if self.world:
            return WORLDS[self.world].num_frames
        if self.images:
            return len(self.open())
        infos = [probe(path, skip_corrupt=self.skip_corrupt) for path in self.paths]
        if self.frames_per_second is None:
            return sum(info.num_frames for info in infos)
        return sum(round(info.seconds * self.frames_per_second) for info in infos)

    def open(self) -> FrameStore | ImageStore:
        """The frame store, rendered and built where it is missing, under the data root; or the images."""
        if self.images:
            return ImageStore(expanded(self.images))
        paths = [prepare(WORLDS[self.world], data_root()) / "walk.mp4"] if self.world else self.paths
        cuts = self.cuts != "ignore"
        spec = StoreSpec(self.short_side, self.quality, self.frames_per_second, cuts, self.faces, self.decoder)
        return build(paths, spec, data_root() / "frames", skip_corrupt=self.skip_corrupt)


def files_of(word: str) -> list[Path]:
    """The videos that a path, a folder or a pattern stands for. A file that does not exist stands for itself."""
    path = expanded(word)
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES)
    if glob.has_magic(word) and not path.exists():
        return sorted(Path(p) for p in glob.glob(str(path), recursive=True))
    return [_under_another_name(path)]


def _under_another_name(path: Path) -> Path:
    """The file, or its neighbour with another spelling of its name (`Chiang Mai.webm` for `chiang_mai.mp4`)."""
    if path.exists() or not path.parent.is_dir():
        return path
    origin = origin_of(path.stem)
    names = {normalized(path.stem), *(origin.aliases if origin else ())}
    others = [p for p in sorted(path.parent.iterdir()) if p.suffix.lower() in VIDEO_SUFFIXES]
    return next((p for p in others if normalized(p.stem) in names), path)


def _checked(info: VideoInfo, clip_seconds: float) -> str:
    if info.seconds - 1 / info.fps < clip_seconds - TIE:  # the last frame begins one interval before the end
        raise ValueError(
            f"{info.path}: {info.seconds:.1f} s of video, but one clip lasts {clip_seconds:.1f} s; "
            "use a longer video, a smaller pretrain.stride_seconds or a smaller method.num_frames"
        )
    hdr = ", HDR: pale without tone mapping" if info.hdr else ""
    return f"{info.path.name} ({info.width} x {info.height}, {info.seconds:.1f} s, {info.fps:.2f} fps{hdr})"
