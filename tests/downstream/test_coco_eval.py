"""Average precision against pycocotools' numbers, on a dataset made by formula (golden section 07)."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from golden import G
from pycocotools import mask as masks

from longtake.datasets.coco import COCO, ImageWithObjects, Mask, box_of, classes_of, run_lengths, write_coco
from longtake.downstream.coco_eval import STATS, evaluate_coco, run_length

SIZES = {11: (120, 160), 25: (90, 130), 42: (200, 180)}
TRUTH = [
    (11, 1, 40, 40, 24, 18, 0, "poly"), (11, 3, 110, 70, 30, 26, 0, "poly"), (11, 1, 20, 100, 9, 7, 0, "poly"),
    (25, 3, 60, 45, 40, 33, 0, "poly"), (25, 1, 100, 60, 22, 20, 1, "rle"), (25, 7, 20, 20, 11, 12, 0, "rle"),
    (42, 7, 90, 100, 70, 80, 0, "poly"), (42, 1, 40, 30, 13, 12, 0, "poly"), (42, 3, 140, 150, 28, 36, 0, "rle"),
    (42, 1, 60, 170, 20, 15, 0, "poly"),
]  # fmt: skip
FOUND = [
    (11, 1, 42, 41, 24, 17, 0.9), (11, 1, 41, 39, 22, 18, 0.9), (11, 3, 108, 73, 31, 25, 0.8), (11, 3, 118, 60, 25, 25, 0.35),
    (11, 1, 21, 99, 9, 8, 0.7), (11, 7, 60, 60, 15, 15, 0.5), (25, 3, 58, 47, 41, 31, 0.8), (25, 1, 100, 60, 21, 19, 0.6),
    (25, 1, 92, 55, 10, 9, 0.6), (25, 1, 20, 20, 11, 12, 0.4), (25, 7, 21, 19, 10, 12, 0.55), (42, 7, 93, 97, 66, 83, 0.95),
    (42, 7, 60, 90, 40, 60, 0.3), (42, 1, 44, 31, 12, 13, 0.9), (42, 3, 137, 153, 27, 33, 0.8), (42, 1, 62, 171, 19, 14, 0.2),
    (42, 1, 58, 166, 22, 17, 0.2),
]  # fmt: skip
AREAS = [1344, 2435, 197, 4102, 1373, 411, 17384, 490, 3161, 930]
EXPECTED = {
    "bbox": (
        [0.611771177118, 0.931243124312, 0.83498349835, 0.562376237624, 0.672112211221, 0.8, 0.555555555556, 0.680555555556,
         0.680555555556, 0.65, 0.683333333333, 0.8],
        {1: (0.440594059406, 0.793729372937), 3: (0.644224422442, 1.0), 7: (0.750495049505, 1.0)},
    ),
    "segm": (
        [0.655720572057, 0.931243124312, 0.83498349835, 0.541336633663, 0.758415841584, 0.9, 0.594444444444, 0.719444444444,
         0.719444444444, 0.616666666667, 0.816666666667, 0.9],
        {1: (0.449339933993, 0.793729372937), 3: (0.716831683168, 1.0), 7: (0.80099009901, 1.0)},
    ),
}  # fmt: skip


def ellipse(size: tuple[int, int], cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
    y, x = np.mgrid[: size[0], : size[1]]
    return (((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1).astype(np.uint8)


def truth() -> dict:
    annotations = []
    for number, (image, category, cx, cy, rx, ry, crowd, form) in enumerate(TRUTH, 1):
        height, width = SIZES[image]
        if form == "poly":
            angles = [2 * math.pi * k / 24 for k in range(24)]
            points = [round(v, 2) for a in angles for v in (cx + rx * math.cos(a), cy + ry * math.sin(a))]
            rle = masks.merge(masks.frPyObjects([points], height, width))
            segmentation, area, box = [points], float(masks.area(rle)), masks.toBbox(rle).tolist()
        else:
            pixels = ellipse((height, width), cx, cy, rx, ry)
            segmentation = {"size": [height, width], "counts": run_lengths(pixels)}
            area, box = float(pixels.sum()), box_of(pixels)
        about = {"id": number, "image_id": image, "category_id": category, "iscrowd": crowd}
        annotations.append({**about, "segmentation": segmentation, "area": area, "bbox": box})
    images = [{"id": number, "height": h, "width": w} for number, (h, w) in SIZES.items()]
    return {"images": images, "annotations": annotations, "categories": [{"id": n, "name": str(n)} for n in (1, 3, 7)]}


def results(kind: str) -> list[dict]:
    noise = (1.5 * G((len(FOUND), 4), 2.3, 0.3).double()).numpy()
    found = []
    for (image, category, cx, cy, rx, ry, score), n in zip(FOUND, noise, strict=True):
        height, width = SIZES[image]
        about = {"image_id": image, "category_id": category, "score": score}
        x0, y0 = max(0, cx - rx + n[0]), max(0, cy - ry + n[1])
        x1, y1 = min(width, cx + rx + n[2]), min(height, cy + ry + n[3])
        if kind == "bbox":
            about["bbox"] = [round(float(v), 2) for v in (x0, y0, x1 - x0, y1 - y0)]
        else:
            about["segmentation"] = run_length(ellipse((height, width), cx, cy, rx, ry))
        found.append(about)
    return found


def test_the_inputs_are_those_of_the_golden_numbers() -> None:
    assert [a["area"] for a in truth()["annotations"]] == AREAS
    boxes = [r["bbox"] for r in results("bbox")[:3]]
    assert boxes == [[18.44, 24.77, 46.08, 34.42], [18.89, 19.96, 45.61, 36.08], [76.78, 49.25, 60.77, 49.42]]


@pytest.mark.parametrize("kind", EXPECTED)
def test_scores_equal_pycocotools(kind: str) -> None:
    stats, classes = EXPECTED[kind]
    scores = evaluate_coco(truth(), results(kind), kind)
    np.testing.assert_allclose([scores.stats[name] for name in STATS], stats, atol=1e-9)
    for number, expected in classes.items():
        np.testing.assert_allclose(scores.classes[number][:2], expected, atol=1e-9)
    assert np.mean([ap for ap, *_ in scores.classes.values()]) == pytest.approx(scores.stats["AP"])


def test_sizes_of_masks_are_their_own() -> None:
    """With boxes beside the masks pycocotools would sort them by the boxes' sizes."""
    both = [{**m, "bbox": b["bbox"]} for m, b in zip(results("segm"), results("bbox"), strict=True)]
    scores = evaluate_coco(truth(), both, "segm")
    np.testing.assert_allclose([scores.stats[name] for name in STATS], EXPECTED["segm"][0], atol=1e-9)


def test_the_truth_itself_is_perfect_and_nothing_is_nothing() -> None:
    content = truth()
    perfect = [
        {"image_id": a["image_id"], "category_id": a["category_id"], "bbox": a["bbox"], "score": 1.0}
        for a in content["annotations"]
        if not a["iscrowd"]
    ]
    assert evaluate_coco(content, perfect, "bbox").stats["AP"] == pytest.approx(1)
    empty = evaluate_coco(content, [], "bbox")
    assert empty.stats["AP"] == 0
    assert set(empty.classes.values()) == {(0.0, 0.0, 0.0)}


@pytest.mark.parametrize("seed", range(5))
def test_run_lengths_are_pycocotools(seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 2, (7, 9), np.uint8)
    pixels[0, 0] = pixels[-1, -1] = seed % 2
    encoded = masks.frPyObjects({"size": [7, 9], "counts": run_lengths(pixels)}, 7, 9)
    np.testing.assert_array_equal(masks.decode(encoded), pixels)
    assert masks.encode(np.asfortranarray(pixels))["counts"].decode() == run_length(pixels)["counts"]


def written(root: Path) -> COCO:
    image = np.zeros((20, 30, 3), np.uint8)
    pixels = np.zeros((20, 30), np.uint8)
    pixels[3:9, 4:14] = 1
    return write_coco(root, "val2017", [ImageWithObjects(1, image, [Mask(2, pixels)])], {1: "cat", 2: "dog"})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    data = written(tmp_path / "coco")
    assert data.check(["val2017"]) == []
    assert data.validate(["val2017"]) == ["val2017: 1 images, the original has 5000"]
    assert classes_of(data.read("val2017")) == {1: "cat", 2: "dog"}
    (annotation,) = data.read("val2017")["annotations"]
    assert annotation["bbox"] == [4, 3, 10, 6]
    assert annotation["area"] == 60


def edited(data: COCO, change: dict) -> COCO:
    path = data.annotation_file("val2017")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    return data


BAD = {
    "level": (lambda data: COCO(data.root.parent).check(["val2017"]), r"no annotations in it.*did you mean .*coco\?"),
    "split": (lambda data: data.check(["train2017"]), r"instances_train2017\.json: no such file"),
    "empty": (lambda data: edited(data, {"annotations": []}).check(["val2017"]), "no annotations in it, expected"),
    "image": (
        lambda data: edited(data, {"images": [{"id": 1, "file_name": "7.jpg", "height": 20, "width": 30}]}).check(
            ["val2017"]
        ),
        r"1 of 1 images missing: \['7.jpg'\]",
    ),
    "category": (
        lambda data: edited(data, {"categories": [{"id": 1, "name": "cat"}]}).check(["val2017"]),
        "annotation 1 has image 1 and category 2, expected numbers that are listed",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_data_are_refused(tmp_path: Path, case: str) -> None:
    make, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        make(written(tmp_path / "coco"))
    assert COCO(tmp_path / "none").check(["val2017"])[0].startswith("no folder")
