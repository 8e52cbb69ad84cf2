"""What the optimiser sees: parameter groups and the clipping of gradients, as in the DINO family."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def decay_groups(module: nn.Module) -> list[dict[str, object]]:
    """Two groups: tensors that decay, and biases and one-dimensional tensors that do not (frozen tensors are in neither).

    Position tables, class token and weight-norm directions decay, as in DINO's `get_params_groups`.
    """
    trained = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    plain = [p for name, p in trained if name.endswith(".bias") or p.ndim == 1]
    decayed = [p for name, p in trained if not (name.endswith(".bias") or p.ndim == 1)]
    return [{"params": decayed, "decays": True}, {"params": plain, "decays": False, "weight_decay": 0.0}]


def clip_each(parameters: Iterable[Tensor], max_norm: float) -> None:
    """Scale every gradient tensor *separately* to a norm of at most `max_norm`: DINO's `clip_gradients`, not the global norm."""
    grads = [p.grad for p in parameters if p.grad is not None]
    for grad, norm in zip(grads, torch._foreach_norm(grads), strict=True):
        grad.mul_((max_norm / (norm + 1e-6)).clamp(max=1.0))
