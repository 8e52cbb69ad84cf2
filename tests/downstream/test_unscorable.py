"""An item that cannot be scored ends no evaluation: it is counted and named, and the others have their numbers."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from eval_cases import CASES, coco, davis, maker, scene, vit
from PIL import Image
from seqtrack_runs import moving
from spoilt import other_annotations

from longtake.datasets.ade20k import write_ade20k
from longtake.datasets.davis import write_davis
from longtake.datasets.voc import Annotated, write_voc

pytestmark = pytest.mark.usefixtures("stores_of_tests_alone")


def voc(root: Path, change: Callable[[str, np.ndarray], np.ndarray | None], size: tuple[int, int] = (68, 100)) -> Path:
    """Images with a border that is cut off; `change` makes the mask of an image (None: an annotation without objects)."""
    images = []
    for n in range(6):
        image, mask = scene(n, size)
        rows, columns = np.nonzero(mask)
        box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]])
        lists = ["Main/trainval", f"Segmentation/{'train' if n < 3 else 'val'}"]
        changed = change(f"{n:06d}", mask)
        if changed is None:
            images.append(Annotated(f"{n:06d}", image, np.zeros((0, 4), int), [], np.zeros_like(mask), lists=lists))
        else:
            images.append(Annotated(f"{n:06d}", image, box, ["thing"], changed, lists=lists))
    return write_voc(root, images).root


def of(*names: str, mask: Callable[[np.ndarray], np.ndarray | None]) -> Callable[[Path], Path]:
    return lambda root: voc(root, lambda name, own: mask(own) if name in names else own)


def void(mask: np.ndarray) -> np.ndarray:
    return np.full_like(mask, 255)


def cut_off(mask: np.ndarray) -> np.ndarray:
    """An object in the rows below the last whole patch alone."""
    changed = np.zeros_like(mask)
    changed[-4:, :40] = 1
    return changed


def ade20k(*empty: str) -> Callable[[Path], Path]:
    def write(root: Path) -> Path:
        for split in ("training", "validation"):
            items = [(f"{split}{n}", *scene(n, (64, 64))) for n in range(4)]
            write_ade20k(
                root, split, [(name, image, void(mask) if name in empty else mask) for name, image, mask in items]
            )
        return root

    return write


def sequences(*empty: str) -> Callable[[Path], Path]:
    def write(root: Path) -> Path:
        davis(root)
        items = []
        for name in ("bear", "walk"):
            shown = [scene(len(name), shift=8 * t)[0] for t in range(4)]
            masks = np.stack([np.array(Image.open(root / f"Annotations/480p/{name}/{t:05d}.png")) for t in range(4)])
            masks[:] = 0 if name in empty else masks
            items.append((name, np.stack(shown), masks))
        return write_davis(root, items).root

    return write


def without_class(number: int) -> Callable[[Path], Path]:
    """Its pictures have no annotation then."""
    return lambda root: other_annotations(
        coco(root), lambda c: c.update(annotations=[a for a in c["annotations"] if a["category_id"] != number])
    )


def crowds(root: Path) -> Path:
    return other_annotations(coco(root), lambda c: [annotation.update(iscrowd=1) for annotation in c["annotations"]])


def tracks(*absent: str) -> Callable[[Path], Path]:
    def write(root: Path) -> Path:
        moving(root, "train", 3, 12)
        moving(root, "val", 3, 9)
        for name in absent:
            for kind, value in (("cover", "0"), ("absence", "1")):
                path = root / "val" / name / f"{kind}.label"
                first, *others = path.read_text().split()
                path.write_text("\n".join([first, *[value] * len(others), ""]))
        return root

    return write


class Odd(NamedTuple):
    evaluation: str
    data: Callable[[Path], Path]
    said: str  # "" where the items are none
    lacks: tuple[str, ...] = ()  # metrics without a number


NO_MASK = "not scored: {} of 3 images have no object for jaccard: {}"
ODD = {
    "LOST, void": Odd("lost", of("000004", mask=void), NO_MASK.format(1, "000004")),
    "LOST, background": Odd("lost", of("000004", mask=np.zeros_like), NO_MASK.format(1, "000004")),
    "LOST, cut off": Odd("lost", of("000003", "000005", mask=cut_off), NO_MASK.format(2, "000003, 000005")),
    "LOST, no box": Odd(
        "lost", of("000001", mask=lambda _: None), "not scored: 1 of 6 images have no object for corloc: 000001"
    ),
    "LOST, no mask has one": Odd(
        "lost", of("000003", "000004", "000005", mask=void), NO_MASK.format(3, "000003, 000004, 000005"),
        ("jaccard_besthead_60", "jaccard_avghead_80", "jaccard_besthead_80"),
    ),
    "dense k-NN, tested": Odd(
        "dense_knn", of("000004", mask=void), "not scored: 1 of 3 masks have no labelled pixel: 000004"
    ),
    "dense k-NN, remembered": Odd("dense_knn", of("000001", mask=void), ""),
    "UperNet, tested": Odd(
        "upernet", ade20k("validation2"), "not scored: 1 of 4 masks have no labelled pixel: validation/validation2"
    ),
    "UperNet, trained on": Odd("upernet", ade20k("training0", "training1"), ""),
    "DAVIS": Odd("davis", sequences("bear"), "not scored: 1 of 2 sequences have no object in the first mask: bear"),
    "k-means": Odd(
        "video_kmeans", sequences("bear"), "not scored: 1 of 2 sequences have no object in the first mask: bear"
    ),
    "COCO": Odd("cascade_mask_rcnn", without_class(20), "not scored: 1 of 3 classes have no object in val2017: b"),
    "GOT-10k": Odd(
        "seqtrack", tracks("val_01"), "not scored: 1 of 3 sequences show no object after the first frame: val_01"
    ),
}  # fmt: skip
NONE = {
    "dense k-NN, tested": Odd("dense_knn", of("000003", "000004", "000005", mask=void), "none of the 3 items can be scored"),
    "dense k-NN, remembered": Odd(
        "dense_knn", of("000000", "000001", "000002", mask=void), "Segmentation/train: no patch of 3 masks has a labelled pixel"
    ),
    "LOST": Odd("lost", of(*(f"{n:06d}" for n in range(6)), mask=lambda _: None), "none of the 6 items can be scored"),
    "UperNet": Odd("upernet", ade20k(*(f"validation{n}" for n in range(4))), "none of the 4 items can be scored"),
    "DAVIS": Odd("davis", sequences("bear", "walk"), r"val\.txt: 2 sequences, none with an object in the first mask"),
    "k-means": Odd("video_kmeans", sequences("bear", "walk"), r"val\.txt: 2 sequences, none with an object in the first mask"),
    "COCO": Odd("cascade_mask_rcnn", crowds, "val2017: 4 annotations, all of them crowds"),
    "GOT-10k": Odd("seqtrack", tracks("val_00", "val_01", "val_02"), "val_00, .*: no frame but the first shows its object"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.filterwarnings("error:.*empty slice", "error:.*invalid value")
def test_the_others_have_their_numbers(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    odd = ODD[kind]
    task = maker(CASES[odd.evaluation], odd.data(tmp_path / "data"))()
    assert task.check() == []
    metrics = task.evaluate(vit(), tmp_path / "out")
    assert list(metrics) == [name for name in task.metrics if name not in odd.lacks]
    assert np.isfinite(list(metrics.values())).all()
    lines = [line for line in capfd.readouterr().err.splitlines() if "not scored: " in line]
    assert odd.said in "\n".join(lines)
    assert bool(lines) == bool(odd.said)


@pytest.mark.parametrize("kind", NONE)
def test_where_there_is_no_other_it_is_a_sentence(kind: str, tmp_path: Path) -> None:
    odd = NONE[kind]
    task = maker(CASES[odd.evaluation], odd.data(tmp_path / "data"))()
    with pytest.raises(ValueError, match=odd.said):
        task.evaluate(vit(), tmp_path / "out")
    assert not list(tmp_path.rglob("outcomes.npz"))


def test_the_number_of_the_others_is_theirs_alone(tmp_path: Path) -> None:
    """As if the image without an object were not in the list."""
    whole = maker(CASES["lost"], of("000004", mask=void)(tmp_path / "all"))().evaluate(vit(), tmp_path / "a")
    root = of("000004", mask=void)(tmp_path / "rest")
    (root / "ImageSets/Segmentation/val.txt").write_text("000003\n000005\n")
    rest = maker(CASES["lost"], root)().evaluate(vit(), tmp_path / "b")
    names = ("corloc", "jaccard_besthead_60", "jaccard_avghead_80", "jaccard_besthead_80")
    assert {name: whole[name] for name in names} == {name: rest[name] for name in names}
    dense = [
        maker(CASES["dense_knn"], tmp_path / name)().evaluate(vit(), tmp_path / f"{name} dense")
        for name in ("all", "rest")
    ]
    assert dense[0] == pytest.approx(dense[1], abs=1e-9)
