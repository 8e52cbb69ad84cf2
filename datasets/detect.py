"""Name the objects of a frame, for the x-ray of a data set: labels from a detector or from truth, or a count of regions.

The paper counts with Detic, trained on ImageNet-21k (Figure 2). Whoever has it, or any other detector, names a function with
`analyze.detector=package.module:function`; it takes an RGB image and returns the labels of its objects.
"""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

from longtake.datasets.sources.base import Truth

Image = UInt8[np.ndarray, "h w 3"]
Detector = Callable[[Image, int], Sequence[str]]  # RGB image, number of the stored frame: a label per object

MIN_SCORE = 0.5  # of a torchvision detection
REGION_SIDE, REGION_SHARE = 120, 0.005  # pixels of the shorter side; the share of the picture that makes a region count


def detector_of(name: str, truth: Truth | None) -> tuple[Detector, str]:
    """A detector by its name and a sentence on what it counts.

    `auto` is the truth where there is one, of a rendered world, else torchvision's detector when its weights are on this machine,
    else `regions`.
    Raises `ValueError` for an unknown name, or weights that are not there.
    """
    weights = _weights()
    if name == "auto":
        name = "truth" if truth else "fasterrcnn" if weights.is_file() else "regions"
    if name == "truth":
        if truth is None:
            raise ValueError("analyze.detector=truth needs a rendered world: pretrain=mini")
        return _truth(truth), "objects of the renderer, of which at least a tenth is visible"
    if name == "fasterrcnn":
        if not weights.is_file():
            raise ValueError(
                f"analyze.detector=fasterrcnn needs its weights at {weights}; analyze.detector=regions needs none"
            )
        return _fasterrcnn(), "objects of the 80 COCO classes (torchvision's Faster R-CNN, MobileNetV3)"
    if name == "regions":
        return regions, "regions of similar colour, a proxy without labels: no detector's weights were found"
    if ":" in name:
        module, function = name.split(":", 1)
        found = getattr(importlib.import_module(module), function)
        return (lambda image, frame: found(image)), f"objects of {name}"
    raise ValueError(
        f"analyze.detector: got {name!r}, expected auto, truth, fasterrcnn, regions or package.module:function"
    )


def regions(image: Image, frame: int = 0) -> list[str]:
    """One label `region` for each connected region of similar colour that is not tiny: smoothed, 6 levels per channel of Lab."""
    scale = REGION_SIDE / min(image.shape[:2])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(cv2.bilateralFilter(small, 9, 40, 9), cv2.COLOR_RGB2LAB)
    levels = (lab.astype(np.int32) // 43) @ np.array([36, 6, 1])
    count = 0
    for level in np.unique(levels):
        _, _, stats, _ = cv2.connectedComponentsWithStats((levels == level).astype(np.uint8), connectivity=4)
        count += int((stats[1:, cv2.CC_STAT_AREA] >= REGION_SHARE * levels.size).sum())
    return ["region"] * count


def _truth(truth: Truth) -> Detector:
    visible = truth.visible >= 0.1
    frames, classes = truth.frame[visible], truth.class_index[visible]
    first = np.searchsorted(frames, np.arange(frames.max() + 2))

    def detect(image: Image, frame: int) -> list[str]:
        return [truth.classes[i] for i in classes[first[frame] : first[frame + 1]]]

    return detect


def _weights() -> Path:
    from torchvision.models.detection import FasterRCNN_MobileNet_V3_Large_320_FPN_Weights as Weights

    return Path(torch.hub.get_dir()) / "checkpoints" / Path(Weights.DEFAULT.url).name


def _fasterrcnn() -> Detector:
    from torchvision.models import detection

    weights = detection.FasterRCNN_MobileNet_V3_Large_320_FPN_Weights.DEFAULT
    model = detection.fasterrcnn_mobilenet_v3_large_320_fpn(weights=weights).eval()

    @torch.no_grad()
    def detect(image: Image, frame: int) -> list[str]:
        found = model([torch.from_numpy(image).permute(2, 0, 1).float() / 255])[0]
        return [weights.meta["categories"][i] for i in found["labels"][found["scores"] >= MIN_SCORE]]

    return detect
