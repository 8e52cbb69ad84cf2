"""One DoRA step of ViT-S/16 at 224, ours or the baseline; prints seconds and peak memory as JSON. Run by test_dora_speed.py.

The baseline, fixed once: one student forward (backbone and head) per frame and per masked view, and one per frame for its local
views; explicit softmax attention in all blocks; the local term recomputed for each object. Same networks, losses and update.
"""

import json
import resource
import sys
import time

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from longtake.backbones import vit
from longtake.backbones.vit import ViT
from longtake.datasets.views import Views
from longtake.methods.base import Duration
from longtake.methods.dino import targets, updated_center
from longtake.methods.dora import DoRA

CLIPS, FRAMES, OBJECTS, LOCALS = 2, 4, 3, 6


def explicit_attention(self: vit.Attention, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
    attention = ((q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5).softmax(-1)
    return self.proj((attention @ v).transpose(1, 2).flatten(2)), q, k


def plain_mlp(self: vit.Mlp, x: Tensor) -> Tensor:
    return self.fc2(F.gelu(self.fc1(x)))


def cross_entropy(target: Tensor, student: Tensor, temperature: float) -> Tensor:
    return -(target * (student / temperature).log_softmax(-1)).sum(-1).mean()


def baseline_loss(method: DoRA, views: Views) -> Tensor:
    g = len(views.globals)
    with torch.no_grad():
        tokens = [method.teacher_backbone(view.flatten(0, 1)) for view in views.globals]
        masked = [method.masked(view, seen) for view, seen in zip(views.globals, tokens, strict=True)]
        teacher = torch.stack([method.teacher_head(seen.cls) for seen in tokens])
        target = targets(teacher, method.center, 0.04).unflatten(1, (CLIPS, FRAMES))
    method.center = updated_center(method.center, teacher, 0.9)
    student = lambda images: method.head(method.backbone(images).cls)  # noqa: E731
    total = torch.zeros(())
    for t in range(FRAMES):
        local = student(torch.cat([view[:, t] for view in views.locals])).chunk(LOCALS)
        for i in range(OBJECTS):
            objects = [student(masked[v][i, :, t]) for v in range(g)]
            for u in range(g):
                total = (
                    total + sum(cross_entropy(target[u, :, t], objects[v], 0.1) for v in range(g) if v != u) / FRAMES
                )
                total = total + sum(cross_entropy(target[u, :, t], x, 0.1) for x in local) / FRAMES / OBJECTS
    return total


def measure(which: str, steps: int) -> dict[str, float]:
    torch.set_num_threads(2)
    torch.manual_seed(0)
    if which == "baseline":
        vit.Attention.forward = explicit_attention  # type: ignore[method-assign]
        vit.Mlp.forward = plain_mlp  # type: ignore[method-assign]
    method = DoRA(ViT("small", drop_path=0.0), Duration(10, 10, CLIPS), warmup_epochs=0)
    optimizer = method.make_optimizer()
    draw = lambda size: torch.randn(CLIPS, FRAMES, 3, size, size)  # noqa: E731
    views = Views((draw(224), draw(224)), tuple(draw(96) for _ in range(LOCALS)), torch.arange(CLIPS))
    seconds = []
    for step in range(steps):
        start = time.perf_counter()
        torch.manual_seed(step)
        loss = baseline_loss(method, views) if which == "baseline" else sum(method.losses(views).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.after_step(step)
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {
        "seconds": min(seconds),
        "peak_gb": peak,
        "loss": loss.item(),
        "flops": flops(method, views) if which == "ours" else 0,
    }


def flops(method: DoRA, views: Views) -> float:
    """Of forward and backward pass, by torch's counter, which has to be told of the CPU's fused attention."""
    aten = torch.ops.aten
    fused = {
        aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v),
        aten._scaled_dot_product_flash_attention_for_cpu_backward: (
            lambda grad, q, k, v, *_, **__: sdpa_backward_flop_count(grad, q, k, v)
        ),
    }
    with FlopCounterMode(display=False, custom_mapping=fused) as counter:
        sum(method.losses(views).values()).backward()
    return counter.get_total_flops()


def matmul_rate() -> float:
    """Floating-point operations per second of a large float32 matrix product on the same cores, in the same run."""
    torch.set_num_threads(2)
    a, b = torch.randn(4096, 4096), torch.randn(4096, 4096)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - start)
    return 2 * 4096**3 / min(seconds)


if __name__ == "__main__":
    found = {"rate": matmul_rate()} if sys.argv[1] == "matmul" else measure(sys.argv[1], int(sys.argv[2]))
    print(json.dumps(found))
