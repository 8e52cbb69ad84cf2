"""The operators of `mmcv._ext` that mmsegmentation and mmdetection need, by torchvision: non-maximum suppression and RoI alignment.

Where no compiled extension is installed (mmcv-lite), a module of that name has them; every other operator raises when it is called.
"""

import sys
import types
from collections.abc import Callable
from importlib.util import find_spec

import torch
import torchvision
from jaxtyping import Float, Int
from torch import Tensor

EXTENSION = "mmcv._ext"


def nms(
    bboxes: Float[Tensor, "n 4"], scores: Float[Tensor, "n"], *, iou_threshold: float, offset: int
) -> Int[Tensor, "kept"]:
    """Boxes kept, best first. Raises `NotImplementedError` for boxes whose ends count as inclusive (`offset` 1)."""
    if offset:
        raise NotImplementedError("nms with offset=1 needs a compiled mmcv")
    return torchvision.ops.nms(bboxes, scores, iou_threshold)


def roi_align_forward(
    features: Float[Tensor, "b c h w"], rois: Float[Tensor, "r 5"], output: Float[Tensor, "r c rows columns"], *unused: Tensor,
    aligned_height: int, aligned_width: int, spatial_scale: float, sampling_ratio: int, pool_mode: int, aligned: bool,
) -> None:  # fmt: skip
    """Averages of bilinear samples, written into `output`. Raises `NotImplementedError` for maxima (`pool_mode` 0)."""
    _averages(pool_mode)
    size = (aligned_height, aligned_width)
    output.copy_(torchvision.ops.roi_align(features, rois, size, spatial_scale, sampling_ratio, aligned))


def roi_align_backward(
    grad_output: Float[Tensor, "r c rows columns"], rois: Float[Tensor, "r 5"], argmax_y: Tensor, argmax_x: Tensor,
    grad_input: Float[Tensor, "b c h w"], *, aligned_height: int, aligned_width: int, spatial_scale: float,
    sampling_ratio: int, pool_mode: int, aligned: bool,
) -> None:  # fmt: skip
    """The gradient of `roi_align_forward`, written into `grad_input`."""
    _averages(pool_mode)
    scale_and_size = (spatial_scale, aligned_height, aligned_width)
    backward = torch.ops.torchvision._roi_align_backward
    grad_input.copy_(backward(grad_output, rois, *scale_and_size, *grad_input.shape, sampling_ratio, aligned))


def _averages(pool_mode: int) -> None:
    if pool_mode == 0:
        raise NotImplementedError("roi_align with pool_mode=max needs a compiled mmcv")


class _Extension(types.ModuleType):
    """Has every operator; those that torchvision lacks raise when they are called."""

    def __getattr__(self, name: str) -> Callable:
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*args: object, **kwargs: object) -> None:
            raise NotImplementedError(
                f"the operator {name} needs a compiled mmcv; this is mmcv-lite with torchvision's"
            )

        return missing


def register_extension() -> None:
    """Put the module in the place of `mmcv._ext`, unless there is a compiled one."""
    if EXTENSION in sys.modules or (find_spec("mmcv") and find_spec(EXTENSION)):
        return
    module = _Extension(EXTENSION)
    module.nms, module.roi_align_forward, module.roi_align_backward = nms, roi_align_forward, roi_align_backward  # type: ignore[attr-defined]
    sys.modules[EXTENSION] = module
