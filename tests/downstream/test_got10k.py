"""AO and SR against got-10k/toolkit (ExperimentGOT10k.report, utils.metrics.rect_iou), and the files that go with them."""

import math
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from golden import G

from longtake.datasets.got10k import GOT10k, LabelledSequence, write_got10k
from longtake.downstream.got10k import (
    SUBMITTED,
    Report,
    bounded,
    frame_overlaps,
    rect_iou,
    report,
    score_folder,
    server_metrics,
    write_result,
)
from longtake.downstream.got10k_submission import validate_submission, write_submission

# name: frames, truth's x y w h vx vy, error px pw ps, phase, frames of cover 0
SEQUENCES = {
    "GOT-10k_Val_000001": (6, (10, 20, 40, 30, 2.0, 0.5), (1.5, 2.0, 0.05), 0.3, [3]),
    "GOT-10k_Val_000002": (16, (60, 40, 35.5, 28.25, -1.5, 1.25), (4.0, 3.0, 0.12), 0.9, []),
    "GOT-10k_Val_000003": (11, (-4, 70, 30, 24, 1.0, 3.0), (3.0, 2.0, 0.2), 1.7, [1, 9]),
}
SCORES = {  # AO, SR0.5, SR0.75
    "GOT-10k_Val_000001": (0.838057294059, 1.0, 1.0),
    "GOT-10k_Val_000002": (0.480617146866, 0.466666666667, 0.0666666666667),
    "GOT-10k_Val_000003": (0.63808191076, 0.875, 0.0),
}
OVERLAPS = {  # frames 1 to the end
    "GOT-10k_Val_000001": [0.902343956, 0.913609037, 0.841837656, 0.778386622, 0.757889561],
    "GOT-10k_Val_000002": [0.79188625, 0.659411879, 0.561147685, 0.550295647, 0.607724831, 0.61480478, 0.621200082, 0.482654571,
                           0.350066854, 0.310776242, 0.358804447, 0.38285953, 0.38562866, 0.291149186, 0.240846559],
    "GOT-10k_Val_000003": [0.742717245, 0.749337215, 0.736314594, 0.675227489, 0.672381785, 0.678974974, 0.617642082,
                           0.551723078, 0.480437335, 0.42305407],
}  # fmt: skip
OVERLAPS_WITHOUT_BOUND = [0.711670759, 0.66110555, 0.694463717, 0.675227489, 0.672381785, 0.678974974, 0.558815606,
                          0.495806426, 0.471233008, 0.437129479]  # fmt: skip
FIRST_ROWS = {
    "GOT-10k_Val_000001": ["10.000,20.000,40.000,30.000", "12.650,21.597,38.065,29.409", "16.487,21.242,37.601,30.270"],
    "GOT-10k_Val_000002": ["60.000,40.000,35.500,28.250", "64.135,41.374,30.840,29.113", "64.655,39.665,31.343,31.024"],
    "GOT-10k_Val_000003": ["-4.000,70.000,30.000,24.000", "1.713,70.375,25.920,28.536", "1.785,71.674,28.927,29.759"],
}  # fmt: skip


def sequence(name: str) -> tuple[LabelledSequence, np.ndarray]:
    """A sequence with its truth, and what a tracker answered."""
    n, (x, y, w, h, vx, vy), (px, pw, ps), phase, hidden = SEQUENCES[name]
    t = np.arange(n)
    truth = np.stack([x + vx * t, y + vy * t, np.full(n, w), np.full(n, h)], 1).astype(np.float64)
    noise = G((n, 4), 1.7, phase).double().numpy()
    boxes = truth.copy()
    boxes[:, :2] += noise[:, :2] * px * (1 + 0.25 * t[:, None])
    boxes[:, 2:] *= 1 + noise[:, 2:] * ps * (1 + 0.1 * t[:, None])
    boxes[:, 0] += pw * noise[:, 3]
    boxes[0] = truth[0]
    cover = np.where(np.isin(t, hidden), 0, 1 + (3 * t) % 8)
    return LabelledSequence(name, np.zeros((n, 120, 160, 3), np.uint8), truth, cover, np.zeros(n, bool)), boxes


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[GOT10k, Path]:
    """The data, and the results of a tracker."""
    root = tmp_path_factory.mktemp("got")
    pairs = [sequence(name) for name in SEQUENCES]
    for labelled, boxes in pairs:
        write_result(root / "GOT-10k" / "tracker", labelled.name, boxes, np.full(len(boxes), 0.01))
    return write_got10k(root / "data", [labelled for labelled, _ in pairs]), root / "GOT-10k" / "tracker"


def test_the_report_is_the_official_one(folders: tuple[GOT10k, Path]) -> None:
    data, results = folders
    found = score_folder(data, results)
    assert found.ao == pytest.approx(0.580227469086, abs=1e-9)
    assert found.sr50 == pytest.approx(0.666666666667, abs=1e-9)
    assert found.sr75 == pytest.approx(0.185185185185, abs=1e-9)
    assert found.success_curve.sum() == pytest.approx(58.5925925926, abs=1e-9)
    assert found.success_curve[[0, 25, 50, 75, 100]] == pytest.approx(
        [1, 0.962962962963, 0.666666666667, 0.185185185185, 0]
    )
    assert (found.ao_sequences, found.sr50_sequences, found.sr75_sequences) == pytest.approx(
        (0.652252117228, 0.780555555556, 0.355555555556), abs=1e-9
    )
    for name, (ao, sr50, sr75) in SCORES.items():
        alone = report({name: found.overlaps[name]})
        assert (alone.ao, alone.sr50, alone.sr75) == pytest.approx((ao, sr50, sr75), abs=1e-9)


@pytest.mark.parametrize("name", SEQUENCES)
def test_every_frame_is_the_official_one(folders: tuple[GOT10k, Path], name: str) -> None:
    boxes = np.loadtxt(folders[1] / name / f"{name}_001.txt", delimiter=",")
    truth = sequence(name)[0].boxes
    assert rect_iou(boxes, truth, (160, 120))[1:] == pytest.approx(OVERLAPS[name], abs=1e-9)
    without = OVERLAPS_WITHOUT_BOUND if name.endswith("3") else OVERLAPS[name]
    assert rect_iou(boxes, truth)[1:] == pytest.approx(without, abs=1e-9)
    counted = frame_overlaps(boxes, truth, sequence(name)[0].cover, (160, 120))
    assert np.flatnonzero(np.isnan(counted)).tolist() == sorted({0, *SEQUENCES[name][4]})


RECTANGLES = [  # a, b, IoU, IoU within 160 x 120, a and b within it
    ((-5, 0, 10, 10), (0, 0, 5, 10), 0.5, 0.5, (0, 0, 10, 10), (0, 0, 5, 10)),
    ((10, 10, 20, 20), (15, 10, 20, 20), 0.6, 0.6, (10, 10, 20, 20), (15, 10, 20, 20)),
    ((152, 30, 20, 10), (152, 30, 8, 10), 0.4, 1.0, (152, 30, 8, 10), (152, 30, 8, 10)),
    ((0, 115, 30, 20), (0, 110, 30, 20), 0.6, 0.5, (0, 115, 30, 5), (0, 110, 30, 10)),
    ((20, 20, 0, 10), (20, 20, 10, 10), 0.0, 0.0, (20, 20, 0, 10), (20, 20, 10, 10)),
    ((3, 3, 10, 10), (3, 3, 10, 10), 1.0, 1.0, (3, 3, 10, 10), (3, 3, 10, 10)),
    ((-20, -20, 10, 10), (0, 0, 10, 10), 0.0, 1.0, (0, 0, 10, 10), (0, 0, 10, 10)),
    ((165, 5, 10, 10), (150, 5, 10, 10), 0.0, 0.0, (160, 5, 0, 10), (150, 5, 10, 10)),
    ((30.25, 41.5, 17.75, 22.125), (29.5, 40, 18, 25.5), 0.811926605505, 0.811926605505, (30.25, 41.5, 17.75, 22.125),
     (29.5, 40, 18, 25.5)),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b", "iou", "iou_bound", "a_bound", "b_bound"), RECTANGLES)
def test_overlaps_of_boxes_equal_the_official_ones(a, b, iou, iou_bound, a_bound, b_bound) -> None:
    first, second = np.array([a], np.float64), np.array([b], np.float64)
    assert rect_iou(first, second)[0] == pytest.approx(iou, abs=1e-9)
    assert rect_iou(first, second, (160, 120))[0] == pytest.approx(iou_bound, abs=1e-9)
    assert bounded(first, (160, 120))[0].tolist() == list(a_bound)
    assert bounded(second, (160, 120))[0].tolist() == list(b_bound)
    assert first[0].tolist() == list(a), "arguments stay as they are"


def test_result_files_are_the_official_ones(folders: tuple[GOT10k, Path]) -> None:
    results = folders[1]
    files = sorted(p.relative_to(results).as_posix() for p in results.rglob("*.txt"))
    assert files == [f"{name}/{name}_{kind}.txt" for name in SEQUENCES for kind in ("001", "time")]
    for name, rows in FIRST_ROWS.items():
        lines = (results / name / f"{name}_001.txt").read_text().split("\n")
        assert lines[:3] == rows
        times = (results / name / f"{name}_time.txt").read_text().splitlines()
        assert len(times) == len(lines) - 1 == SEQUENCES[name][0]
        assert all(re.fullmatch(r"\d+\.\d{8}", line) for line in times)


def changed(results: Path, target: Path, name: str, text: str | None) -> Path:
    """A copy of the results with another file."""
    for path in results.rglob("*.txt"):
        copy = target / path.relative_to(results)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
    one = target / "GOT-10k_Val_000001" / f"GOT-10k_Val_000001_{name}.txt"
    one.unlink() if text is None else one.write_text(text)
    return target


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("001", None, r"GOT-10k_Val_000001_001\.txt: no such file"),
        ("001", "1,2,3,4\n" * 5, "GOT-10k_Val_000001: 5 boxes, expected 6"),
        ("001", "1 2 3 4\n" * 6, "expected 4 numbers with commas"),
        ("001", "1\t2\t3\t4\n" * 6, "expected 4 numbers with commas"),
        ("001", "1,2,3,nan\n" * 6, "GOT-10k_Val_000001: frame 0 is .*nan.*, expected finite numbers"),
    ],
)
def test_results_that_cannot_be_scored_are_named(folders, tmp_path: Path, name: str, text: str | None, message) -> None:
    with pytest.raises(ValueError, match=message):
        score_folder(folders[0], changed(folders[1], tmp_path, name, text))


def test_results_in_the_wrong_folder_are_found(folders: tuple[GOT10k, Path]) -> None:
    with pytest.raises(ValueError, match=r"did you mean .*tracker\?"):
        score_folder(folders[0], folders[1].parent)


def test_the_mean_over_frames_is_not_the_one_over_sequences() -> None:
    found = report(
        {"long": np.array([math.nan, 1, 1, 1]), "short": np.array([math.nan, 0]), "none": np.full(3, math.nan)}
    )
    assert isinstance(found, Report)
    assert (found.ao, found.ao_sequences) == (0.75, 0.5)  # a sequence of which no frame counts is left out
    assert report({"edge": np.array([0.5, 0.75, 1.0])}).sr50 == pytest.approx(2 / 3)  # strictly above


@pytest.fixture
def hidden(tmp_path: Path) -> tuple[GOT10k, Path]:
    """A test split and a tracker's results on it."""
    names = ["GOT-10k_Test_000001", "GOT-10k_Test_000002"]
    pairs = [sequence(name) for name in list(SEQUENCES)[:2]]
    for name, (_, boxes) in zip(names, pairs, strict=True):
        write_result(tmp_path / "T", name, boxes, np.full(len(boxes), 0.01))
    labelled = [
        LabelledSequence(name, s.frames, s.boxes, s.cover, s.cut) for name, (s, _) in zip(names, pairs, strict=True)
    ]
    return write_got10k(tmp_path / "data", labelled, "test"), tmp_path / "T"


def test_the_archive_is_the_official_one(hidden: tuple[GOT10k, Path], tmp_path: Path) -> None:
    data, results = hidden
    archive = write_submission(data, results, tmp_path / "GOT-10k" / "T.zip")
    with zipfile.ZipFile(archive) as file:
        assert file.namelist() == [
            "GOT-10k_Test_000001/GOT-10k_Test_000001_001.txt", "GOT-10k_Test_000001/GOT-10k_Test_000001_time.txt",
            "GOT-10k_Test_000002/GOT-10k_Test_000002_001.txt", "GOT-10k_Test_000002/GOT-10k_Test_000002_time.txt",
        ]  # fmt: skip
        assert (
            file.read("GOT-10k_Test_000001/GOT-10k_Test_000001_001.txt").decode().split()[:3]
            == (FIRST_ROWS["GOT-10k_Val_000001"])
        )
    validate_submission(data, archive)


BOXES = "GOT-10k_Test_000001/GOT-10k_Test_000001_001.txt"
TIMES = BOXES.replace("_001.txt", "_time.txt")
SPOILT = {
    "level": (lambda files: {f"T/{name}": text for name, text in files.items()}, "T/GOT-10k_Test_000001.*at the top"),
    "missing": (lambda files: {n: t for n, t in files.items() if n != BOXES}, f"no {BOXES}"),
    "time": (lambda files: {n: t for n, t in files.items() if n != TIMES}, f"no {TIMES}"),
    "spaces": (lambda files: files | {BOXES: files[BOXES].replace(",", " ")}, "4 numbers with commas"),
    "tabs": (lambda files: files | {BOXES: files[BOXES].replace(",", "\t")}, "4 numbers with commas"),
    "lines": (lambda files: files | {BOXES: files[BOXES] + "1,2,3,4\n"}, "7 lines, expected 6"),
    "times": (lambda files: files | {TIMES: "0.1\n"}, f"{TIMES}: 1 lines, expected 6"),
    "more": (lambda files: files | {"GOT-10k_Test_000009/x.txt": ""}, "GOT-10k_Test_000009/x.txt: not expected"),
    "first": (lambda files: files | {BOXES: files[BOXES].replace("10.000", "90.000", 1)}, "first box"),
}  # fmt: skip


@pytest.mark.parametrize("case", SPOILT)
def test_an_archive_the_server_would_refuse_is_named(hidden, tmp_path: Path, case: str) -> None:
    data, results = hidden
    spoil, message = SPOILT[case]
    archive = write_submission(data, results, tmp_path / "good.zip")
    with zipfile.ZipFile(archive) as file:
        files = {name: file.read(name).decode() for name in file.namelist()}
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as file:
        for name, text in spoil(files).items():
            file.writestr(name, text)
    with pytest.raises(ValueError, match=message):
        validate_submission(data, tmp_path / "bad.zip")
    (tmp_path / "not.zip").write_text("x")
    with pytest.raises(ValueError, match="not a zip"):
        validate_submission(data, tmp_path / "not.zip")


def test_what_the_server_prints_becomes_per_cent() -> None:
    assert server_metrics(0.414, 0.481, 0.231) == pytest.approx({"mAO": 41.4, "mSR50": 48.1, "mSR75": 23.1})
    assert tuple(server_metrics(0, 0, 0)) == SUBMITTED
    for numbers, message in (
        ((41.4, 48.1, 23.1), "mAO: got 41.4, expected a share"),
        ((0.4, 0.3, 0.5), "mSR75 .* above"),
    ):
        with pytest.raises(ValueError, match=message):
            server_metrics(*numbers)


@pytest.mark.parametrize("name", ["../elsewhere", "/elsewhere", "a/../../b", "C:\\x"])
def test_results_stay_in_their_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="in the data's folder"):
        write_result(tmp_path / "results", name, np.zeros((2, 4)), np.zeros(2))
    assert not list(tmp_path.iterdir())
