"""SeqTrack as an evaluation: a network that sees the object follows it exactly; files, items, errors before any compute."""

import shutil
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from seqtrack_runs import RECIPE, moving
from torch import Tensor

from longtake.backbones.vit import ViT
from longtake.datasets.got10k import GOT10k
from longtake.downstream import seqtrack_tracker
from longtake.downstream.base import DOWNSTREAM
from longtake.downstream.got10k import frame_overlaps, read_result, report
from longtake.downstream.seqtrack import outcomes_of
from longtake.downstream.seqtrack_model import SeqTrackDecoder
from longtake.downstream.seqtrack_samples import SeqTrackRecipe
from longtake.downstream.seqtrack_tokens import sequences
from longtake.downstream.seqtrack_tracker import SequenceTracker, Tracking


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("got") / "GOT-10k"
    for split, number in (("train", 3), ("val", 2), ("test", 2)):
        moving(folder, split, number)
    short = folder / "val" / "val_00"  # sequences of different lengths
    for t in range(15, 21):
        (short / f"{t:08d}.jpg").unlink()
    for name in ("groundtruth.txt", "absence.label", "cover.label", "cut_by_image.label"):
        (short / name).write_text("".join(f"{line}\n" for line in (short / name).read_text().splitlines()[:14]))
    return folder


class Seeing(SeqTrackDecoder):
    """Writes the box of the red pixels of the search crop; as sure as it is told to be."""

    def __init__(self, bins: int, confidence: float) -> None:
        super().__init__(128, 16, bins)
        self.confidence = confidence

    def generate(self, search: Tensor, window: Tensor | None) -> tuple[Tensor, Tensor]:
        boxes = []
        for image in search:
            red = image[0] > 0.5
            y, x = (torch.nonzero(red.any(axis)).flatten() for axis in (1, 0))
            size = image.shape[-1]
            low, high = (torch.stack([v[end] + shift for v in (x, y)]) for end, shift in ((0, 0), (-1, 1)))
            boxes.append(torch.cat([low, high - low]).float() / size)
        _, target = sequences(torch.stack(boxes), self.bins)
        return target[:, :4], torch.full((len(search), 4), self.confidence)


@pytest.fixture
def sees(monkeypatch: pytest.MonkeyPatch) -> list[list[Tensor]]:
    """The tracker's encoder passes the search crop on; what templates it was given is kept."""
    given: list[list[Tensor]] = []

    def joint(encoder: object, search: Tensor, templates: list[Tensor], pos_mode: object) -> Tensor:
        given.append(templates)
        return search

    monkeypatch.setattr(seqtrack_tracker, "joint_tokens", joint)
    return given


def tracker(confidence: float, **tracking: object) -> SequenceTracker:
    recipe = SeqTrackRecipe(search_size=128, template_size=64)
    settings = Tracking(**tracking)  # type: ignore[arg-type]
    return SequenceTracker(ViT("mini", 8, 32), Seeing(4000, confidence), recipe, settings, "cpu")


@pytest.mark.parametrize("together", [1, 2])
def test_what_the_network_sees_is_followed(root: Path, sees: list, together: int) -> None:
    tracks = GOT10k(root, "val").tracks()
    found = {f.track.name: f for f in tracker(0.2, sequences_at_once=together).follow(tracks)}
    assert list(found) == ["val_00", "val_01"]
    overlaps = {}
    for track in tracks:
        boxes = found[track.name].boxes
        assert boxes.shape == track.boxes.shape
        assert boxes[0].tolist() == track.boxes[0].tolist()
        assert (found[track.name].seconds > 0).all()
        overlaps[track.name] = frame_overlaps(boxes, track.boxes, track.cover, track.resolution)
    assert report(overlaps).ao > 0.9
    assert len(sees) == (13 + 19 if together == 1 else 19)


@pytest.mark.parametrize(
    ("confidence", "interval", "changes"), [(0.2, 1, 18), (0.2, 5, 3), (0.014, 1, 0), (0.2, 9999, 0)]
)
def test_the_second_template_follows_when_sure(
    root: Path, sees: list, confidence: float, interval: int, changes: int
) -> None:
    """0.014 x 4 x 10 is below the threshold of 0.6; the object is the same in all frames, the noise around it is not."""
    (track,) = [t for t in GOT10k(root, "val").tracks() if t.name == "val_01"]
    list(tracker(confidence, update_interval=interval).follow([track]))
    assert all(torch.equal(first, sees[0][0]) for first, _ in sees), "the first template stays"
    seconds = [second for _, second in sees]
    assert torch.equal(seconds[0], sees[0][0])
    changed = sum(not torch.equal(a, b) for a, b in pairwise(seconds))
    assert changed == changes


SETTINGS = {
    **{key: getattr(RECIPE, key) for key in ("bins", "search_size", "template_size", "train_batch_size", "lr", "drop_epoch")},
    "preset": "seqtrack-test", "epochs": 2, "samples_per_epoch": 16, "save_every": 2, "progress": False,
}  # fmt: skip


def task(root: Path, **settings: object):
    return DOWNSTREAM["seqtrack"](**(SETTINGS | {"root": str(root)} | settings))


def encoder() -> ViT:
    torch.manual_seed(0)
    return ViT("mini", 8, 32)


def test_an_evaluation_from_end_to_end(root: Path, tmp_path: Path) -> None:
    seqtrack, vit = task(root, gallery=True, submission=True), encoder()
    assert seqtrack.check() == []
    assert seqtrack.validate() == []
    metrics = seqtrack.evaluate(vit, tmp_path)
    assert list(metrics) == list(seqtrack.metrics)
    with np.load(tmp_path / "outcomes.npz") as saved:
        outcomes = dict(saved)
    assert outcomes["items"][[0, 33, 34, 35]].tolist() == ["val_00/00000001", "val_01/00000020", "val_00", "val_01"]
    assert outcomes["groups"][[0, 33, 34, 35]].tolist() == ["val_00", "val_01", "val_00", "val_01"]
    assert np.flatnonzero(np.isnan(outcomes["ao"])).tolist() == [0, 7, 8, 14, 21, 22, 34, 35]
    val = GOT10k(root, "val").tracks()
    overlaps = {
        t.name: frame_overlaps(read_result(tmp_path / "GOT-10k" / "SeqTrack", t), t.boxes, t.cover, t.resolution)
        for t in val
    }
    expected = report(overlaps)
    assert metrics == pytest.approx(
        {"ao": 100 * expected.ao, "sr50": 100 * expected.sr50, "sr75": 100 * expected.sr75,
         "ao_sequences": 100 * expected.ao_sequences}
    )  # fmt: skip
    assert Image.open(tmp_path / "seqtrack.jpg").size[0] > 1000
    saved = torch.load(tmp_path / "seqtrack.ckpt", weights_only=True)["model"]
    assert {name.partition(".")[0] for name in saved} == {"decoder"}, "the encoder is frozen"
    with zipfile.ZipFile(tmp_path / "submission.zip") as file:
        assert len(file.namelist()) == 4
    stamp = (tmp_path / "seqtrack.ckpt").stat().st_mtime_ns
    assert seqtrack.evaluate(vit, tmp_path) == metrics
    assert (tmp_path / "seqtrack.ckpt").stat().st_mtime_ns == stamp, "trained once"


def test_a_tuned_encoder_is_a_copy(root: Path, tmp_path: Path) -> None:
    vit = encoder()
    before = {name: tensor.clone() for name, tensor in vit.state_dict().items()}
    task(root, freeze=False).evaluate(vit, tmp_path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in vit.state_dict().items())
    saved = torch.load(tmp_path / "seqtrack.ckpt", weights_only=True)["model"]
    assert {name.partition(".")[0] for name in saved} == {"decoder", "encoder"}


def test_a_sequence_without_a_frame_that_counts_counts_for_nothing() -> None:
    overlaps = {"a": np.array([np.nan, 0.6, 0.8]), "b": np.full(2, np.nan)}
    items, outcomes, groups = outcomes_of(overlaps)
    assert items == ["a/00000001", "a/00000002", "a/00000003", "b/00000001", "b/00000002", "a", "b"]
    assert groups == ["a", "a", "a", "b", "b", "a", "b"]
    np.testing.assert_array_equal(outcomes["ao_sequences"], [*[np.nan] * 5, 0.7, np.nan])
    np.testing.assert_array_equal(outcomes["sr75"], [np.nan, 0, 1, *[np.nan] * 4])


def broken(root: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    Image.new("RGB", (64, 48)).save(copy / "train" / "train_01" / "00000020.jpg")
    return copy


BAD = {
    "level": (lambda root, tmp: task(root / "val").check(), r"did you mean .*GOT-10k\?"),
    "split": (lambda root, tmp: task(root, split="test").check(), "split: got test, whose boxes only the server knows"),
    "list": (
        lambda root, tmp: [(broken(root, tmp) / "train/list.txt").unlink(), task(tmp / "copy").check()],
        "no such list",
    ),
    "resolution": (lambda root, tmp: task(broken(root, tmp)).check(), r"train_01: .* exclude=\[train_01\]"),
    "too late": (
        lambda root, tmp: task(broken(root, tmp)).evaluate(encoder(), tmp / "out"),
        r"train_01: a frame is not as large",
    ),
    "patch": (
        lambda root, tmp: task(root, search_size=60).evaluate(encoder(), tmp / "out"),
        "search_size: got 60 pixels, expected a multiple",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_named_before_any_compute(root: Path, tmp_path: Path, case: str) -> None:
    work, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        work(root, tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_changed_sequence_can_be_left_out(root: Path, tmp_path: Path) -> None:
    assert task(broken(root, tmp_path), exclude=["train_01"]).check() == []


def test_missing_data_are_named(tmp_path: Path) -> None:
    assert [str(tmp_path / "none") in line for line in task(tmp_path / "none").check()] == [True, True]
