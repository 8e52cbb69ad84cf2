"""The colour operators of `augment` for one frame on a CPU, with OpenCV: several times as fast there, equal but for rounding.

A frame is an array (h, w, 3), float32, RGB in [0, 1], and is changed in place.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from longtake.datasets.augment import LUMA, Colours, blur_radius
from longtake.datasets.pictures import IMAGENET_MEAN, IMAGENET_STD

# A frame is too small to share, and threads of OpenCV do not survive the fork that makes a data worker.
cv2.setNumThreads(0)

Frame = Float32[np.ndarray, "h w 3"]
TO_LUMA = np.array([LUMA], np.float32)


def coloured(frames: UInt8[Tensor, "t 3 h w"], colours: Colours) -> Float[Tensor, "t 3 h w"]:
    """Apply `augment.Colours` with OpenCV, like `augment.coloured`."""
    out = np.empty(frames.shape, np.float32)
    images = frames.permute(0, 2, 3, 1).numpy()
    for i, image in enumerate(images):
        x = np.empty(image.shape, np.float32)
        np.multiply(image, np.float32(1 / 255), out=x)
        if colours.jitter[i]:
            for op in colours.order[i].tolist():
                JITTER[op](x, float(colours.factors[op, i]))
        if colours.gray[i]:
            grayscale(x)
        if colours.blur[i]:
            gaussian_blur(x, float(colours.sigma[i]), colours.max_sigma)
        if colours.solarize[i]:
            solarize(x)
        normalize(x)
        for channel in range(3):
            cv2.extractChannel(x, channel, out[i, channel])
    return torch.from_numpy(out)


def luma(x: Frame) -> Float32[np.ndarray, "h w"]:
    return cv2.transform(x, TO_LUMA)


def grayscale(x: Frame) -> None:
    gray = luma(x)
    cv2.merge([gray, gray, gray], x)


def brightness(x: Frame, factor: float) -> None:
    np.multiply(x, np.float32(factor), out=x)
    np.minimum(x, 1, out=x)


def contrast(x: Frame, factor: float) -> None:
    mean = luma(x).mean(dtype=np.float64)
    np.multiply(x, np.float32(factor), out=x)
    np.add(x, np.float32((1 - factor) * mean), out=x)
    np.clip(x, 0, 1, out=x)


def saturation(x: Frame, factor: float) -> None:
    cv2.transform(x, (factor * np.eye(3) + (1 - factor) * TO_LUMA).astype(np.float32), x)
    np.clip(x, 0, 1, out=x)


def hue(x: Frame, shift: float) -> None:
    hsv = cv2.cvtColor(x, cv2.COLOR_RGB2HSV)  # hue in degrees; beyond a full circle it begins anew
    cv2.cvtColor(cv2.add(hsv, np.array([360 * (shift % 1), 0, 0, 0])), cv2.COLOR_HSV2RGB, x)


def gaussian_blur(x: Frame, sigma: float, max_sigma: float = 2.0) -> None:
    radius = blur_radius(max_sigma, *x.shape[:2])
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-6)) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    cv2.sepFilter2D(x, -1, kernel, kernel, x, borderType=cv2.BORDER_REFLECT_101)


def solarize(x: Frame, threshold: float = 128 / 255) -> None:
    np.subtract(1, x, out=x, where=x >= threshold)


def normalize(x: Frame, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD) -> None:
    scale, shift = 1 / np.array(std), -np.array(mean) / np.array(std)
    cv2.transform(x, np.column_stack([np.diag(scale), shift]).astype(np.float32), x)


JITTER = (brightness, contrast, saturation, hue)
