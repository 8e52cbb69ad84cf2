"""UperNet and Cascade Mask R-CNN on mm* without compiled extensions: sizes of the parts, sliding windows, operators, and scores
beside the official evaluators. The first import of mm* takes seconds.
"""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from longtake.backbones.vit import ViT
from longtake.backbones.weights import architecture_of
from longtake.datasets.ade20k import write_ade20k
from longtake.datasets.coco import ImageWithObjects, Mask, write_coco
from longtake.datasets.pictures import UnreadableImage
from longtake.downstream import mm, mm_operators
from longtake.downstream.base import DOWNSTREAM
from longtake.downstream.cascade_model import Widths, cascade_config
from longtake.downstream.miou import class_ious, confusion

BN = {"type": "BN", "requires_grad": True}


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def upernet(**changes: object):
    return DOWNSTREAM["upernet"](preset="upernet", root="nowhere", progress=False, **changes)


@pytest.mark.parametrize(
    ("channels", "classes", "head", "auxiliary"), [(384, 150, 17_024_406, 923_798), (512, 21, 29_121_045, 890_645)]
)
def test_upernet_has_the_parameters_of_the_original(channels: int, classes: int, head: int, auxiliary: int) -> None:
    encoder = ViT("small", 16)
    config = upernet(channels=channels).model_config(encoder, classes)
    model = mm.build_model("mmseg", config, encoder, 0.1, [3, 5, 7, 11], True)
    assert (count(model.decode_head), count(model.auxiliary_head)) == (head, auxiliary)
    assert count(model.backbone.pyramid) == 1_771_392


def test_cascade_has_the_parameters_of_the_original() -> None:
    encoder = ViT("small", 16)
    model = mm.build_model("mmdet", cascade_config(384, 80, BN, Widths()), encoder, 0.1, [3, 5, 7, 11], False)
    assert (count(model.neck), count(model.rpn_head)) == (2_754_560, 593_935)
    assert [count(head) for head in model.roi_head.bbox_head] == [15_618_449] * 3
    assert [count(head) for head in model.roi_head.mask_head] == [2_643_280] * 3


@pytest.mark.parametrize("patch_size", [8, 16])
def test_the_pyramid_has_strides_4_8_16_32(patch_size: int) -> None:
    encoder = ViT("mini", patch_size, 64)
    backbone = mm.PyramidViT(architecture_of(encoder), [0, 1, 2, 3], True)
    maps = backbone(torch.randn(2, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [(2, 128, 64 // s, 96 // s) for s in (4, 8, 16, 32)]
    assert backbone(torch.randn(1, 3, 60, 90))[0].shape[-2:] == (16, 24)  # padded to whole patches
    with pytest.raises(ValueError, match="a pyramid for patches of 14: expected 8 or 16"):
        mm.pyramid(8, 14)


def test_taps_are_normed_or_raw() -> None:
    torch.manual_seed(0)
    encoder, x = ViT("mini", 8, 64).eval(), torch.randn(1, 3, 64, 64)
    for norm in (True, False):
        config = upernet(channels=16).model_config(encoder, 3)
        model = mm.build_model("mmseg", config, encoder, 0.0, [0, 1, 2, 3], norm).eval()
        expected = encoder.intermediate(x, [1], norm=norm)[0][:, 1:].transpose(1, 2).unflatten(2, (8, 8))
        torch.testing.assert_close(model.backbone(x)[1], expected)  # patches of 8: the second level is the map itself


def test_one_block_may_serve_every_level() -> None:
    torch.manual_seed(0)
    encoder, x = ViT("mini", 8, 64).eval(), torch.randn(1, 3, 64, 64)
    config = upernet(channels=16).model_config(encoder, 3)
    model = mm.build_model("mmseg", config, encoder, 0.0, [3, 3, 3, 3], True).eval()
    last = encoder(x).patches.transpose(1, 2).unflatten(2, (8, 8))
    for level, found in zip(model.backbone.pyramid, model.backbone(x), strict=True):
        torch.testing.assert_close(found, level(last))


# Crop, stride, image size -> windows, and sums over the merged maps of both logits (golden section 09).
SLIDES = [
    (64, 43, (64, 64), 1, 4096.0, 5386.239952), (64, 43, (100, 171), 8, 74750.0, 426814.5004),
    (64, 43, (50, 130), 3, 12500.0, 30442.49999), (64, 43, (64, 65), 2, 6240.0, 11710.40002),
    (64, 43, (129, 107), 6, 46063.5, 206944.42), (512, 341, (512, 683), 2, 524544.0, 1767713.261),
    (512, 341, (683, 512), 2, 524544.0, 2066703.333), (512, 341, (512, 2048), 6, 3496960.0, 17547591.63),
]  # fmt: skip


@pytest.mark.parametrize(("crop", "stride", "size", "windows", "first", "second"), SLIDES)
def test_sliding_windows_are_the_originals(crop, stride, size, windows, first, second) -> None:
    encoder = ViT("mini", 8, 64)
    config = upernet(channels=16, crop=crop, stride=stride).model_config(encoder, 2)
    model = mm.build_model("mmseg", config, encoder, 0.0, [0, 1, 2, 3], True)
    rows = torch.arange(size[0]).float()[:, None].expand(size).clone()
    calls = 0

    def window(inputs: torch.Tensor, metas: list) -> torch.Tensor:
        nonlocal calls
        calls += 1
        y = inputs[:, :1]
        return torch.cat([torch.full_like(y, calls), 0.01 * y + calls * calls], 1)

    model.encode_decode = window
    merged = model.slide_inference(rows.expand(1, 3, -1, -1), [{"img_shape": size}])
    assert calls == windows
    np.testing.assert_allclose(merged[0].double().sum((1, 2)), [first, second], rtol=1e-6)


def test_operators_are_torchvisions_and_others_say_so() -> None:
    mm.load()
    from mmcv.ops import RoIAlign, nms, soft_nms

    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(40, 2, generator=generator) * 40
    boxes, scores = torch.cat([corner, corner + 10], 1), torch.rand(40, generator=generator)
    kept = nms(boxes, scores, iou_threshold=0.3)[1]
    assert torch.equal(kept, torchvision.ops.nms(boxes, scores, 0.3))
    features = torch.randn(2, 3, 20, 20, generator=generator, dtype=torch.float64, requires_grad=True)
    rois = torch.cat([torch.tensor([[0.0], [1.0]]).double(), boxes[:2].double() / 3], 1)
    layer = RoIAlign(4, 0.5, 0)
    assert torch.equal(layer(features, rois), torchvision.ops.roi_align(features, rois, 4, 0.5, 0, True))
    assert torch.autograd.gradcheck(lambda f: layer(f, rois), (features,), nondet_tol=1e-9)
    with pytest.raises(NotImplementedError, match="softnms needs a compiled mmcv"):
        soft_nms(boxes, scores)
    with pytest.raises(NotImplementedError, match="offset=1 needs a compiled mmcv"):
        nms(boxes, scores, iou_threshold=0.3, offset=1)


def test_a_compiled_extension_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = object()
    monkeypatch.setitem(sys.modules, mm_operators.EXTENSION, compiled)
    mm_operators.register_extension()
    assert sys.modules[mm_operators.EXTENSION] is compiled


def test_versions_that_do_not_fit_are_said_before_anything_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mm.missing() == []
    monkeypatch.setattr(mm, "_installed", lambda name: "0.6" if name == "mmengine" else "2.1.0")
    (line,) = mm.missing()
    assert "needs mmengine 0.10, mmcv 2.1" in line
    assert "found: mmengine 0.6" in line


def test_our_counts_are_mmsegs() -> None:
    mm.load()
    from mmseg.evaluation import IoUMetric

    rng = np.random.default_rng(0)
    truth, found = rng.integers(0, 6, (3, 40, 50)), rng.integers(0, 5, (3, 40, 50))
    truth[rng.random(truth.shape) < 0.1] = 255
    truth[truth == 2] = 3
    areas = [
        IoUMetric.intersect_and_union(torch.tensor(p), torch.tensor(t), 7, 255)
        for t, p in zip(truth, found, strict=True)
    ]
    totals = [sum(a[i] for a in areas) for i in range(4)]
    official = IoUMetric.total_area_to_metrics(*totals, metrics=["mIoU"])
    matrix = confusion(truth, found, 7)
    np.testing.assert_allclose(class_ious(matrix), official["IoU"], rtol=1e-6)
    np.testing.assert_allclose(np.nanmean(class_ious(matrix)), np.nanmean(official["IoU"]), rtol=1e-6)


def squares(number: int, size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """A bright square on the left or the right, of one class or another, and its mask (0 background)."""
    image, mask = np.full((size, size, 3), 60, np.uint8), np.zeros((size, size), np.uint8)
    x, kind = (4 if number % 4 < 2 else 34), number % 2
    image[12:40, x : x + 26] = (220, 60, 50) if kind else (50, 90, 230)
    mask[12:40, x : x + 26] = kind + 1
    return image, mask


def mini(name: str, root: Path, **changes: object):
    keys = {
        "preset": name, "root": str(root), "taps": [0, 1, 2, 3], "train_batch_size": 4, "batch_size": 4, "lr": 1e-3, "warmup": 2,
        "drop_path": 0.0, "save_every": 4, "progress": False, "gallery": True,
    }  # fmt: skip
    return DOWNSTREAM[name](**{**keys, **changes})


@pytest.fixture
def encoder() -> ViT:
    torch.manual_seed(0)
    return ViT("mini", 8, 64).eval()


def test_upernet_learns_coloured_squares(tmp_path: Path, encoder: ViT) -> None:
    for split in ("training", "validation"):
        pairs = [(f"{split}{n}", *squares(n)) for n in range(8)]
        root = write_ade20k(tmp_path / "ade", split, pairs).root
    task = mini("upernet", root, iterations=50, lr=3e-3, crop=64, stride=43, channels=16)
    assert task.check() == []
    metrics = task.evaluate(encoder, tmp_path / "out")
    assert metrics["miou"] > 70
    assert (tmp_path / "out" / "upernet.jpg").is_file()
    with np.load(tmp_path / "out" / "images.npz") as images:
        assert images["confusion"].sum() == 8 * 64 * 64
        assert len(images["names"]) == 8
    assert len((tmp_path / "out" / "training_loss.csv").read_text().splitlines()) == 51
    again = task.evaluate(encoder, tmp_path / "out")  # the training is there: only the test images are looked at
    assert again == metrics


def test_upernet_killed_and_continued_is_the_same(
    tmp_path: Path, encoder: ViT, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split in ("training", "validation"):
        root = write_ade20k(tmp_path / "ade", split, [(f"{split}{n}", *squares(n)) for n in range(6)]).root
    task = mini("upernet", root, iterations=9, crop=64, stride=43, channels=16)
    whole = task.evaluate(encoder, tmp_path / "whole")
    losses, left = mm.losses, 6

    def killed(*arguments: object) -> object:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return losses(*arguments)

    monkeypatch.setattr(mm, "losses", killed)
    with pytest.raises(KeyboardInterrupt):
        task.evaluate(encoder, tmp_path / "parts")
    monkeypatch.setattr(mm, "losses", losses)
    torch.manual_seed(5)
    assert task.evaluate(encoder, tmp_path / "parts") == whole
    first, second = (torch.load(tmp_path / n / "training.ckpt", weights_only=True)["model"] for n in ("whole", "parts"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_cascade_learns_coloured_squares(tmp_path: Path, encoder: ViT) -> None:
    for split in ("train2017", "val2017"):
        pictures = []
        for n in range(8):
            image, mask = squares(n)
            pictures.append(
                ImageWithObjects(n + 1, image, [Mask(3 + 4 * int(mask.max() - 1), (mask > 0).astype(np.uint8))])
            )
        root = write_coco(tmp_path / "coco", split, pictures, {3: "blue", 7: "red"}).root
    widths = {
        "fpn": 32,
        "fc": 64,
        "num_convs": 1,
        "train_proposals": 64,
        "test_proposals": 32,
        "rpn_samples": 32,
        "roi_samples": 32,
    }
    sizes = {"long_side": 64, "train_short": [64], "test_short": 64, "crop_short": []}
    task = mini("cascade_mask_rcnn", root, iterations=60, milestones=[50], **sizes, widths=widths)
    assert task.check() == []
    metrics = task.evaluate(encoder, tmp_path / "out")
    assert metrics["coco_bbox_AP50"] > 50
    assert metrics["coco_segm_AP50"] > 50
    assert (tmp_path / "out" / "cascade_mask_rcnn.jpg").is_file()
    with np.load(tmp_path / "out" / "outcomes.npz") as outcomes:
        assert outcomes["items"].tolist() == ["blue", "red"]


def test_encoders_that_do_not_fit_are_refused(tmp_path: Path, encoder: ViT) -> None:
    root = write_ade20k(tmp_path / "ade", "training", [("a", *squares(0))]).root
    write_ade20k(tmp_path / "ade", "validation", [("b", *squares(0))])
    with pytest.raises(ValueError, match=r"taps=\[3, 5, 7, 11\]: the encoder has 4 blocks"):
        mini("upernet", root, taps=[3, 5, 7, 11]).evaluate(encoder, tmp_path / "out")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    data = write_ade20k(tmp_path / "ade", "training", [(name, *squares(0)) for name in ("cut", "empty", "gone")])
    task = upernet(crop=64)
    samples = mm.build_dataset("mmseg", task.dataset_config(data, "training", task.train_pipeline()))
    cut, empty, gone = (data.image(f"training/{name}") for name in ("cut", "empty", "gone"))
    cut.write_bytes(cut.read_bytes()[:60])
    empty.write_bytes(b"")
    gone.unlink()
    for index, path in enumerate((cut, empty, gone)):
        with pytest.raises(UnreadableImage, match=f"cannot read the image {path}"):
            samples[index]
