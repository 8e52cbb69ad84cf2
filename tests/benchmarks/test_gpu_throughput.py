"""Images per second and share of a bf16 matmul's rate on a GPU, ViT-S/16: pytest -m gpu -s tests/benchmarks."""

import time

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from longtake.backbones.vit import ViT
from longtake.datasets.views import Views
from longtake.methods.base import METHODS, Duration, Method

STEPS, WARM = 10, 3
SHAPES = {"dino": (64, 1, 8), "ibot": (64, 1, 10), "dora": (8, 4, 6)}  # clips, frames, local views


def views_of(name: str) -> Views:
    clips, frames, num_locals = SHAPES[name]
    draw = lambda size: torch.randn(clips, frames, 3, size, size, device="cuda")  # noqa: E731
    return Views((draw(224), draw(224)), tuple(draw(96) for _ in range(num_locals)), torch.arange(clips))


def step(method: Method, views: Views) -> None:
    with torch.autocast("cuda", dtype=torch.bfloat16):
        loss = torch.stack(list(method.losses(views).values())).sum()
    loss.backward()


def timed(work, steps: int) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(steps):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / steps


def matmul_rate() -> float:
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    timed(lambda: a @ b, WARM)
    return 2 * 8192**3 / timed(lambda: a @ b, STEPS)


@pytest.mark.gpu
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_throughput(name, compiled):
    torch.manual_seed(0)
    method = METHODS[name](ViT("small", drop_path=0.0), Duration(40, 10, 64), warmup_epochs=0).cuda()
    views = views_of(name)
    with FlopCounterMode(display=False) as counter:
        step(method, views)
    if compiled:
        method.backbone.compile()
        method.teacher_backbone.compile()
    optimizer = method.make_optimizer()

    def whole() -> None:
        optimizer.zero_grad()
        step(method, views)
        optimizer.step()
        method.after_step(0)

    timed(whole, WARM)
    torch.cuda.reset_peak_memory_stats()
    seconds = timed(whole, STEPS)
    images = views.globals[0].shape[:2].numel()
    share = counter.get_total_flops() / seconds / matmul_rate()
    peak = torch.cuda.max_memory_allocated() / 1e9
    print(
        f"\n{name} compile={compiled}: {images / seconds:.0f} frames/s, {share:.0%} of a matmul's rate, {peak:.1f} GB"
    )
    assert images / seconds > 0
    assert torch.isfinite(method.center).all()
