"""Video files: which ones a path, a folder or a pattern stands for, and what looks wrong with one before it is decoded."""

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from longtake.datasets.pictures import EXTENSIONS
from longtake.datasets.roots import expanded
from longtake.datasets.tours import TOO_LONG, origin_of, tour_name
from longtake.datasets.video import VideoInfo

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".ts", ".mpg", ".mpeg", ".h264")
HEADERS_ROUND = 2.0  # seconds that a file may last longer, besides


def videos_at(word: str) -> list[Path]:
    """The videos that a path, a folder or a pattern stands for. A file that does not exist stands for itself.

    Raises `ValueError` for pictures.
    """
    path = expanded(word)
    if path.is_dir():
        return videos_in(path)
    if glob.has_magic(str(path)) and not path.exists():
        found = sorted(p for p in map(Path, glob.glob(str(path), recursive=True)) if not p.name.startswith("."))
        return [file for p in found for file in (videos_in(p) if p.is_dir() else [refuse_picture(p, word)])]
    return [refuse_picture(_spelt_otherwise(path), word)]


def videos_in(folder: Path) -> list[Path]:
    """The videos in a folder and those below it, sorted; linked folders are followed, hidden files (`._z.MOV`) are none.

    Raises `ValueError` for a folder of nothing but pictures.
    """
    files = sorted(visible_files(folder))
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    if not videos and (pictures := [path for path in files if path.suffix.lower() in EXTENSIONS]):
        refuse_picture(pictures[0], str(folder), f"{len(pictures):,} pictures and no video")
    return videos


def visible_files(folder: Path) -> Iterator[Path]:
    """The files in a folder and those below it, without hidden ones, however often links lead to them."""
    seen: set[str] = set()  # so that a link to a folder above ends
    for place, below, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield from (Path(place, name) for name in files if not name.startswith("."))


def refuse_picture(path: Path, word: str, what: str = "a picture, no video") -> Path:
    """The path. Raises `ValueError` where it is a picture: FFmpeg takes one for a video of one frame."""
    if path.suffix.lower() in EXTENSIONS:
        raise ValueError(
            f"{path if what.startswith('a picture') else word}: {what}; for numbered pictures of a video pretrain=frames "
            f"pretrain.path=FOLDER pretrain.frames_per_second=30, for single images pretrain=images pretrain.images=FOLDER"
        )
    return path


def _spelt_otherwise(path: Path) -> Path:
    """The file, or its neighbour with another spelling of its name (`Chiang Mai.webm` for `chiang_mai.mp4`)."""
    if path.exists() or not path.parent.is_dir():
        return path
    origin = origin_of(path.stem)
    names = {tour_name(path.stem), *(origin.aliases if origin else ())}
    others = [p for p in sorted(path.parent.iterdir()) if p.suffix.lower() in VIDEO_SUFFIXES and p.name[:1] != "."]
    return next((p for p in others if tour_name(p.stem) in names), path)


def doubts(info: VideoInfo, short_side: int = 0) -> list[str]:
    """List what looks wrong with a file, before it is decoded; `short_side` is that of the frames to be stored."""
    found = []
    if not info.timed:
        found.append(f"its frames have no times; they are taken to be {1 / info.fps:.4f} s apart")
    if min(info.width, info.height) < short_side:
        found.append(
            f"{info.width} x {info.height} is smaller than short_side={short_side}; frames are stored as they are"
        )
    if info.container_seconds > info.seconds * (1 + TOO_LONG) + HEADERS_ROUND:
        found.append(f"the file lasts {info.container_seconds:.0f} s, its video {info.seconds:.0f} s; is it complete?")
    found += _of_fields(info)
    if info.hdr:
        found.append(
            "HDR without tone mapping, its colours will be pale; better convert it first, for example with "
            "ffmpeg -vf zscale=t=linear,tonemap=hable,zscale=t=bt709,format=yuv420p"
        )
    origin = origin_of(info.path.stem)
    if origin and origin.minutes and abs(info.seconds / 60 - origin.minutes) > max(1.0, origin.minutes * TOO_LONG):
        found.append(
            f"{info.seconds / 60:.0f} min, published with {origin.minutes} min; what is blank is never sampled"
        )
    return found


def _of_fields(info: VideoInfo) -> list[str]:
    return ["interlaced: one field of every frame is made a whole picture (FFmpeg's bwdif)"] if info.interlaced else []


def legible(name: str) -> str:
    """A file's name as every table, page and terminal takes it: with `?` for bytes that are no UTF-8."""
    return name.encode(errors="replace").decode()
