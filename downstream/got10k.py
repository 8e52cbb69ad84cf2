"""Scores of a tracker on GOT-10k (https://arxiv.org/abs/1810.11981): average overlap and success rates, from boxes or result files.

Protocol: ExperimentGOT10k of got-10k/toolkit. The first frame, which is given, and frames whose object is hidden (cover 0) do
not count; AO and SR are means over the frames of all sequences together, so that long sequences weigh more. The mAO of the
test server is another number: the mean over classes of objects.

Boxes are x, y, w, h in pixels. Result files: <results>/<sequence>/<sequence>_001.txt, a box per frame, and
<sequence>_time.txt, seconds per frame.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from longtake.datasets.annotations import below
from longtake.datasets.got10k import GOT10k, Track
from longtake.datasets.got10k_files import read_numbers

SUCCESS, STRICT_SUCCESS = 0.50, 0.75  # an overlap must be greater
THRESHOLDS = np.linspace(0, 1, 101)  # of the success curve; the toolkit's
SUBMITTED = ("mAO", "mSR50", "mSR75")  # what the server answers
# The leaderboard of what is measured here, that of the server's answers, and the source of their rows.
GOT10K_LOCAL, GOT10K_BOARD = "seqtrack_got10k", "seqtrack_got10k_test"
GOT10K_SOURCE = "server:got-10k.aitestunion.com"

Size = tuple[int, int]  # width, height


def bounded(boxes: Float[np.ndarray, "n 4"], resolution: Size) -> Float[np.ndarray, "n 4"]:
    """Boxes within a picture, as the toolkit does it: a box over the left or upper edge is shifted, not cut."""
    corners = boxes[:, :2].clip(0, resolution)
    return np.concatenate([corners, boxes[:, 2:].clip(0, np.array(resolution) - corners)], 1)


def rect_iou(
    a: Float[np.ndarray, "n 4"], b: Float[np.ndarray, "n 4"], bound: Size | None = None
) -> Float[np.ndarray, " n"]:
    """Intersection over union of pairs of boxes, within a picture of size `bound` where one is given."""
    if bound is not None:
        a, b = bounded(a, bound), bounded(b, bound)
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    intersection = (high - low).clip(min=0).prod(1)
    union = a[:, 2:].prod(1) + b[:, 2:].prod(1) - intersection
    return (intersection / (union + np.finfo(np.float64).eps)).clip(0, 1)


def frame_overlaps(
    boxes: Float[np.ndarray, "n 4"], truth: Float[np.ndarray, "n 4"], cover: Int[np.ndarray, " n"], resolution: Size
) -> Float[np.ndarray, " n"]:
    """Overlap of every frame of a sequence; NaN where a frame does not count."""
    counts = (cover > 0) & (np.arange(len(cover)) > 0)
    return np.where(counts, rect_iou(boxes, truth, resolution), np.nan)


def average_overlap(
    boxes: Float[np.ndarray, "n 4"],
    truth: Float[np.ndarray, "n 4"],
    resolution: Size,
    cover: Int[np.ndarray, " n"] | None = None,
) -> float:
    """AO of one sequence, a share; without `cover` every frame but the first counts. Raises `ValueError` when none does."""
    cover = np.ones(len(truth), dtype=int) if cover is None else cover
    return report({"": frame_overlaps(boxes, truth, cover, resolution)}).ao


@dataclass(frozen=True, eq=False)
class Report:
    """Shares in [0, 1]; those of `_sequences` are the mean over sequences of each sequence's own."""

    ao: float
    sr50: float
    sr75: float
    ao_sequences: float
    sr50_sequences: float
    sr75_sequences: float
    success_curve: Float[np.ndarray, "thresholds"]
    overlaps: Mapping[str, Float[np.ndarray, "_"]]  # of each frame; NaN where it does not count


def report(overlaps: Mapping[str, Float[np.ndarray, "_"]]) -> Report:
    """Scores of sequences' `frame_overlaps`. Raises `ValueError` when no frame counts."""
    counted = [kept for values in overlaps.values() if len(kept := values[~np.isnan(values)])]
    if not counted:
        raise ValueError(f"{len(overlaps)} sequences and no frame that counts (none but the first, or all hidden)")

    def scores(values: Float[np.ndarray, "_"]) -> tuple[float, float, float]:
        return float(values.mean()), float((values > SUCCESS).mean()), float((values > STRICT_SUCCESS).mean())

    together = np.concatenate(counted)
    ao, sr50, sr75 = np.mean([scores(values) for values in counted], axis=0).tolist()
    curve = (together[:, None] > THRESHOLDS).mean(0)
    return Report(*scores(together), ao, sr50, sr75, curve, overlaps)


def score_folder(data: GOT10k, results: Path) -> Report:
    """Scores of result files, whoever wrote them. Raises `ValueError` for files that are missing or cannot be scored."""
    tracks = data.tracks()
    if not (results / tracks[0].name).is_dir():
        inner = next((p.parent for p in sorted(results.glob(f"*/{tracks[0].name}"))), None)
        hint = f"; did you mean {inner}?" if inner else ""
        raise ValueError(f"{results}: no folder {tracks[0].name} in it, expected one per sequence{hint}")
    return report({t.name: frame_overlaps(read_result(results, t), t.boxes, t.cover, t.resolution) for t in tracks})


def read_result(results: Path, track: Track) -> Float[np.ndarray, "n 4"]:
    """A sequence's boxes. Raises `ValueError` when they are not one per frame."""
    boxes = read_numbers(results / track.name / f"{track.name}_001.txt", 4)
    if len(boxes) != track.num_frames:
        raise ValueError(f"{track.name}: {len(boxes)} boxes, expected {track.num_frames}, one per frame")
    if not np.isfinite(boxes).all():
        t = int(np.flatnonzero(~np.isfinite(boxes).all(1))[0])
        raise ValueError(f"{track.name}: frame {t} is {boxes[t].tolist()}, expected finite numbers")
    return boxes


def write_result(results: Path, name: str, boxes: Float[np.ndarray, "n 4"], seconds: Float[np.ndarray, " n"]) -> None:
    """The toolkit's two files of a sequence, rounded as the toolkit does (SeqTrack's own files cut off the decimals)."""
    folder = results / below([name], results)[0]
    folder.mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / f"{name}_001.txt", boxes, "%.3f", delimiter=",")
    np.savetxt(folder / f"{name}_time.txt", seconds, "%.8f")


def server_metrics(mao: float, msr50: float, msr75: float) -> dict[str, float]:
    """The test server's answer, shares as it prints them, in per cent. Raises `ValueError` for what it cannot have said."""
    answer = dict(zip(SUBMITTED, (mao, msr50, msr75), strict=True))
    for name, value in answer.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name}: got {value}, expected a share from 0 to 1, as the server prints it")
    if msr75 > msr50:
        raise ValueError(f"mSR75 {msr75} is above mSR50 {msr50}, expected the order mAO, mSR50, mSR75")
    return {name: 100 * float(value) for name, value in answer.items()}
