"""Average precision against pycocotools' numbers, on a dataset made by formula (golden section 07)."""

import json
from pathlib import Path

import numpy as np
import pytest
from coco_golden import results, truth
from pycocotools import mask as masks

from longtake.datasets.coco import COCO, ImageWithObjects, Mask, classes_of, run_lengths, write_coco
from longtake.downstream.coco_eval import STATS, evaluate_coco, run_length

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
