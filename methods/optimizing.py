"""Parameter groups, the clipping of gradients, and the optimisers that PyTorch lacks."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

OPTIMIZERS = ("adamw", "sgd", "lars", "larc")


def decay_groups(module: nn.Module) -> list[dict[str, Any]]:
    """Two groups: tensors that decay, and biases and one-dimensional tensors that do not (frozen tensors are in neither).

    Position tables, class token and weight-norm directions decay, as in DINO's `get_params_groups`.
    """
    trained = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    plain = [p for name, p in trained if name.endswith(".bias") or p.ndim == 1]
    decayed = [p for name, p in trained if not (name.endswith(".bias") or p.ndim == 1)]
    return [{"params": decayed, "decays": True}, {"params": plain, "decays": False, "weight_decay": 0.0}]


def make_optimizer(name: str, module: nn.Module, momentum: float) -> Optimizer:
    """The optimiser called `name`, at learning rate 0 until the schedule sets it. `momentum` is that of SGD, LARS and LARC."""
    groups = decay_groups(module)
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=0.0)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=0.0, momentum=momentum)
    if name == "lars":
        return LARS(groups, momentum=momentum)
    assert name == "larc", name  # SwAV's recipe decays and adapts every tensor
    return LARC([{"params": [p for p in module.parameters() if p.requires_grad], "decays": True}], momentum=momentum)


def clip_each(parameters: Iterable[Tensor], max_norm: float) -> Float[Tensor, ""]:
    """Scale every gradient tensor *separately* to a norm of at most `max_norm`: DINO's `clip_gradients`, not the global norm.

    0 scales nothing. Returns the global norm before.
    """
    grads = [p.grad for p in parameters if p.grad is not None]
    norms = torch._foreach_norm(grads)
    if max_norm:
        for grad, norm in zip(grads, norms, strict=True):
            grad.mul_((max_norm / (norm + 1e-6)).clamp(max=1.0))
    return torch.stack([norm.float() for norm in norms]).norm() if norms else torch.zeros(())


class LARS(Optimizer):
    """SGD whose step on each tensor is proportional to the tensor's norm (https://arxiv.org/abs/1708.03888).

    As in VICReg's original: one-dimensional tensors (biases, norms) neither decay nor are they adapted; the learning rate
    multiplies the momentum buffer. `eta` is the trust coefficient.
    """

    def __init__(self, params: Any, lr: float = 0.0, momentum: float = 0.9, eta: float = 0.001) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": 0.0, "momentum": momentum, "eta": eta})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = loss_of(closure)
        for group in self.param_groups:
            for p in (p for p in group["params"] if p.grad is not None):
                update = p.grad
                if p.ndim > 1:
                    update = update + group["weight_decay"] * p
                    update = update * trust_ratio(p.norm(), update.norm(), group["eta"])
                state = self.state[p]
                state["mu"] = state["mu"] * group["momentum"] + update if state else update.clone()
                p.sub_(group["lr"] * state["mu"])
        return loss


class LARC(torch.optim.SGD):
    """SGD on gradients that are rescaled per tensor, as SwAV trains (apex's LARC with `clip=False`).

    g <- (g + wd w) trust |w| / (|g| + wd |w| + 1e-8), then SGD with momentum and no further decay.
    """

    def __init__(self, params: Any, lr: float = 0.0, momentum: float = 0.9, trust: float = 0.001) -> None:
        super().__init__(params, lr=lr, momentum=momentum)
        self.trust = trust

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = loss_of(closure)
        decays = [group["weight_decay"] for group in self.param_groups]
        for group, decay in zip(self.param_groups, decays, strict=True):
            group["weight_decay"] = 0.0
            for p in (p for p in group["params"] if p.grad is not None):
                scale = trust_ratio(p.norm(), p.grad.norm() + decay * p.norm() + 1e-8, self.trust)
                p.grad = (p.grad + decay * p) * scale
        super().step()
        for group, decay in zip(self.param_groups, decays, strict=True):
            group["weight_decay"] = decay
        return loss


def loss_of(closure: Callable[[], Any] | None) -> Any:
    """Return the loss of an optimiser's closure, which computes the gradients on the way."""
    with torch.enable_grad():
        return None if closure is None else closure()


def trust_ratio(weight: Float[Tensor, ""], update: Float[Tensor, ""], eta: float) -> Float[Tensor, ""]:
    """eta |w| / |update|, and 1 where either is zero."""
    return torch.where((weight > 0) & (update > 0), eta * weight / update, torch.ones_like(weight))
