"""UperNet on the encoder, fine-tuned for semantic segmentation (the ADE20K columns of https://arxiv.org/abs/2310.08584).

The model is mmsegmentation's: our ViT with the pyramid (downstream/mm.py), UPerHead, an auxiliary FCNHead. Recipe and model
settings are those of iBOT's evaluation (https://github.com/bytedance/ibot, evaluation/semantic_segmentation); the paper's B.3
changes the optimiser. The score is mmsegmentation's IoUMetric, counted in whole numbers.
"""

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Int, UInt8

from longtake.console import progress_bar
from longtake.datasets.ade20k import ADE20K
from longtake.datasets.benchmarks import content_of_ade20k, missing_ade20k, open_ade20k
from longtake.datasets.content import Content
from longtake.datasets.pictures import read_rgb
from longtake.downstream import mm
from longtake.downstream.base import Encoder, save_outcomes, say_unscored
from longtake.downstream.dense import MEAN, STD, DenseTuning
from longtake.downstream.gallery import Gallery, painted
from longtake.downstream.miou import NO_LABEL, confusion, image_accuracies, image_ious, of_labelled
from longtake.downstream.tuning import polynomial
from longtake.parallel import collected, is_first, part_of, summed

CHANNELS, AUX_CHANNELS, AUX_WEIGHT = 384, 256, 0.4  # vit_small_512_ade20k_160k.py
POOL_SCALES, DROPOUT = (1, 2, 3, 6), 0.1
RATIOS, CAT_MAX_RATIO = (0.5, 2.0), 0.75  # _base_/datasets/ade20k.py
NAMED = 3  # masks that are wrong
ASPECT = 4  # the longer side is at most this many times the crop: 2048 for 512


@dataclass(kw_only=True)
class UperNet(DenseTuning, name="upernet"):
    """mIoU and mean accuracy after fine-tuning. One item is one image, and what it adds (miou.py); images' counts are kept."""

    metrics: ClassVar[tuple[str, ...]] = ("miou", "macc")
    scope: ClassVar[str] = "mmseg"

    train_list: str = "training"
    test_list: str = "validation"
    crop: int = 512
    stride: int = 341
    slide: bool = True
    channels: int = CHANNELS
    ratios: list[float] = dataclasses.field(default_factory=lambda: list(RATIOS))  # of a training image's size
    distort: bool = True  # brightness, contrast, saturation, hue of training images

    def check(self) -> list[str]:
        return super().check() + missing_ade20k(self.root, (self.train_list, self.test_list))

    def data(self) -> Content:
        return content_of_ade20k(self.root, (self.train_list, self.test_list))

    def validate(self) -> list[str]:
        return open_ade20k(self.root, self.progress).validate((self.train_list, self.test_list), self.progress)

    def evaluate(self, encoder: Encoder, workdir: Path) -> dict[str, float]:
        data = open_ade20k(self.root, self.progress)
        self.check_masks(data)
        config = self.model_config(encoder, data.num_classes)
        dataset = self.dataset_config(data, self.train_list, self.train_pipeline())
        factor = polynomial(self.iterations, self.warmup)
        model = self.tuned(encoder, config, dataset, data.names(self.train_list), factor, workdir)
        counts = self.counts(model, data, workdir)
        if is_first():
            np.savez_compressed(workdir / "images.npz", names=data.names(self.test_list), confusion=counts)
        names, labelled = data.names(self.test_list), counts.sum((1, 2)) > 0
        say_unscored([n for n, there in zip(names, labelled, strict=True) if not there], len(names), NO_LABEL)
        scores = {"miou": image_ious, "macc": image_accuracies}
        outcomes = {metric: of_labelled(labelled, score, counts) for metric, score in scores.items()}
        return save_outcomes(workdir, names, outcomes)

    def check_masks(self, data: ADE20K) -> None:
        """Raise `ValueError` for a mask that would end the training, or the scoring after it; minutes for the original."""
        names = [name for split in (self.train_list, self.test_list) for name in data.names(split)]
        with progress_bar(self.progress and is_first()) as bar:
            wrong = collected(data.wrong_masks(bar.track(part_of(names), description="masks")))
        if wrong:
            raise ValueError(f"{len(wrong)} of {len(names)} masks: {'; '.join(wrong[:NAMED])}")

    def counts(self, model: Any, data: ADE20K, workdir: Path) -> Int[np.ndarray, "n c c"]:
        """The confusion of every test image, at its own size."""
        names = data.names(self.test_list)
        samples = mm.build_dataset("mmseg", self.dataset_config(data, self.test_list, self.test_pipeline()))
        found = torch.zeros(len(names), data.num_classes, data.num_classes, dtype=torch.int64)
        mine = part_of(range(len(names)))
        gallery = Gallery(workdir / "upernet.jpg", self.gallery and is_first(), len(mine))
        with progress_bar(self.progress and is_first()) as bar:
            task = bar.add_task("segmentation", total=len(mine))
            for index, sample in mm.predictions(model, samples, mine, self.num_workers):
                predicted = sample.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8)
                found[index] = torch.from_numpy(confusion(data.mask(names[index]), predicted, data.num_classes))
                image, shown = data.image(names[index]), predicted + np.uint8(1)
                gallery.add(partial(drawn, image, shown))
                bar.advance(task)
        gallery.save()
        return summed(found).numpy()

    def model_config(self, encoder: Encoder, num_classes: int) -> dict[str, Any]:
        """mmsegmentation's EncoderDecoder."""
        norm = {"type": mm.norm_type(), "requires_grad": True}
        common = {"num_classes": num_classes, "norm_cfg": norm, "align_corners": False, "dropout_ratio": DROPOUT}
        loss = {"type": "CrossEntropyLoss", "use_sigmoid": False}
        dim = encoder.embed_dim
        decode = {
            "type": "UPerHead", "in_channels": [dim] * 4, "in_index": [0, 1, 2, 3], "pool_scales": POOL_SCALES,
            "channels": self.channels, "loss_decode": {**loss, "loss_weight": 1.0}, **common,
        }  # fmt: skip
        auxiliary = {
            "type": "FCNHead", "in_channels": dim, "in_index": 2, "channels": min(AUX_CHANNELS, self.channels), "num_convs": 1,
            "concat_input": False, "loss_decode": {**loss, "loss_weight": AUX_WEIGHT}, **common,
        }  # fmt: skip
        preprocessor = {
            "type": "SegDataPreProcessor", "mean": MEAN, "std": STD, "bgr_to_rgb": True, "pad_val": 0, "seg_pad_val": 255,
            "size": (self.crop, self.crop), "test_cfg": {"size_divisor": encoder.patch_size},
        }  # fmt: skip
        sliding = {"mode": "slide", "crop_size": (self.crop, self.crop), "stride": (self.stride, self.stride)}
        test = sliding if self.slide else {"mode": "whole"}
        heads = {"decode_head": decode, "auxiliary_head": auxiliary}
        return {"type": "EncoderDecoder", "data_preprocessor": preprocessor, **heads, "train_cfg": {}, "test_cfg": test}

    def dataset_config(self, data: ADE20K, split: str, pipeline: list[dict[str, Any]]) -> dict[str, Any]:
        """mmsegmentation's records: each picture with its mask, in the order of `data.names`."""
        common: dict[str, Any] = {"label_map": None, "reduce_zero_label": True, "seg_fields": []}
        pairs = [(str(data.image(name)), str(data.mask_file(name))) for name in data.names(split)]
        records = [{"img_path": picture, "seg_map_path": mask, **common} for picture, mask in pairs]
        return {"records": records, "pipeline": pipeline}

    @property
    def scale(self) -> tuple[int, int]:
        return ASPECT * self.crop, self.crop

    def train_pipeline(self) -> list[dict[str, Any]]:
        """iBOT's _base_/datasets/ade20k.py in mmsegmentation 1.x."""
        return [
            {"type": "ReadImage"},
            {"type": "LoadAnnotations"},
            {"type": "RandomResize", "scale": self.scale, "ratio_range": tuple(self.ratios), "keep_ratio": True},
            {"type": "RandomCrop", "crop_size": (self.crop, self.crop), "cat_max_ratio": CAT_MAX_RATIO},
            {"type": "RandomFlip", "prob": 0.5},
            *([{"type": "PhotoMetricDistortion"}] if self.distort else []),
            {"type": "PackSegInputs"},
        ]

    def test_pipeline(self) -> list[dict[str, Any]]:
        """One scale, no flip; the truth is read apart, at its own size."""
        resize = {"type": "Resize", "scale": self.scale, "keep_ratio": True}
        return [{"type": "ReadImage"}, resize, {"type": "PackSegInputs"}]


def drawn(image: Path, numbers: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "rows columns 3"]:
    """A picture of the gallery; each class has its colour."""
    return painted(read_rgb(image).permute(1, 2, 0).numpy(), numbers)
