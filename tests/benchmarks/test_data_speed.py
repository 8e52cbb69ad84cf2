"""The data layer against what it replaces: `pytest -m slow -s tests/benchmarks -k data`. Ratios of one run, on an idle machine.

A walk of 1080p, GOP 250, is rendered from moving textures; short side 360 and JPEG quality 90 in the store.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import lmdb
import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from longtake.datasets.clips import Clips
from longtake.datasets.frame_store import FRAME, FrameStore, key_of, open_environment
from longtake.datasets.frames import StoreSpec, build
from longtake.datasets.video import probe
from longtake.datasets.views import Crop, MultiCrop, Precrop

pytestmark = pytest.mark.slow
MINUTES = float(os.environ.get("LONGTAKE_BENCHMARK_MINUTES", "10"))
SPEC = StoreSpec(short_side=360, quality=90)


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Coloured noise of several grain sizes, as strong at each: some of it survives any resizing."""
    layers = [
        cv2.resize(rng.normal(128, 60, (height // grain + 2, width // grain + 2, 3)), (width, height))
        for grain in (3, 12, 48, 192)
    ]
    return np.mean(layers, axis=0).clip(0, 255).astype(np.uint8)


def write_walk(path: Path, minutes: float, size: tuple[int, int] = (1080, 1920), fps: int = 30) -> Path:
    """Two textures that slide at different speeds, H.264, GOP 250."""
    rng = np.random.default_rng(0)
    far, near = texture(rng, size[0], 2 * size[1]), texture(rng, size[0], 2 * size[1])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        stream.options = {
            "g": "250",
            "keyint_min": "250",
            "sc_threshold": "0",
            "bf": "2",
            "preset": "veryfast",
            "crf": "26",
        }
        for i in range(round(minutes * 60 * fps)):
            image = np.roll(far, -i % (2 * size[1]), 1)[:, : size[1]].copy()
            image[size[0] // 2 :] = np.roll(near, -4 * i % (2 * size[1]), 1)[size[0] // 2 :, : size[1]]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_walk(tmp_path_factory.mktemp("walk") / "walk.mp4", MINUTES)


@pytest.fixture(scope="module")
def short_walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_walk(tmp_path_factory.mktemp("short") / "walk.mp4", 0.5)


@pytest.fixture(scope="module")
def store(walk: Path, tmp_path_factory: pytest.TempPathFactory) -> FrameStore:
    return build([walk], SPEC, tmp_path_factory.mktemp("stores"))


def rate(work: Callable[[int], object], count: int) -> float:
    """Calls per second."""
    started = time.perf_counter()
    for i in range(count):
        work(i)
    return count / (time.perf_counter() - started)


def seek_and_decode(container: av.container.InputContainer, times: list[float]) -> list[np.ndarray]:
    """The frame at each time: seek to the key frame before, decode up to it."""
    stream = container.streams.video[0]
    if not stream.codec_context.is_open:
        stream.thread_type = "AUTO"
    images = []
    for t in times:
        container.seek(int(t / stream.time_base), stream=stream)
        frame = next(f for f in container.decode(stream) if f.pts * stream.time_base >= t - 1e-6)
        images.append(frame.to_ndarray(format="rgb24", width=640, height=360))
    return images


def test_data_random_clips_are_read_faster_than_from_the_video(walk: Path, store: FrameStore) -> None:
    clips = Clips(store, num_frames=8, stride_seconds=1.0)
    starts = store.seconds[clips.epoch_starts(0)]

    def reopened(i: int) -> None:
        with av.open(str(walk)) as container:
            seek_and_decode(container, [starts[i] + n for n in range(8)])

    stored = rate(clips.__getitem__, 60)
    again = rate(reopened, 4)
    with av.open(str(walk)) as container:
        cached = rate(lambda i: seek_and_decode(container, [starts[i] + n for n in range(8)]), 4)
    print(
        f"\nclips/s: store {stored:.1f}, re-open and seek {again:.3f} (x{stored / again:.0f}), cached {cached:.3f}",
        end=" ",
    )
    print(f"(x{stored / cached:.0f})")
    assert stored >= 50 * again
    assert stored >= 40 * cached


def in_order_and_nothing_else(path: Path) -> None:
    """Decode, resize and encode the same JPEGs: what any store has to do."""
    info = probe(path)
    width, height = round(info.width * 360 / info.height), 360
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            rgb = frame.reformat(width, height, "rgb24", interpolation="AREA").to_ndarray()
            cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])


def test_data_a_store_is_built_as_fast_as_it_can_be(short_walk: Path, tmp_path: Path) -> None:
    def seconds(work: Callable[[], object]) -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    times: dict[str, list[float]] = {"plain": [], "store": [], "store with cuts": []}
    for i in range(3):
        times["plain"].append(seconds(lambda: in_order_and_nothing_else(short_walk)))
        for name, cuts in (("store", False), ("store with cuts", True)):
            spec, folder = StoreSpec(360, 90, cuts=cuts), tmp_path / f"{name}{i}"
            times[name].append(seconds(lambda: build([short_walk], spec, folder, progress=False)))  # noqa: B023
    plain, without, with_cuts = (float(np.median(t)) for t in times.values())
    print(
        f"\nspeed of the build: {plain / without:.2f} of plain decoding and encoding, with cuts {plain / with_cuts:.2f}"
    )
    assert plain / without >= 0.85
    assert plain / with_cuts >= 0.7


def test_data_a_4k_build_takes_little_memory(tmp_path: Path) -> None:
    path = write_walk(tmp_path / "4k.mp4", 0.2, (2160, 3840))
    script = f"""
from pathlib import Path
from longtake.datasets.frames import StoreSpec, build
def peak():  # not getrusage's: that begins with the parent's
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = peak()
build([Path({str(path)!r})], StoreSpec(), Path({str(tmp_path)!r}), progress=False)
print((peak() - before) / 1024)
"""
    grown = float(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout)
    print(f"\nmemory of a 4K build over that of the imports: {grown:.0f} MB")
    assert grown < 400


def synthetic_store(store: FrameStore, path: Path, hours: float) -> FrameStore:
    """A store of so many hours at 30 frames per second; its JPEGs are those of `store`, again and again."""
    count = int(hours * 3600 * 30)
    records = np.zeros(count, FRAME)
    records["seconds"], records["contrast"], records["change"] = np.arange(count) / 30, 20, 5
    with open_environment(store.path).begin() as transaction:
        jpegs = [transaction.get(key_of(b"jpeg", i)) for i in range(0, len(store), len(store) // 500)]
    path.mkdir()
    with lmdb.open(str(path), map_size=1 << 36, writemap=True, map_async=True) as environment:
        for first in range(0, count, 10_000):
            with environment.begin(write=True) as transaction:
                for i in range(first, min(first + 10_000, count)):
                    transaction.put(key_of(b"jpeg", i), jpegs[i % len(jpegs)], append=True)
        with environment.begin(write=True) as transaction:
            transaction.put(key_of(b"block", 0), records.tobytes())
            transaction.put(b"store", json.dumps(store.info).encode())
            transaction.put(b"lost", b"[[]]")
            transaction.put(b"cuts", b"[[]]")
    return FrameStore(path)


def test_data_a_clip_of_three_hours_costs_that_of_ten_minutes(store: FrameStore, tmp_path: Path) -> None:
    stores = [synthetic_store(store, tmp_path / f"{hours:.2f}", hours) for hours in (1 / 6, 3)]
    short, long = (Clips(store, 8, 1.0) for store in stores)
    for clips in (short, long):
        rate(clips.__getitem__, 300)  # what is in the page cache stays there
    times = [(rate(short.__getitem__, 100), rate(long.__getitem__, 100)) for _ in range(3)]
    ratio = float(np.median([a / b for a, b in times]))
    print(f"\nlatency of a clip, 3 h against 10 min: x{ratio:.2f}")
    assert ratio <= 1.3


def dora_views() -> MultiCrop:
    """Two global and six local views of 224 and 96 pixels (DoRA's numbers, paper preset)."""
    crop = [Crop(size=224, scale=(0.4, 1.0), blur=p, solarize=s) for p, s in ((1.0, 0.0), (0.1, 0.2))]
    return MultiCrop(crop, [Crop(size=96, scale=(0.05, 0.4), num=6)], Precrop(300, (0.2, 1.0)))


def per_frame_pipeline() -> Callable[[torch.Tensor], Iterator[torch.Tensor]]:
    """The same operations by torchvision.transforms.v2, frame by frame, as the released loader applies them."""
    jitter = v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], 0.8)
    tail = [v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]

    def view(size: int, scale: tuple[float, float], blur: float, solarize: float) -> v2.Compose:
        crop = v2.RandomResizedCrop(size, scale, interpolation=v2.InterpolationMode.BICUBIC, antialias=True)
        blurring = v2.RandomApply([v2.GaussianBlur(13, (0.1, 2.0))], blur)
        solarizing = v2.RandomSolarize(128, solarize)
        gray = v2.RandomGrayscale(0.2)
        return v2.Compose([crop, v2.RandomHorizontalFlip(), jitter, gray, blurring, solarizing, *tail])

    first = v2.RandomResizedCrop(300, (0.2, 1.0), antialias=True)
    views = [view(224, (0.4, 1.0), 1.0, 0.0), view(224, (0.4, 1.0), 0.1, 0.2)] + [view(96, (0.05, 0.4), 0.5, 0.0)] * 6
    return lambda frames: (make(first(frame)) for frame in frames for make in views)


def test_data_views_are_made_faster_than_frame_by_frame(store: FrameStore) -> None:
    torch.set_num_threads(1)  # as in a worker
    clip = store.read(np.arange(8) * 30)
    ours, theirs, generator = dora_views(), per_frame_pipeline(), torch.Generator().manual_seed(0)
    times = []
    for _ in range(3):
        times.append((rate(lambda i: ours(clip, generator), 6), rate(lambda i: list(theirs(clip)), 3)))
    ratio = float(np.median([a / b for a, b in times]))
    print(f"\nviews of a clip (2 global, 6 local, T = 8): {times[1][0]:.2f} clips/s, x{ratio:.2f} of frame by frame")
    torch.set_num_threads(os.cpu_count() or 1)
    assert ratio >= 3
