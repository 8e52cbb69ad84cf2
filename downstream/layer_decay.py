"""Layer-wise learning-rate decay: the nearer a layer is to the image, the slower it learns.

Groups as made by the optimiser constructors of iBOT's segmentation and detection (https://github.com/bytedance/ibot,
mmcv_custom/layer_decay_optimizer_constructor.py) and of BEiT's fine-tuning (https://arxiv.org/abs/2106.08254). Layer 0 is the
embedding, layer i + 1 is block i, and everything behind the blocks (final norm, pyramid, heads) is layer depth + 1, which learns
at the full rate.
"""

from typing import Any

from torch import nn

EMBEDDING = ("cls_token", "mask_token", "pos_embed", "patch_embed")
TABLES = ("pos_embed", "cls_token")  # what the constructors mean to spare the weight decay


def layer_decay_groups(
    model: nn.Module,
    depth: int,
    *,
    lr: float,
    weight_decay: float,
    rate: float = 1.0,
    prefix: str = "",
    decay_tables: bool = True,
) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser, in the order of the parameters: `lr` is the base rate times rate^(depth + 1 - layer).

    Args:
        model: holds a ViT of `depth` blocks whose parameters' names begin with `prefix` (`backbone.`); frozen ones are left out.
        decay_tables: weight decay also for positions and class token. The constructors mean to spare them but compare names
            without the prefix, so that published results of segmentation and detection have it; BEiT's fine-tuning has not.

    Each group has `name` (`layer_3_decay`, or `layer_3_no_decay` for one-dimensional parameters and biases), `params`,
    `param_names`, `lr`, `lr_scale` (for schedules that set `lr` anew) and `weight_decay`.

    Raises:
        ValueError: nothing begins with `prefix`, the blocks are not `depth`, or `rate` is not in (0, 1].
    """
    if not 0 < rate <= 1:
        raise ValueError(f"layer decay: got rate={rate}, expected a number in (0, 1]")
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        layer = layer_of(name, depth, prefix)
        if not parameter.requires_grad:
            continue
        spared = parameter.ndim == 1 or name.endswith(".bias")
        spared |= not decay_tables and name.removeprefix(prefix) in TABLES
        key, scale = f"layer_{layer}_{'no_decay' if spared else 'decay'}", rate ** (depth + 1 - layer)
        settings = {"lr": lr * scale, "lr_scale": scale, "weight_decay": 0.0 if spared else weight_decay}
        group = groups.setdefault(key, {"name": key, "params": [], "param_names": [], **settings})
        group["params"].append(parameter)
        group["param_names"].append(name)
    _check_blocks(model, depth, prefix)
    return list(groups.values())


def layer_of(name: str, depth: int, prefix: str = "") -> int:
    """Layer of a parameter, 0 to depth + 1. Raises `ValueError` for a block beyond `depth`."""
    inner = name.removeprefix(prefix) if name.startswith(prefix) else ""
    part, _, rest = inner.partition(".")
    if part in EMBEDDING:
        return 0
    if part != "blocks":
        return depth + 1
    block = int(rest.partition(".")[0])
    if block >= depth:
        raise ValueError(f"layer decay: got {name}: expected {depth} blocks")
    return block + 1


def _check_blocks(model: nn.Module, depth: int, prefix: str) -> None:
    """A wrong prefix would give every layer the full rate, without a word."""
    inner = [name.removeprefix(prefix) for name, _ in model.named_parameters() if name.startswith(prefix)]
    if not inner:
        raise ValueError(f"layer decay: got prefix={prefix!r}: no parameter of the model begins with it")
    blocks = {name.split(".")[1] for name in inner if name.startswith("blocks.")}
    if len(blocks) != depth:
        raise ValueError(f"layer decay: got {len(blocks)} blocks, expected {depth}: is the prefix {prefix!r} right?")
