"""Cascade Mask R-CNN on the encoder, fine-tuned for detection and instance segmentation (the COCO columns of
https://arxiv.org/abs/2310.08584; what its tables call mIoU there is the AP of masks).

The model is mmdetection's (downstream/cascade_model.py) on our ViT with the pyramid, from the blocks' raw tokens: iBOT's detection
has no final norm on them. Recipe: iBOT's 1x schedule. Nothing is chosen on the test images.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from jaxtyping import UInt8

from longtake.console import progress_bar
from longtake.datasets.benchmarks import content_of_coco, missing_coco, open_coco
from longtake.datasets.coco import COCO, classes_of
from longtake.datasets.content import Content
from longtake.datasets.palette import PALETTE
from longtake.datasets.pictures import read_rgb
from longtake.downstream import mm
from longtake.downstream.base import Encoder, save_outcomes, say_unscored
from longtake.downstream.cascade_model import Widths, cascade_config
from longtake.downstream.cascade_records import records_of, trained_images
from longtake.downstream.coco_eval import evaluate_coco, run_length
from longtake.downstream.dense import MEAN, STD, DenseTuning
from longtake.downstream.gallery import Gallery
from longtake.downstream.tuning import steps
from longtake.parallel import collected, is_first, part_of

DIVISOR = 32  # images are padded to a multiple of it
LEAST_SIDE = 32  # of an image that is trained on
SHOWN_FROM = 0.3  # score of an object in the gallery


@dataclass(kw_only=True)
class CascadeMaskRCNN(DenseTuning, name="cascade_mask_rcnn"):
    """AP of boxes and of masks. One item is one class: intervals are over classes."""

    metrics: ClassVar[tuple[str, ...]] = (
        "coco_bbox_AP", "coco_segm_AP", "coco_bbox_AP50", "coco_segm_AP50", "coco_bbox_AP75", "coco_segm_AP75",
    )  # fmt: skip
    primary: ClassVar[tuple[str, ...]] = ("coco_bbox_AP", "coco_segm_AP")
    scope: ClassVar[str] = "mmdet"

    train_split: str = "train2017"
    test_split: str = "val2017"
    norm: bool = False
    milestones: list[int] = dataclasses.field(default_factory=list)  # iterations after which the rate is a tenth
    long_side: int = 1333
    train_short: list[int] = dataclasses.field(default_factory=lambda: list(range(480, 801, 32)))
    test_short: int = 800
    crop_short: list[int] = dataclasses.field(default_factory=lambda: [400, 500, 600])  # []: no crops
    crop_range: list[int] = dataclasses.field(default_factory=lambda: [384, 600])
    widths: dict[str, int] = dataclasses.field(default_factory=dict)  # see cascade_model.Widths

    def check(self) -> list[str]:
        Widths(**self.widths)
        return super().check() + missing_coco(self.root, (self.train_split, self.test_split), self.check_trained)

    def check_trained(self, data: COCO, split: str, content: dict[str, Any]) -> None:
        """Raise `ValueError` for annotations of the training split that leave nothing to train on."""
        if split == self.train_split:
            trained_images(content, LEAST_SIDE, data.annotation_file(split))

    def data(self) -> Content:
        return content_of_coco(self.root, (self.train_split, self.test_split))

    def validate(self) -> list[str]:
        return open_coco(self.root, self.progress).validate((self.train_split, self.test_split), self.progress)

    def evaluate(self, encoder: Encoder, workdir: Path) -> dict[str, float]:
        data = open_coco(self.root, self.progress)
        truth = data.read(self.test_split)
        classes = classes_of(truth)
        say_unscored(
            without_object(truth, self.test_split), len(classes), f"classes have no object in {self.test_split}"
        )
        config = self.model_config(encoder, len(classes))
        dataset = self.dataset_config(data, self.train_split, classes, self.train_pipeline())
        items = [image["file_name"] for image in data.read(self.train_split)["images"]]
        model = self.tuned(encoder, config, dataset, items, steps(self.milestones, self.warmup), workdir)
        results = self.detections(model, data, classes, workdir)
        outcomes = self.scores(truth, results)
        if is_first():
            (workdir / "detections.json").write_text(json.dumps(results))
        return save_outcomes(workdir, list(classes.values()), outcomes)

    def scores(self, truth: dict[str, Any], results: list[dict[str, Any]]) -> dict[str, np.ndarray]:
        """Return the scores of each class, in the order of the class numbers."""
        outcomes = {}
        for kind in ("bbox", "segm"):
            of_class = evaluate_coco(truth, results, kind).classes
            columns = np.array([of_class[number] for number in classes_of(truth)]).T
            for suffix, column in zip(("AP", "AP50", "AP75"), columns, strict=True):
                outcomes[f"coco_{kind}_{suffix}"] = column
        return {metric: outcomes[metric] for metric in self.metrics}

    def detections(self, model: Any, data: COCO, classes: dict[int, str], workdir: Path) -> list[dict[str, Any]]:
        """All objects found in the test images, as COCO's result format has them."""
        numbers = list(classes)
        samples = mm.build_dataset(
            "mmdet", self.dataset_config(data, self.test_split, classes, self.test_pipeline(), test=True)
        )
        mine = part_of(range(len(samples)))
        gallery = Gallery(workdir / "cascade_mask_rcnn.jpg", self.gallery and is_first(), len(mine))
        results: list[dict[str, Any]] = []
        with progress_bar(self.progress and is_first()) as bar:
            task = bar.add_task("detection", total=len(mine))
            for index, sample in mm.predictions(model, samples, mine, self.num_workers):
                found, info = sample.pred_instances.cpu().numpy(), samples.get_data_info(index)
                results += instances(found, info["img_id"], numbers)
                gallery.add(lambda: drawn(Path(info["img_path"]), found))  # noqa: B023 - called at once
                bar.advance(task)
        gallery.save()
        return collected(results)

    def model_config(self, encoder: Encoder, num_classes: int) -> dict[str, Any]:
        preprocessor = {
            "type": "DetDataPreprocessor", "mean": MEAN, "std": STD, "bgr_to_rgb": True, "pad_mask": True,
            "pad_size_divisor": DIVISOR,
        }  # fmt: skip
        norm = {"type": mm.norm_type(), "requires_grad": True}
        config = cascade_config(encoder.embed_dim, num_classes, norm, Widths(**self.widths))
        return {**config, "data_preprocessor": preprocessor}

    def dataset_config(
        self, data: COCO, split: str, classes: dict[int, str], pipeline: list[dict[str, Any]], test: bool = False
    ) -> dict[str, Any]:
        """mmdetection's records of the images that are trained on, or of all where they are a `test`."""
        content = data.read(split)
        kept = content["images"] if test else trained_images(content, LEAST_SIDE, data.annotation_file(split))
        return {"records": records_of(content, kept, data.images(split), list(classes)), "pipeline": pipeline}

    def train_pipeline(self) -> list[dict[str, Any]]:
        """iBOT's: a random scale, or with equal chance a scale, a crop and a scale."""
        resize = self._choice(self.train_short, self.long_side)
        sizes: list[dict[str, Any]] = [resize]
        if self.crop_short:
            crop = {"type": "RandomCrop", "crop_type": "absolute_range", "crop_size": tuple(self.crop_range)}
            larger = self._choice(self.crop_short, 4200)  # a bound that no image meets, as in iBOT's config
            ways: list[list[dict[str, Any]]] = [[resize], [larger, {**crop, "allow_negative_crop": True}, resize]]
            sizes = [{"type": "RandomChoice", "transforms": ways}]
        load: list[dict[str, Any]] = [
            {"type": "ReadImage"},
            {"type": "LoadAnnotations", "with_bbox": True, "with_mask": True},
        ]
        return [*load, {"type": "RandomFlip", "prob": 0.5}, *sizes, {"type": "PackDetInputs"}]

    def test_pipeline(self) -> list[dict[str, Any]]:
        keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
        resize = {"type": "Resize", "scale": (self.long_side, self.test_short), "keep_ratio": True}
        pack = {"type": "PackDetInputs", "meta_keys": keys}
        return [{"type": "ReadImage"}, resize, pack]

    def _choice(self, short: list[int], long_side: int) -> dict[str, Any]:
        return {"type": "RandomChoiceResize", "scales": [(long_side, s) for s in short], "keep_ratio": True}


def without_object(truth: dict[str, Any], split: str) -> list[str]:
    """Names of the classes that cannot be scored: crowds are no objects. Raises `ValueError` where there is no other."""
    there = {annotation["category_id"] for annotation in truth["annotations"] if not annotation.get("iscrowd")}
    if not there:
        raise ValueError(f"{split}: {len(truth['annotations'])} annotations, all of them crowds: nothing can be scored")
    return [name for number, name in classes_of(truth).items() if number not in there]


def instances(found: Any, image_id: int, numbers: list[int]) -> list[dict[str, Any]]:
    """The objects of one image in COCO's result format; `numbers` are those of the classes."""
    results = []
    for box, score, label, mask in zip(found.bboxes, found.scores, found.labels, found.masks, strict=True):
        x0, y0, x1, y1 = (float(v) for v in box)
        about = {"image_id": image_id, "category_id": numbers[int(label)], "score": float(score)}
        results.append({**about, "bbox": [x0, y0, x1 - x0, y1 - y0], "segmentation": run_length(mask.astype(np.uint8))})
    return results


def drawn(path: Path, found: Any) -> UInt8[np.ndarray, "h w 3"]:
    """A picture with the masks and boxes of the surer objects, a colour for each class."""
    picture = np.ascontiguousarray(read_rgb(path).permute(1, 2, 0).numpy())
    for box, label, mask in zip(
        *(getattr(found, n)[found.scores >= SHOWN_FROM] for n in ("bboxes", "labels", "masks")), strict=True
    ):
        colour = PALETTE[int(label) + 1]
        picture[mask] = picture[mask] // 2 + colour // 2
        x0, y0, x1, y1 = (round(float(v)) for v in box)
        cv2.rectangle(picture, (x0, y0), (x1, y1), colour.tolist(), 1)
    return picture
