"""Video files: which ones a path, a folder or a pattern stands for, and what looks wrong with one before it is decoded."""

import glob
from pathlib import Path

from longtake.datasets.roots import expanded
from longtake.datasets.tours import origin_of, tour_name
from longtake.datasets.video import VideoInfo

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".ts", ".mpg", ".mpeg", ".h264")
# A file lasts longer than its video, or than published, by more than this share: half of a mirror's file can be blank.
TOO_LONG = 0.02
HEADERS_ROUND = 2.0  # seconds that a file may last longer, besides


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
    names = {tour_name(path.stem), *(origin.aliases if origin else ())}
    others = [p for p in sorted(path.parent.iterdir()) if p.suffix.lower() in VIDEO_SUFFIXES]
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
    if info.interlaced:
        found.append("interlaced: one field of every frame is made a whole picture (FFmpeg's bwdif)")
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
