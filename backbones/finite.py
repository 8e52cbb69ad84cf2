"""Numbers that are none: weights and features that are not finite are refused, by name, wherever they would make a score."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

# The squares of a token's numbers (768 in ViT-B) are added up in float32, which ends at 3.4e38: above it, a layer norm and a cosine
# answer with zeros instead of an overflow that could be seen.
LARGEST = 1e17


class NotFinite(ValueError, FloatingPointError):
    """Numbers that no score can be made of; the sentence says whose."""


def check_weights(tensors: Mapping[str, Tensor], place: str, advice: str = "") -> None:
    """Raise `NotFinite` for the first tensor with a value that is not finite; `place` says what the tensors are of."""
    for name, tensor in tensors.items():
        if wrong := num_not_finite(tensor):
            raise NotFinite(
                f"{place}: tensor {name} has {wrong} of {tensor.numel()} values that are not finite (NaN or Inf){advice}"
            )


def num_not_finite(tensor: Tensor) -> int:
    """How many values are NaN or infinite; none of whole numbers. Where their sum is finite, one pass is enough."""
    if not tensor.is_floating_point() or bool(torch.isfinite(tensor.sum())):
        return 0
    return int((~torch.isfinite(tensor)).sum())


def checked(values: Tensor, what: str) -> Tensor:
    """The values. Raises `NotFinite` where one is not finite, or too large to be squared."""
    if values.numel() and not in_range(values):
        raise NotFinite(f"{what}: {said_of(values)}")
    return values


def in_range(values: Tensor) -> bool:
    """Whether all are finite and at most `LARGEST`: one pass, and one number that a GPU hands over."""
    low, high = (end.float() for end in values.detach().aminmax())
    return bool((low >= -LARGEST) & (high <= LARGEST))  # NaN is neither


def said_of(values: Tensor) -> str:
    """What is wrong with values that are not in range."""
    if wrong := num_not_finite(values):
        return f"{wrong} of {values.numel()} values are not finite (NaN or Inf); expected an encoder that gives finite numbers"
    most = f"values up to {values.abs().max():.1e}, whose squares overflow"
    return f"{most}; expected an encoder that gives numbers below {LARGEST:.0e}"


def usable(tokens: Tensor, training: bool) -> Tensor:
    """Tokens before the final norm, which would make zeros of what is too large. Raises `NotFinite`; in training they are NaN."""
    if training and not in_range(tokens):
        return tokens * torch.nan
    return tokens if training else checked(tokens, "tokens of the encoder before its final norm")


def watched(encoder: nn.Module) -> list[RemovableHandle]:
    """From now on a forward pass of the encoder raises `NotFinite` where its tokens cannot be used; `remove` ends that.

    Looked at are what the final norm takes and gives, whoever calls it (`intermediate`, or an evaluation block by block), and what
    the encoder answers, queries and keys among it. In training mode nothing is raised: the tokens become NaN, and so does the loss,
    which its training looks at in all processes together. A deep copy of the encoder is watched, too.
    """
    handles = [encoder.register_forward_hook(_look_at_answer)]
    if isinstance(norm := getattr(encoder, "norm", None), nn.Module):
        handles += [norm.register_forward_pre_hook(_look_before_norm), norm.register_forward_hook(_look_at_answer)]
    return handles


def _look_before_norm(norm: nn.Module, given: tuple[Any, ...]) -> tuple[Tensor]:
    (tokens,) = given
    return (usable(tokens, norm.training),)


def _look_at_answer(module: nn.Module, _: Any, answer: Any) -> None:
    for tensor in () if module.training else _tensors(answer):
        checked(tensor, "features of the encoder")


def _tensors(found: Any) -> Iterable[Tensor]:
    """Floating-point tensors, alone or in a tuple of them."""
    parts = found if isinstance(found, tuple | list) else (found,)
    return [part for part in parts if isinstance(part, Tensor) and part.is_floating_point()]
