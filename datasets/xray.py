"""An x-ray of stored videos, the paper's Figure 2 for any of them: lightness, objects, shots; besides blur, repetition and motion.

Frames `interval` seconds apart are looked at; what the store knows of every frame (lightness, cuts, blanks) is taken as it is.
"""

from collections import Counter
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8, UInt64

from longtake.console import Bars
from longtake.datasets.detect import Detector
from longtake.datasets.frame_store import FrameStore

SHARP_SIDE = 240  # pixels of the shorter side at which sharpness is measured, so that stores of any size compare
# A frame is repeated when another one, at least so many seconds away, differs in at most so many of the 64 bits of its hash.
REPEAT_SECONDS, REPEAT_BITS = 10.0, 4
FLOW_SIDE = 90  # pixels


@dataclass(frozen=True)
class Looks:
    """One entry per frame that was looked at; `labels` one list of labels per frame."""

    video: Int64[np.ndarray, "n"]
    seconds: Float64[np.ndarray, "n"]
    lightness: Float64[np.ndarray, "n"]  # mean L*, 0 to 100
    objects: Int64[np.ndarray, "n"]
    sharpness: Float64[np.ndarray, "n"]  # log10 of the variance of the Laplacian
    motion: Float64[np.ndarray, "n"]  # median optical flow, in frame widths per second; NaN where no frame follows
    repeated: Bool[np.ndarray, "n"]
    blank: Bool[np.ndarray, "n"]
    labels: list[list[str]]

    @property
    def columns(self) -> list[str]:
        return [field.name for field in fields(self) if field.name != "labels"]


def look(store: FrameStore, detector: Detector, interval: float, progress: bool = True) -> Looks:
    """Look at the frames of a store nearest to every `interval` seconds of each video."""
    chosen = sampled(store, interval)
    labels, sharp, motion, hashes = [], [], [], []
    with Bars(disable=not progress, transient=True) as bar:
        for index in bar.track(chosen.tolist(), description="x-ray"):
            image = stored_picture(store, index)
            labels.append(list(detector(image, index)))
            grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
            sharp.append(sharpness(grey))
            hashes.append(difference_hash(grey))
            motion.append(flow(store, index, grey))
    return Looks(
        video=store.video[chosen].astype(np.int64),
        seconds=store.seconds[chosen],
        lightness=store.lightness[chosen].astype(float),
        objects=np.array([len(found) for found in labels], np.int64),
        sharpness=np.array(sharp),
        motion=np.array(motion),
        repeated=repeated(np.array(hashes, np.uint64), store.video[chosen], store.seconds[chosen]),
        blank=store.blank[chosen],
        labels=labels,
    )


def sampled(store: FrameStore, interval: float) -> Int64[np.ndarray, "n"]:
    """The first frame of each stretch of `interval` seconds."""
    slot = np.floor(store.seconds / interval + 1e-6).astype(np.int64)
    return np.flatnonzero(np.diff(slot, prepend=-1) | np.diff(store.video, prepend=-1))


def stored_picture(store: FrameStore, index: int) -> UInt8[np.ndarray, "h w 3"]:
    return store.read([index])[0].permute(1, 2, 0).numpy()


def sharpness(grey: UInt8[np.ndarray, "h w"]) -> float:
    """log10 of the variance of the Laplacian at `SHARP_SIDE`: blurred pictures have little of it."""
    scale = min(1.0, SHARP_SIDE / min(grey.shape))
    small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return float(np.log10(cv2.Laplacian(small, cv2.CV_64F).var() + 1e-3))


def difference_hash(grey: UInt8[np.ndarray, "h w"]) -> int:
    """64 bits: which of 8 x 9 cells are brighter than their right neighbour."""
    cells = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(cells[:, :-1] > cells[:, 1:]).tobytes(), "big")


def repeated(hashes: UInt64[np.ndarray, "n"], video: Any, seconds: Float64[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
    """Which frames come again, nearly, in another video or at least `REPEAT_SECONDS` away."""
    found = np.zeros(len(hashes), bool)
    for i, own in enumerate(hashes):
        far = (video != video[i]) | (np.abs(seconds - seconds[i]) >= REPEAT_SECONDS)
        found[i] = bool((far & (np.bitwise_count(hashes ^ own) <= REPEAT_BITS)).any())
    return found


def flow(store: FrameStore, index: int, grey: UInt8[np.ndarray, "h w"]) -> float:
    """Median length of the optical flow (Farneback) to the next stored frame of the shot, in frame widths per second."""
    following = index + 1
    if (
        following >= len(store)
        or store.video[following] != store.video[index]
        or store.shot[following] != store.shot[index]
    ):
        return float("nan")
    size = (round(FLOW_SIDE * grey.shape[1] / grey.shape[0]), FLOW_SIDE)
    after = cv2.cvtColor(stored_picture(store, following), cv2.COLOR_RGB2GRAY)
    a, b = (cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (grey, after))
    field = cv2.calcOpticalFlowFarneback(
        a, b, np.zeros(0), 0.5, 3, 15, 3, 5, 1.2, 0
    )  # the example's values in OpenCV's manual
    elapsed = store.seconds[following] - store.seconds[index]
    return float(np.median(np.hypot(field[..., 0], field[..., 1])) / size[0] / elapsed)


def class_counts(looks: Looks) -> Counter[str]:
    """Count how often each label was seen."""
    return Counter(label for found in looks.labels for label in found)


def figures_of(store: FrameStore, looks: Looks) -> dict[str, float]:
    """The figures of the page's table."""
    minutes = sum(np.ptp(store.seconds[store.video == v]) for v in np.unique(store.video)) / 60
    shots = sum(len(cuts) + 1 for cuts in store.cuts)
    minute = looks.video * 1e6 + looks.seconds // 60
    per_minute = [looks.lightness[minute == m].mean() for m in np.unique(minute)]
    classes = set(class_counts(looks)) - {"region"}
    return {
        "minutes": minutes,
        "frames stored": len(store),
        "frames looked at": len(looks.seconds),
        "shots": shots,
        "shots per minute": shots / max(minutes, 1e-9),
        "lightness": float(looks.lightness.mean()),
        "lightness, range of its minutes": float(np.ptp(per_minute)) if len(per_minute) > 1 else float("nan"),
        "objects per frame": float(looks.objects.mean()),
        "distinct classes": len(classes) if classes else float("nan"),
        "sharpness, log10": float(np.median(looks.sharpness)),
        "motion, widths/s": float(np.nanmedian(looks.motion)) if np.isfinite(looks.motion).any() else float("nan"),
        "repeated, %": 100 * float(looks.repeated.mean()),
        "blank, %": 100 * float(store.blank.mean()),
    }
