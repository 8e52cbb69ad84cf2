"""The frozen evaluations against direct versions of the official procedures: `pytest -m slow -s tests/benchmarks -k frozen`.

Ratios of one run, on an idle machine. Features are given: what is measured is what comes after the encoder.
"""

import subprocess
import sys
import time
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from longtake.downstream.jf import evaluate_sequence
from longtake.downstream.knn import knn_classify
from longtake.downstream.lost import lost
from longtake.downstream.propagation import propagate

pytestmark = pytest.mark.slow
GRID, D = (30, 52), 384  # a frame of DAVIS at 480p, ViT-S/16


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """The median."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def direct_mask(height: int, width: int, radius: int) -> torch.Tensor:
    """Which patches are near, one pair of loops inside another, as the official script makes it for every clip."""
    near = torch.zeros(height, width, height, width)
    for y in range(height):
        for x in range(width):
            for v in range(2 * radius + 1):
                for u in range(2 * radius + 1):
                    if 0 <= y - radius + v < height and 0 <= x - radius + u < width:
                        near[y, x, y - radius + v, x - radius + u] = 1
    return near.reshape(height * width, height * width)


def direct_propagation(frames: torch.Tensor, first: torch.Tensor) -> None:
    """The full affinity of all context frames, exponentiated, masked, cut to the five largest."""
    near = direct_mask(*GRID, 12)
    frames = F.normalize(frames, dim=-1)
    past, labels = [], []
    for target in frames[1:]:
        context = torch.stack([frames[0], *past[-7:]])
        given = torch.stack([first, *labels[-7:]])
        affinity = torch.exp(torch.einsum("fnd,md->fnm", context, target) / 0.1) * near[None]
        affinity = affinity.flatten(0, 1)  # (f n, m)
        kth = affinity.topk(5, dim=0).values[-1]
        affinity = torch.where(affinity < kth, 0, affinity)
        affinity = affinity / affinity.sum(0, keepdim=True)
        past.append(target)
        labels.append(affinity.T @ given.flatten(0, 1))


def video(num_frames: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    still = torch.randn(GRID[0] * GRID[1], D, generator=generator)
    frames = still + 0.7 * torch.randn(num_frames, GRID[0] * GRID[1], D, generator=generator)
    return frames, F.one_hot(torch.randint(0, 4, (GRID[0] * GRID[1],), generator=generator), 4).float()


def test_frozen_propagation_is_faster_than_the_direct_procedure() -> None:
    frames, first = video()
    ours = seconds(lambda: list(propagate(frames, first, GRID)))
    theirs = seconds(lambda: direct_propagation(frames, first), 1)
    print(f"\npropagation, 20 frames of 480p: {ours:.2f} s, direct {theirs:.2f} s: x{theirs / ours:.1f}")
    assert theirs >= 5 * ours


def test_frozen_propagation_takes_half_the_memory() -> None:
    def peak(call: str) -> float:
        script = f"""
import sys
sys.path.insert(0, {str(__file__).rpartition("/")[0]!r})
from pathlib import Path
import test_frozen_speed as t
frames, first = t.video(12)
def highest():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = highest()
{call}
print((highest() - before) / 1024)
"""
        return float(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout)

    ours = peak("list(t.propagate(frames, first, t.GRID))")
    theirs = peak("t.direct_propagation(frames, first)")
    print(f"\nmemory of the propagation: {ours:.0f} MB, direct {theirs:.0f} MB: x{ours / theirs:.2f}")
    assert ours <= 0.5 * theirs


def blobs(num_frames: int, num_objects: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Label maps of 480 x 854, and the same a little off; an object takes 2 to 10 % of the frame."""
    rng = np.random.default_rng(0)
    truth, predicted = (np.zeros((num_frames, 480, 854), np.uint8) for _ in range(2))
    for t in range(num_frames):
        for number in range(1, num_objects + 1):
            quarter = np.array([number % 2 * 427, number // 2 % 2 * 240])  # each in its own
            centre, axes = quarter + rng.uniform((120, 90), (300, 150)), rng.uniform(40, 110, 2)
            for masks, shift in ((truth, 0), (predicted, 6)):
                place = (centre + shift).astype(int).tolist()
                cv2.ellipse(masks[t], place, axes.astype(int).tolist(), 30, 0, 360, number, -1)
    return truth, predicted


def direct_scores(truth: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """J and F of one object over the whole picture."""

    def boundary(mask: np.ndarray) -> np.ndarray:
        e, s, d = (np.zeros_like(mask) for _ in range(3))
        e[:, :-1], s[:-1], d[:-1, :-1] = mask[:, 1:], mask[1:], mask[1:, 1:]
        b = (mask ^ e) | (mask ^ s) | (mask ^ d)
        b[-1], b[:, -1], b[-1, -1] = mask[-1] ^ e[-1], mask[:, -1] ^ s[:, -1], 0
        return b

    y, x = np.ogrid[-8:9, -8:9]
    disk = (x**2 + y**2 <= 64).astype(np.uint8)
    j = (truth & predicted).sum() / (truth | predicted).sum()
    ours, theirs = boundary(predicted), boundary(truth)
    wide, other = (cv2.dilate(b.astype(np.uint8), disk) for b in (ours, theirs))
    precision, recall = (ours & (other > 0)).sum() / ours.sum(), (theirs & (wide > 0)).sum() / theirs.sum()
    return float(j), float(2 * precision * recall / (precision + recall))


def test_frozen_scores_are_faster_than_object_by_object() -> None:
    truth, predicted = blobs(102)  # the first and the last frame do not count: 400 masks, five times

    def direct() -> list[list[tuple[float, float]]]:
        frames = list(zip(truth[1:-1], predicted[1:-1], strict=True))
        return [[direct_scores(t == number, p == number) for t, p in frames] for number in range(1, 5)]

    scores = evaluate_sequence(truth, predicted)
    means = [(scores[number].J.mean, scores[number].F.mean) for number in range(1, 5)]
    np.testing.assert_allclose(means, np.mean(direct(), axis=1))
    ours = seconds(lambda: [evaluate_sequence(truth, predicted) for _ in range(5)], 1)
    theirs = seconds(lambda: [direct() for _ in range(5)], 1)
    print(f"\nJ and F of 2 000 masks: {ours:.1f} s, direct {theirs:.1f} s: x{theirs / ours:.1f}")
    assert theirs >= 3 * ours


def test_frozen_lost_costs_little_more_than_its_product() -> None:
    keys = torch.randn(31 * 24, D, generator=torch.Generator().manual_seed(0))
    keys[:200] += 2
    product = seconds(lambda: [keys @ keys.T for _ in range(50)], 5)
    whole = seconds(lambda: [lost(keys, (24, 31), (384, 496)) for _ in range(50)], 5)
    print(f"\nLOST: x{whole / product:.2f} of the product alone ({1000 * product / 50:.1f} ms)")
    assert whole <= 1.4 * product


def test_frozen_knn_on_a_bank_of_imagenets_size() -> None:
    generator = torch.Generator().manual_seed(0)
    bank = torch.randn(1_280_000, D, generator=generator)
    F.normalize(bank, dim=1, out=bank)  # as the evaluation does
    labels = torch.randint(0, 1000, (len(bank),), generator=generator)
    queries = F.normalize(torch.randn(256, D, generator=generator), dim=1)

    def search(count: int) -> float:
        return seconds(lambda: knn_classify(bank, labels, queries[:count], (20, 10, 100, 200), 1000), 1)

    product = seconds(lambda: [part @ bank.T for part in queries.split(32)], 1)
    half, whole = search(128), search(256)
    print(f"\nk-NN: {product / whole:.0%} of the product's rate; 256 queries cost x{whole / half:.2f} of 128")
    assert product / whole >= 0.6
    assert 1.6 < whole / half < 2.4


def test_frozen_knn_takes_less_than_4_gb() -> None:
    script = f"""
import sys
sys.path.insert(0, {str(__file__).rpartition("/")[0]!r})
from pathlib import Path
import test_frozen_speed as t
t.test_frozen_knn_on_a_bank_of_imagenets_size()
print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 2**20)
"""
    shown = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    peak = float(shown.split()[-1])
    print(f"\nmemory of the k-NN, the bank among it: {peak:.1f} GB")
    assert peak < 4
