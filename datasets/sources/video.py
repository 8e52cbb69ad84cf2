"""Video files: your own, a walking tour, or a collection of them."""

import glob
import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NoReturn

from longtake.console import notes
from longtake.datasets.content import digest_of_files
from longtake.datasets.fetch import FetchError, fetch
from longtake.datasets.roots import Place, expanded
from longtake.datasets.sources.stored import Stored
from longtake.datasets.tours import FRAMES, NUM_VIDEOS, how_to_get, origin_of
from longtake.datasets.video import VideoInfo, probe
from longtake.datasets.video_files import doubts, legible, videos_at

TIE = 1e-6  # seconds
# A fetched picture is that much finer than a stored one: what its codec left out is then hardly seen.
FINER = 2


@dataclass(frozen=True, kw_only=True)
class Video(Stored, name="video"):
    """The files `path`: one, a folder (at any depth), a pattern like 'walks/*.mp4', or a list of these.

    `subset_seconds` None takes all of them; else whole files, in an order drawn with `subset_seed`, up to this duration.
    """

    path: Place | Sequence[Place] | None = None
    subset_seconds: float | None = None
    subset_seed: int = 0

    @property
    def label(self) -> str:
        """Own videos by their file names, a subset by a hash of what is in it."""
        if self.subset_seconds:
            names = "\n".join(f"{path.name} {path.stat().st_size}" for path in self.paths)
            return f"{self.name}:{hashlib.sha256(names.encode()).hexdigest()[:8]}"
        own = self.name == "video"
        return f"{self.name}:{'+'.join(legible(path.stem) for path in self.paths)}" if own else self.name

    def digest(self) -> str:
        """None for videos that last as long as the published ones of their names, and for a subset, whose label has one."""
        return "" if self.subset_seconds or is_published(self) else digest_of_files(self.paths)

    @property
    def words(self) -> Sequence[str]:
        """The files, folders and patterns given as `path`, one by one."""
        return [self.path] if isinstance(self.path, str) else self.path or []

    @cached_property
    def paths(self) -> list[Path]:
        """The video files: those named, those in a folder named, those that match a pattern; or a subset of them."""
        if self.path is None:
            raise ValueError(
                f"pretrain={self.name} needs files: pretrain.path=walk.mp4, pretrain.path=[a.mp4,b.mp4], a folder or 'tours/*.mp4'"
            )
        found = [path for word in self.words for path in videos_at(word)]
        if not found:
            lines = [f"pretrain={self.name}: no video at {', '.join(str(expanded(word)) for word in self.words)}"]
            raise ValueError("\n      ".join(lines + self.how_to_get(Path(self.name))))
        return self._subset(found) if self.subset_seconds else found

    @property
    def collection(self) -> bool:
        found = [(word, expanded(word)) for word in self.words]  # a file may be called walk[1].mp4
        return bool(self.subset_seconds) or any(p.is_dir() or (glob.has_magic(w) and not p.exists()) for w, p in found)

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
            total += self.probe(path).seconds
        return sorted(chosen)

    def probe(self, path: Path) -> VideoInfo:
        return probe(path, skip_corrupt=self.skip_corrupt)

    def found(self, num_frames: int) -> str:
        """Raises `ValueError` for a file that is missing, cannot be read or is shorter than one clip of T frames."""
        if missing := self.missing():
            self.refuse(missing)
        infos = [self.probe(path) for path in self.paths]
        if self.collection:
            total, sides = sum(info.seconds for info in infos), {(info.width, info.height) for info in infos}
            size = "various sizes" if len(sides) > 1 else "{} x {}".format(*sides.pop())
            return f"{len(infos)} videos, {total / 3600:.2f} h, {size}"
        return "; ".join(_checked(info, (num_frames - 1) * self.stride_seconds) for info in infos)

    def stored_frames(self) -> int:
        infos = [self.probe(path) for path in self.paths]
        if self.frames_per_second is None:
            return sum(info.num_frames for info in infos)
        return sum(round(info.seconds * self.frames_per_second) for info in infos)

    def expected_frames(self) -> int:
        return FRAMES.get(self.name, super().expected_frames())

    def files(self) -> Sequence[Path]:
        return self.paths

    def doubts(self) -> list[str]:
        return [f"{path.name}: {line}" for path in self.paths for line in doubts(self.probe(path), self.short_side)]

    def missing(self) -> list[Path]:
        return [path for path in self.paths if not path.exists()]

    def fetch(self) -> None:
        """Get the files that are named but not there. Raises `ValueError` with the reasons and what to do by hand."""
        failed, reasons = [], []
        for path in self.missing():
            origin = origin_of(path.stem)
            try:
                if origin is None or not (origin.watch or origin.figshare):
                    raise FetchError(
                        "nobody knows where it comes from" if origin is None else "it cannot be fetched by a program"
                    )
                notes.print(f"{path}: fetched from {fetch(origin, path, FINER * self.short_side)}", soft_wrap=True)
            except FetchError as error:
                failed.append(path)
                reasons.append(f"{path.name}: {error}")
        if failed:
            for reason in reasons:
                notes.print(f"[red]not fetched[/] {reason}", soft_wrap=True)
            self.refuse(failed)

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


def _checked(info: VideoInfo, clip_seconds: float) -> str:
    if info.seconds - 1 / info.fps < clip_seconds - TIE:  # the last frame begins one interval before the end
        raise ValueError(
            f"{info.path}: {info.seconds:.1f} s of video, but one clip lasts {clip_seconds:.1f} s; "
            "use a longer video, a smaller pretrain.stride_seconds or a smaller method.num_frames"
        )
    hdr = ", HDR: pale without tone mapping" if info.hdr else ""
    return f"{info.path.name} ({info.width} x {info.height}, {info.seconds:.1f} s, {info.fps:.2f} fps{hdr})"


def is_published(source: Video) -> bool:
    """Whether these can be the videos that the yaml is named after, by how many there are and how long they last."""
    if source.name in NUM_VIDEOS:
        return len(source.paths) == NUM_VIDEOS[source.name]
    origins = [(path, origin_of(path.stem)) for path in source.paths]
    return source.name != "video" and all(o is not None and o.lasts(source.probe(path).seconds) for path, o in origins)
