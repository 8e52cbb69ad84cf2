"""`run task=prepare pretrain=NAME`: fetch what is missing, look at what is there, build the frame store, sum it up."""

import sys

from rich.console import Console
from rich.table import Table

from longtake.datasets.fetch import FetchError, fetch
from longtake.datasets.frame_store import FrameStore
from longtake.datasets.frames import console
from longtake.datasets.image_store import ImageStore
from longtake.datasets.sources import Source
from longtake.datasets.tours import origin_of
from longtake.datasets.video import VideoInfo, probe

# A file lasts longer than its video, or than published, by more than this share: half of a mirror's file can be blank.
TOO_LONG = 0.02
# A fetched picture is that much finer than a stored one: what its codec left out is then hardly seen.
FINER = 2


def prepare(source: Source) -> FrameStore | ImageStore:
    """The finished store. Raises `ValueError` for what cannot be fetched, read or built, with the remedy."""
    fetch_missing(source)
    if not (source.world or source.images):
        for path in source.paths:
            for line in doubts(probe(path, skip_corrupt=source.skip_corrupt), source.short_side):
                console.print(f"[yellow]warning[/] {path.name}: {line}", soft_wrap=True)
    return source.open()


def fetch_missing(source: Source) -> None:
    """Get the files that are named but not there. Raises `ValueError` with the reasons and what to do by hand."""
    failed, reasons = [], []
    for path in source.missing():
        origin = origin_of(path.stem)
        try:
            if origin is None or not (origin.watch or origin.figshare):
                raise FetchError(
                    "nobody knows where it comes from" if origin is None else "it cannot be fetched by a program"
                )
            console.print(f"{path}: fetched from {fetch(origin, path, FINER * source.short_side)}", soft_wrap=True)
        except FetchError as error:
            failed.append(path)
            reasons.append(f"{path.name}: {error}")
    if failed:
        for reason in reasons:
            console.print(f"[red]not fetched[/] {reason}", soft_wrap=True)
        source.refuse(failed)


def doubts(info: VideoInfo, short_side: int = 0) -> list[str]:
    """What looks wrong with a file, before it is decoded; `short_side` is that of the frames to be stored."""
    found = []
    if not info.timed:
        found.append(f"its frames have no times; they are taken to be {1 / info.fps:.4f} s apart")
    if min(info.width, info.height) < short_side:
        found.append(
            f"{info.width} x {info.height} is smaller than short_side={short_side}; frames are stored as they are"
        )
    if info.container_seconds > info.seconds * (1 + TOO_LONG):
        found.append(f"the file lasts {info.container_seconds:.0f} s, its video {info.seconds:.0f} s; is it complete?")
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


def print_store(store: FrameStore | ImageStore) -> None:
    """One row per video: stored frames, duration, shots, share of blank frames, mean lightness."""
    if isinstance(store, ImageStore):
        return print(f"{len(store):,} images")
    table = Table(title=f"{store.path}", title_justify="left", box=None)
    for column in ("video", "frames", "minutes", "shots", "blank", "L*"):
        table.add_column(column, justify="left" if column == "video" else "right")
    for video, source in enumerate(store.info["sources"]):
        own = store.video == video
        if not own.any():
            continue
        minutes = (store.seconds[own].max() - store.seconds[own].min()) / 60
        shots, blank, light = len(store.cuts[video]) + 1, 100 * store.blank[own].mean(), store.lightness[own].mean()
        table.add_row(source["name"], f"{own.sum():,}", f"{minutes:.1f}", f"{shots}", f"{blank:.0f} %", f"{light:.0f}")
    Console(width=120 if not sys.stdout.isatty() else None).print(table)
