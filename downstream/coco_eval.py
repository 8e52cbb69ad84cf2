"""COCO's average precision of boxes and masks, by pycocotools (by faster-coco-eval where it is installed: the same, sooner)."""

import contextlib
import importlib
import io
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from longtake.datasets.coco_rows import completed

# In the order of COCOeval.stats.
STATS = (
    "AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large",
)  # fmt: skip
IOU_50, IOU_75 = 0, 5  # among the thresholds .50, .55, ...


class Scores(NamedTuple):
    """Summary numbers in [0, 1], and of each class, by its number, AP, AP50, AP75; NaN for a class without objects."""

    stats: dict[str, float]
    classes: dict[int, tuple[float, float, float]]


def evaluate_coco(truth: dict[str, Any], results: Sequence[dict[str, Any]], kind: str) -> Scores:
    """Scores of detections (COCO's result format) against annotations (the content of an instances file).

    `kind` is `bbox` or `segm`. Of masks the size that decides about small, medium, large is the mask's own, as in mmdetection;
    with the boxes left in pycocotools takes theirs. Truth and results are left as they are. Raises `ValueError` for results of
    images or classes that the truth does not have.
    """
    api, evaluator = _library()
    check_results(truth, results)
    if kind == "segm":
        results = [{key: value for key, value in result.items() if key != "bbox"} for result in results]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = api()
        coco.dataset = {"info": {}, **numbered(truth)}
        coco.createIndex()
        if not results:
            return _nothing(coco)
        run = evaluator(coco, coco.loadRes([dict(result) for result in results]), kind)
        run.evaluate()
        run.accumulate()
        run.summarize()
    precision = run.eval["precision"][:, :, :, 0, -1]  # (thresholds, recalls, classes), all sizes, 100 detections
    classes = {
        number: (_mean(precision[:, :, k]), _mean(precision[IOU_50, :, k]), _mean(precision[IOU_75, :, k]))
        for k, number in enumerate(run.params.catIds)
    }
    return Scores(dict(zip(STATS, map(float, run.stats), strict=False)), classes)


def check_results(truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> None:
    """Raise `ValueError` for results of images or classes that the truth does not have."""
    for kind, key in (("images", "image_id"), ("categories", "category_id")):
        if others := {result[key] for result in results} - {item["id"] for item in truth[kind]}:
            raise ValueError(f"results: got {key} {min(others)}, expected those of the truth's {kind}")


def numbered(truth: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the truth whose annotations count from 1: pycocotools takes 0 for no match, and writes into what it is given."""
    content = completed(truth, "truth")
    return {**content, "annotations": [{**a, "id": number} for number, a in enumerate(content["annotations"], 1)]}


def _library() -> tuple[Any, Any]:
    if find_spec("faster_coco_eval"):
        module = importlib.import_module("faster_coco_eval")
        return module.COCO, module.COCOeval_faster
    return importlib.import_module("pycocotools.coco").COCO, importlib.import_module("pycocotools.cocoeval").COCOeval


def _nothing(coco: Any) -> Scores:
    """Nothing was found: 0 for every class that has objects."""
    present = {annotation["category_id"] for annotation in coco.dataset["annotations"] if not annotation.get("iscrowd")}
    classes = {n: (0.0, 0.0, 0.0) if n in present else (np.nan,) * 3 for n in sorted(coco.getCatIds())}
    return Scores(dict.fromkeys(STATS, 0.0), classes)


def _mean(values: Float[np.ndarray, "..."]) -> float:
    return float(values.mean()) if (values > -1).all() else float("nan")


def run_length(mask: UInt8[np.ndarray, "h w"]) -> dict[str, Any]:
    """A mask as COCO's compressed run lengths, in text."""
    encoded = importlib.import_module("pycocotools.mask").encode(np.asfortranarray(mask))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode()}
