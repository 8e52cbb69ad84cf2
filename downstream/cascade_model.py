"""Cascade Mask R-CNN as a config of mmdetection, with the settings of iBOT's detection (https://github.com/bytedance/ibot,
evaluation/object_detection, vit_small_giou_4conv1f_coco_3x.py): class-specific boxes, GIoU on decoded boxes, 4conv1fc heads.
"""

from dataclasses import dataclass
from typing import Any

STAGES = (
    (0.5, 1.0, (0.1, 0.1, 0.2, 0.2)),
    (0.6, 0.5, (0.05, 0.05, 0.1, 0.1)),
    (0.7, 0.25, (0.033, 0.033, 0.067, 0.067)),
)
"""Of each stage: overlap from which a region is an object, weight of its loss, deviations of the box coder."""

STRIDES = (4, 8, 16, 32, 64)
GIOU_WEIGHT, BETA = 10.0, 1 / 9
BOX_REGION, MASK_REGION = 7, 14  # cells of a region for the box and the mask heads


@dataclass(frozen=True)
class Widths:
    """Sizes of the parts; the defaults are the paper's (B.3)."""

    fpn: int = 256
    fc: int = 1024
    num_convs: int = 4
    train_proposals: int = 2000
    test_proposals: int = 1000
    rpn_samples: int = 256
    roi_samples: int = 512
    anchor_scale: int = 8
    finest_scale: int = 56  # pixels; regions below twice that are read from the map of stride 4
    sampling_ratio: int = 0  # samples along a cell of a region; 0: as many as the map has there


def cascade_config(dim: int, num_classes: int, norm: dict[str, Any], widths: Widths) -> dict[str, Any]:
    """mmdetection's CascadeRCNN without backbone and preprocessor; `dim` is the width of the four maps of the pyramid."""
    return {
        "type": "CascadeRCNN",
        "neck": {"type": "FPN", "in_channels": [dim] * 4, "out_channels": widths.fpn, "num_outs": 5},
        "rpn_head": _rpn_head(widths),
        "roi_head": _roi_head(num_classes, norm, widths),
        "train_cfg": _train_config(widths),
        "test_cfg": {
            "rpn": _proposals(widths.test_proposals),
            "rcnn": {"score_thr": 0.05, "nms": _nms(0.5), "max_per_img": 100, "mask_thr_binary": 0.5},
        },
    }


def _rpn_head(widths: Widths) -> dict[str, Any]:
    anchors = {
        "type": "AnchorGenerator",
        "scales": [widths.anchor_scale],
        "ratios": [0.5, 1.0, 2.0],
        "strides": list(STRIDES),
    }
    return {
        "type": "RPNHead", "in_channels": widths.fpn, "feat_channels": widths.fpn, "anchor_generator": anchors,
        "bbox_coder": _coder((1.0, 1.0, 1.0, 1.0)),
        "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
        "loss_bbox": {"type": "SmoothL1Loss", "beta": BETA, "loss_weight": 1.0},
    }  # fmt: skip


def _roi_head(num_classes: int, norm: dict[str, Any], widths: Widths) -> dict[str, Any]:
    return {
        "type": "CascadeRoIHead",
        "num_stages": len(STAGES),
        "stage_loss_weights": [weight for _, weight, _ in STAGES],
        "bbox_roi_extractor": _extractor(BOX_REGION, widths),
        "bbox_head": [_box_head(num_classes, norm, widths, stds) for *_, stds in STAGES],
        "mask_roi_extractor": _extractor(MASK_REGION, widths),
        "mask_head": {
            "type": "FCNMaskHead", "num_convs": widths.num_convs, "in_channels": widths.fpn,
            "conv_out_channels": widths.fpn, "num_classes": num_classes,
            "loss_mask": {"type": "CrossEntropyLoss", "use_mask": True, "loss_weight": 1.0},
        },
    }  # fmt: skip


def _box_head(num_classes: int, norm: dict[str, Any], widths: Widths, stds: tuple[float, ...]) -> dict[str, Any]:
    return {
        "type": "ConvFCBBoxHead", "num_shared_convs": widths.num_convs, "num_shared_fcs": 1, "in_channels": widths.fpn,
        "conv_out_channels": widths.fpn, "fc_out_channels": widths.fc, "roi_feat_size": BOX_REGION,
        "num_classes": num_classes, "bbox_coder": _coder(stds), "reg_class_agnostic": False, "reg_decoded_bbox": True,
        "norm_cfg": norm,
        "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0},
        "loss_bbox": {"type": "GIoULoss", "loss_weight": GIOU_WEIGHT},
    }  # fmt: skip


def _extractor(size: int, widths: Widths) -> dict[str, Any]:
    align = {"type": "RoIAlign", "output_size": size, "sampling_ratio": widths.sampling_ratio}
    return {
        "type": "SingleRoIExtractor",
        "roi_layer": align,
        "out_channels": widths.fpn,
        "featmap_strides": list(STRIDES[:4]),
        "finest_scale": widths.finest_scale,
    }


def _train_config(widths: Widths) -> dict[str, Any]:
    rpn = {
        "assigner": _assigner(0.7, 0.3, 0.3, match_low_quality=True),
        "sampler": _sampler(widths.rpn_samples, 0.5, truth=False),
        "allowed_border": 0, "pos_weight": -1, "debug": False,
    }  # fmt: skip
    stages = [
        {
            "assigner": _assigner(overlap, overlap, overlap, match_low_quality=False),
            "sampler": _sampler(widths.roi_samples, 0.25, truth=True),
            "mask_size": 28, "pos_weight": -1, "debug": False,
        }
        for overlap, _, _ in STAGES
    ]  # fmt: skip
    return {"rpn": rpn, "rpn_proposal": _proposals(widths.train_proposals), "rcnn": stages}


def _assigner(positive: float, negative: float, least: float, *, match_low_quality: bool) -> dict[str, Any]:
    overlaps = {"pos_iou_thr": positive, "neg_iou_thr": negative, "min_pos_iou": least}
    return {"type": "MaxIoUAssigner", **overlaps, "match_low_quality": match_low_quality, "ignore_iof_thr": -1}


def _sampler(number: int, positive: float, *, truth: bool) -> dict[str, Any]:
    return {
        "type": "RandomSampler", "num": number, "pos_fraction": positive, "neg_pos_ub": -1, "add_gt_as_proposals": truth,
    }  # fmt: skip


def _proposals(number: int) -> dict[str, Any]:
    return {"nms_pre": number, "max_per_img": number, "nms": _nms(0.7), "min_bbox_size": 0}


def _nms(overlap: float) -> dict[str, Any]:
    return {"type": "nms", "iou_threshold": overlap}


def _coder(stds: tuple[float, ...]) -> dict[str, Any]:
    return {"type": "DeltaXYWHBBoxCoder", "target_means": [0.0] * 4, "target_stds": list(stds)}
