"""Label propagation against DINO's eval_video_segmentation.py (label_propagation, eval_video_tracking_davis, read_frame)."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from golden import S
from hypothesis import given, settings
from hypothesis import strategies as st

from longtake.downstream.propagation import (
    full_size,
    network_size,
    one_hot,
    propagate,
    propagate_step,
    strips,
)

GRID, D, T = (12, 16), 16, 5
A, NOISE = (0.48, 0.3, 1.13, 0.7), 1.7
OBJECTS = [(1, 4.0, 4.5, 2.6, 0.4, 1.1), (2, 8.5, 11.0, 2.2, -0.5, -0.7)]  # number, cy, cx, r, vy, vx
# radius -> per frame: patches of each label, sums of the labels in each row and column, sums of the soft labels, weighted sum
STEPS = {
    4: [
        ([157, 18, 17], [0, 0, 2, 5, 2, 4, 8, 7, 8, 8, 4, 4], [0, 0, 0, 1, 3, 5, 5, 5, 1, 6, 12, 8, 6, 0, 0, 0],
         [150.4613, 20.99019, 20.5485], 0.1715895),
        ([159, 19, 14], [0, 0, 0, 5, 5, 5, 9, 7, 8, 6, 0, 2], [0, 0, 0, 0, 1, 4, 4, 5, 11, 8, 6, 4, 0, 0, 0, 4],
         [152.7205, 21.4112, 17.86827], 3.915031),
        ([167, 13, 12], [1, 2, 0, 2, 5, 3, 7, 9, 2, 2, 2, 2], [1, 0, 1, 0, 1, 0, 2, 5, 6, 10, 7, 2, 0, 0, 2, 0],
         [158.9618, 16.87698, 16.1612], -3.529741),
        ([172, 4, 16], [0, 1, 0, 2, 1, 6, 9, 9, 4, 2, 2, 0], [0, 0, 0, 1, 0, 0, 2, 11, 6, 8, 4, 4, 0, 0, 0, 0],
         [160.4699, 11.01899, 20.51111], 7.376048),
    ],
    12: [
        ([158, 19, 15], [2, 0, 2, 4, 3, 4, 7, 8, 8, 5, 5, 1], [0, 0, 0, 1, 2, 7, 7, 3, 2, 5, 10, 8, 4, 0, 0, 0],
         [156.4192, 19.10453, 16.47625], 0.6946655),
        ([162, 19, 11], [0, 0, 0, 5, 5, 4, 7, 7, 4, 8, 1, 0], [0, 0, 2, 0, 1, 4, 4, 5, 9, 8, 4, 2, 0, 0, 0, 2],
         [156.2668, 19.51214, 16.22111], 3.520615),
        ([174, 8, 10], [1, 1, 2, 3, 2, 3, 5, 5, 2, 2, 0, 2], [3, 2, 1, 0, 0, 0, 1, 1, 5, 10, 3, 2, 0, 0, 0, 0],
         [165.0661, 12.42487, 14.50908], -2.369917),
        ([172, 8, 12], [0, 0, 2, 0, 3, 6, 9, 5, 4, 2, 1, 0], [1, 0, 0, 0, 0, 0, 0, 7, 4, 7, 5, 4, 0, 0, 1, 3],
         [164.9568, 11.40863, 15.6346], 7.099907),
    ],
}  # fmt: skip
FULL = [  # pixels of each label at 199 x 263, sum of the labels in every 16th row
    ([44353, 4514, 3470], [8, 0, 0, 34, 67, 61, 65, 94, 130, 106, 72, 73, 4]),
    ([45462, 4488, 2387], [0, 0, 0, 0, 72, 72, 63, 72, 97, 80, 96, 0, 0]),
    ([49266, 1190, 1881], [8, 0, 0, 0, 25, 26, 0, 66, 69, 26, 20, 0, 20]),
    ([48862, 1112, 2363], [0, 0, 0, 0, 3, 16, 94, 142, 53, 13, 8, 10, 0]),
]


def labels(t: int) -> np.ndarray:
    y, x = np.mgrid[: GRID[0], : GRID[1]]
    grid = np.zeros(GRID, np.int64)
    for number, cy, cx, r, vy, vx in OBJECTS:
        grid[(y - (cy + vy * t)) ** 2 + (x - (cx + vx * t)) ** 2 <= r**2] = number
    return grid


def frames() -> torch.Tensor:
    prototypes, noise = S((3, D), A[2], A[3]), S((T, GRID[0] * GRID[1], D), A[0], A[1])
    truth = torch.from_numpy(np.stack([labels(t).ravel() for t in range(T)]))
    return prototypes[truth] + noise * NOISE


def soft_labels(radius: int) -> list[torch.Tensor]:
    first = F.one_hot(torch.from_numpy(labels(0).ravel()), 3).float()
    return list(propagate(frames(), first, GRID, num_context=3, radius=radius))


@pytest.mark.parametrize("radius", STEPS)
def test_every_step_equals_dinos(radius: int) -> None:
    found = soft_labels(radius)
    assert len(found) == T - 1
    for soft, (counts, rows, columns, sums, weighted) in zip(found, STEPS[radius], strict=True):
        hard = soft.argmax(1).reshape(GRID)
        assert hard.flatten().bincount(minlength=3).tolist() == counts
        assert hard.sum(1).tolist() == rows
        assert hard.sum(0).tolist() == columns
        np.testing.assert_allclose(soft.double().sum(0), sums, rtol=1e-5)
        weights = torch.sin(0.7 * torch.arange(soft.numel()).double() + 0.3)
        assert (soft.double().T.flatten() * weights).sum().item() == pytest.approx(
            weighted, abs=1e-5 * soft.sum().item()
        )


def test_masks_at_full_size_equal_dinos() -> None:
    for soft, (counts, rows) in zip(soft_labels(12), FULL, strict=True):
        mask = full_size(soft, GRID, 16, (199, 263))
        assert mask.shape == (199, 263)
        np.testing.assert_allclose(np.bincount(mask.ravel(), minlength=3), counts, atol=0.0005 * mask.size)
        np.testing.assert_allclose(mask[::16].sum(1, dtype=int), rows, atol=3)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((480, 854), (480, 832)), ((854, 480), (832, 480)), ((480, 910), (480, 896)), ((1080, 1920), (480, 832)),
     ((360, 640), (480, 832)), ((481, 481), (480, 480))],  # the last one official: 480 x 448 against a mask of 448 x 480
)  # fmt: skip
def test_network_sizes_equal_dinos(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert network_size(*size, 480, 64) == expected


def direct_step(target, context, given, grid, radius, top_k):
    """The official procedure for one patch at a time, in float64."""
    out = torch.zeros(len(target), given.shape[-1], dtype=torch.float64)
    for i, feature in enumerate(target.double()):
        affinity = (context.double() @ feature / 0.1).exp()
        for j in range(len(target)):
            if abs(i // grid[1] - j // grid[1]) > radius or abs(i % grid[1] - j % grid[1]) > radius:
                affinity[:, j] = 0
        affinity = affinity.flatten()
        kth = affinity.sort(descending=True).values[top_k - 1]
        affinity = torch.where(affinity >= kth * (1 - 1e-12), affinity, 0)
        out[i] = affinity @ given.double().flatten(0, 1) / affinity.sum()
    return out


@given(st.integers(0, 10_000), st.booleans(), st.sampled_from([(4, 6), (12, 2)]))
@settings(max_examples=15, deadline=None)
def test_a_step_equals_a_loop_also_where_patches_are_equally_near(
    seed: int, still: bool, grid: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = F.normalize(torch.randn(4, 24, 8, generator=generator), dim=-1)
    if still:  # a video that stands still: every context frame is as near as the first
        features = features[:1].expand(4, -1, -1).contiguous()
    given_labels = torch.rand(3, 24, 3, generator=generator)
    found = propagate_step(features[3], features[:3], given_labels, strips(grid, 2), top_k=5)
    expected = direct_step(features[3], features[:3], given_labels, grid, 2, 5)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)


def test_small_objects_can_be_kept() -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[:, :32], mask[1, 1] = 1, 2
    assert one_hot(mask, (4, 4)).shape == (16, 2)  # as the official script: the second object has no column
    kept = one_hot(mask, (4, 4), 3)
    assert kept.sum(0).tolist() == [8, 8, 0]
