"""What is learnt from: the keys of a `configs/pretrain` yaml, checked before any compute, and turned into a frame store."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from longtake.datasets.frames import FrameStore, StoreSpec, build
from longtake.datasets.image_store import ImageStore
from longtake.datasets.mini import WORLDS, prepare
from longtake.datasets.roots import data_root
from longtake.datasets.video import VideoInfo, probe

TIE = 1e-6  # seconds


@dataclass(frozen=True, kw_only=True)
class Source:
    """A rendered `world`, the video files `path`, or the folder `images` of <class>/<image>.

    `clips_per_epoch` None: every admissible start once. `stride_seconds` lies between the frames of a clip. `frames_per_second`
    None keeps all frames; `short_side` (pixels) and `quality` (JPEG) are those of the stored frames. `cuts`: clips `avoid` or
    may `cross` them, or nobody looks for them (`ignore`). `faces`: `keep` or `blur`.
    """

    name: str
    world: str | None = None
    path: str | Sequence[str] | None = None
    images: str | None = None
    clips_per_epoch: int | None
    stride_seconds: float
    frames_per_second: float | None
    short_side: int
    quality: int
    skip_corrupt: bool
    cuts: str
    faces: str

    def __post_init__(self) -> None:
        if self.cuts not in ("avoid", "cross", "ignore"):
            raise ValueError(f"pretrain.cuts: got {self.cuts!r}, expected avoid, cross or ignore")

    @property
    def label(self) -> str:
        """What a leaderboard row calls it: own videos by their file names."""
        own = self.name == "video"
        return f"{self.name}:{'+'.join(path.stem for path in self.paths)}" if own else self.name

    @property
    def paths(self) -> list[Path]:
        if self.path is None or self.path == "???":
            raise ValueError(f"pretrain={self.name} needs files: pretrain.path=walk.mp4 or pretrain.path=[a.mp4,b.mp4]")
        return [expanded(path) for path in ([self.path] if isinstance(self.path, str) else self.path)]

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
        infos = [probe(path, skip_corrupt=self.skip_corrupt) for path in self.paths]
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
        spec = StoreSpec(self.short_side, self.quality, self.frames_per_second, self.cuts != "ignore", self.faces)
        return build(paths, spec, data_root() / "frames", skip_corrupt=self.skip_corrupt)


def expanded(path: str) -> Path:
    """`~` and the data root, `$LONGTAKE_DATA`, which has a default."""
    return Path(path.replace("$LONGTAKE_DATA", str(data_root()))).expanduser()


def _checked(info: VideoInfo, clip_seconds: float) -> str:
    if info.seconds - 1 / info.fps < clip_seconds - TIE:  # the last frame begins one interval before the end
        raise ValueError(
            f"{info.path}: {info.seconds:.1f} s of video, but one clip lasts {clip_seconds:.1f} s; "
            "use a longer video, a smaller pretrain.stride_seconds or a smaller method.num_frames"
        )
    return f"{info.path.name} ({info.width} x {info.height}, {info.seconds:.1f} s, {info.fps:.2f} fps)"
