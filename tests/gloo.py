"""What the tests of distributed correctness run in their processes (a module of its own, for a spawned process to import)."""

from collections.abc import Callable

import torch
from golden import G
from processes import RANKS

from longtake import parallel
from longtake.backbones.vit import ViT
from longtake.datasets.views import Views
from longtake.methods.base import METHODS, Duration, Method
from longtake.methods.heads import BatchNorm

CLIPS = 8
HEAD = {"out_dim": 24, "hidden_dim": 16, "bottleneck_dim": 8, "use_bn_in_head": True}
# Nothing is drawn by each process on its own: all heads are objects, masks follow the image or are fixed.
METHOD_KEYS = {
    "simclr": {},
    "vicreg": {"hidden_dim": 24, "out_dim": 24},
    "swav": {"hidden_dim": 16, "out_dim": 8, "num_prototypes": 12, "queue_length": 16, "queue_start_epoch": 0},
    "dino": HEAD,
    "ibot": {**HEAD, "warmup_teacher_temp_epochs": 0},
    "attmask": {
        **HEAD, "warmup_teacher_temp_epochs": 0, "masking_prob": 1.0, "mode": "high", "pred_ratio_var": 0.0
    },
    "dora": {**HEAD, "num_objects": 4, "tracking": False},
}  # fmt: skip


def views(step: int) -> Views:
    gen = torch.Generator().manual_seed(step)
    draw = lambda size: torch.randn(CLIPS, 1, 3, size, size, generator=gen)  # noqa: E731
    return Views((draw(16), draw(16)), (draw(8), draw(8)), torch.arange(CLIPS))


def half(crops: Views, rank: int) -> Views:
    mine = slice(rank * CLIPS // RANKS, (rank + 1) * CLIPS // RANKS)
    return Views(tuple(v[mine] for v in crops.globals), tuple(v[mine] for v in crops.locals), crops.index[mine])


def build(name: str) -> Method:
    torch.manual_seed(0)
    backbone = ViT("mini", 8, 16)
    backbone.blocks, backbone.depth = backbone.blocks[:1], 1
    method = METHODS[name](backbone, Duration(4, 1, CLIPS), warmup_epochs=0, **METHOD_KEYS[name])
    if name == "ibot":
        method.draw_masks = lambda tokens, views: (torch.arange(4) % 3 == 0).expand(len(tokens.cls), -1)
    return method


def two_steps(name: str, take: Callable[[Views], Views]) -> dict[str, torch.Tensor]:
    """Loss terms, gradients and buffers after two losses (the second one meets the centres and queues of the first)."""
    method = build(name)
    for step in range(2):
        crops = views(step)
        if name in ("simclr", "vicreg"):
            crops = crops._replace(locals=())
        method.zero_grad()
        torch.manual_seed(step)
        terms = method.losses(take(crops))
        sum(terms.values()).backward()
    found = {f"loss {name}": value.detach() for name, value in terms.items()}
    found |= {f"grad {n}": p.grad.detach() for n, p in method.named_parameters() if p.grad is not None}
    return found | {f"buffer {n}": b for n, b in method.named_buffers()}


def everything(rank: int) -> dict[str, dict[str, torch.Tensor]]:
    """Starting a process costs seconds: all that is asked of one, in one."""
    found = {name: two_steps(name, lambda crops: half(crops, rank)) for name in METHOD_KEYS}
    return {**found, "primitives": primitives(rank)}


def primitives(rank: int) -> dict[str, torch.Tensor]:
    x = G((RANKS, 3, 4), 0.3, 0.1)[rank].requires_grad_()
    everyone = parallel.gather(x)
    (everyone * G((RANKS * 3, 4), 0.7, 0.2)).sum().backward()
    norm = BatchNorm(4)
    y = G((RANKS, 3, 4), 0.3, 0.1)[rank].requires_grad_()
    out = norm(y)
    out.square().mul(G((4,), 0.2, 0.5)).sum().backward()
    return {
        "gather": everyone.detach(), "gather grad": x.grad, "norm": out.detach(), "norm grad": y.grad,
        "running mean": norm.running_mean, "running var": norm.running_var,
        "mean": parallel.mean_over_ranks(torch.tensor([float(rank)])),
        "all": torch.tensor(parallel.true_everywhere(rank == 0, torch.device("cpu"))),
    }  # fmt: skip
