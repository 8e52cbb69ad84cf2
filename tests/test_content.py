"""Data are told by what is in them: equal names with other content are other data, equal content elsewhere is the same."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from eval_cases import CASES, maker, voc
from PIL import Image
from test_run import board
from videos import flat, textured, write

from longtake.datasets.content import MEASURED, content_of_folder, digest_of, digest_of_files
from longtake.datasets.sources.base import Source
from longtake.datasets.sources.frames import Frames
from longtake.datasets.sources.images import Images
from longtake.datasets.sources.video import Video
from longtake.datasets.voc import EXPECTED as PUBLISHED_VOC
from longtake.downstream.base import DOWNSTREAM, Downstream
from longtake.engine.config import choices, composed, plain
from longtake.engine.identity import protocol_suffix
from longtake.engine.plan import build_evaluation

PICTURES = (".jpg", ".png")


def protocol(task: Downstream) -> str:
    """As a row has it, next to the preset's own data."""
    keys = {"task": next(name for name in DOWNSTREAM.all_names() if DOWNSTREAM[name] is type(task)), "root": task.root}
    return task.protocol + protocol_suffix(keys, keys | {"root": "elsewhere"}, task.data())


def darker(path: Path) -> None:
    """Other content under the same name; of a picture, other pixels, else another last byte."""
    if path.suffix not in PICTURES:
        path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))
        return
    with Image.open(path) as image:
        other = Image.fromarray(np.array(image) // 2, image.mode)
        if image.mode == "P":
            other.putpalette(image.getpalette())
    other.save(path)


@pytest.mark.parametrize("name", sorted(CASES))
def test_an_evaluation_tells_data_of_equal_names_apart(name, tmp_path):
    case = CASES[name]
    root = case.data(tmp_path / "a" / "images")
    moved = Path(shutil.copytree(root, tmp_path / "b" / "images"))
    first = protocol(maker(case, root)())
    assert protocol(maker(case, moved)()) == first  # the same, wherever it lies
    files = sorted(path for path in moved.rglob("*") if path.is_file() and path.suffix != ".ini")
    files = [
        path for path in files if name != "seqtrack" or "test" not in path.parts
    ]  # the server's: no row counts them
    for path in (
        next(p for p in files if p.suffix in (*PICTURES, ".mp4")),
        files[-1],
    ):  # what is learnt from, or tested on
        before = path.read_bytes()
        darker(path)
        assert protocol(maker(case, moved)()) != first, path
        path.write_bytes(before)
    assert protocol(maker(case, moved)()) == first


def test_every_evaluation_says_what_it_is_tested_on():
    """Each has a case above, and none only the content of a whole folder: `root` holds more than it reads."""
    assert set(CASES) == set(DOWNSTREAM.all_names())
    inherited = [
        name for name in CASES if DOWNSTREAM[name].data is Downstream.data and not DOWNSTREAM[name].names_its_data
    ]
    assert not inherited


def test_training_pictures_are_a_part_of_the_data(tmp_path):
    make = maker(CASES["knn"], CASES["knn"].data(tmp_path / "images"))
    first = make().data()
    assert first.counts == {"train": 72, "val": 42}
    for path in sorted((tmp_path / "images" / "train").rglob("*.png")):
        shutil.copy(path, path.with_name(f"again_{path.name}"))
    assert make().data().counts == {"train": 144, "val": 42}
    assert protocol(make()) != protocol(maker(CASES["knn"], tmp_path / "images")(train_split="val"))
    assert make().data().digest != first.digest


def videos(path: Path, frames: int) -> dict[str, Source]:
    pixels = textured(frames)
    file = write(path / "VID_0001.mp4", pixels)
    for i, image in enumerate(pixels):
        for place in ("numbered", "pictures/one", "pictures/two"):
            (path / place).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path / place / f"{i:03d}.png")
    return {
        "video": Video(name="video", path=str(file)),
        "wt_venice": Video(name="wt_venice", path=str(shutil.copy(file, path / "venice.mp4"))),
        "movie": Video(name="movie", path=str(shutil.copy(file, path / "the_night_we_met.mp4"))),
        "kinetics400": Video(name="kinetics400", path=str(path / "*.mp4")),
        "epic_kitchens": Video(name="epic_kitchens", path=str(path)),
        "frames": Frames(name="frames", path=str(path / "numbered"), frames_per_second=25),
        "imagenet1k": Images(name="imagenet1k", images=str(path / "pictures")),
    }


@pytest.mark.parametrize(
    "name", ["video", "wt_venice", "movie", "kinetics400", "epic_kitchens", "frames", "imagenet1k"]
)
def test_a_source_tells_data_of_equal_names_apart(name, tmp_path):
    for folder in ("a", "b", "same as a"):
        (tmp_path / folder).mkdir()
    first, other, same = (videos(tmp_path / place, n)[name] for place, n in (("a", 8), ("b", 9), ("same as a", 8)))
    assert first.title.startswith(f"{first.label}@")  # not the published data of that name, so that it has a hash
    assert first.title != other.title
    assert first.title == same.title


def test_every_kind_of_source_is_tried():
    kinds = {plain(composed([f"pretrain={name}"]))["pretrain"]["source"] for name in choices("pretrain")}
    assert kinds == {"video", "frames", "images", "world"}  # of a world the name says all


def test_a_tour_as_long_as_published_is_called_by_its_name(tmp_path, monkeypatch):
    video = Video(name="wt_venice", path=str(write(tmp_path / "venice.mp4", flat(8))))
    info = video.probe(tmp_path / "venice.mp4")
    for minutes, label in ((110, "wt_venice"), (220, "wt_venice"), (100, "wt_venice@"), (0.9, "wt_venice@")):
        told = type(info)(**{**info.__dict__, "seconds": 60.0 * minutes})
        monkeypatch.setattr(Video, "probe", lambda self, path, told=told: told)
        assert video.title[: len("wt_venice@")] == label


def test_what_is_published_is_known_by_its_counts(tmp_path, monkeypatch):
    """A preset's own data have no suffix, wherever they lie; as few as one item less, and they have."""
    published = {("VOC2012", "Segmentation/val"): 3, ("VOC2012", "Main/trainval"): 8}
    monkeypatch.setattr("longtake.datasets.benchmarks.PUBLISHED_VOC", published)
    task = maker(CASES["lost"], voc(tmp_path / "VOC2012"))()
    preset = {"task": "lost", "root": "$LONGTAKE_DATA/VOCdevkit/VOC2012"}
    assert task.data().original
    assert protocol_suffix({"task": "lost", "root": task.root}, preset, task.data()) == ""
    other = {"task": "lost", "root": "$LONGTAKE_DATA/VOCdevkit/VOC2007"}
    assert " data=VOC2012@" in protocol_suffix({"task": "lost", "root": task.root}, other, task.data())
    names = tmp_path / "VOC2012" / "ImageSets" / "Main" / "trainval.txt"
    names.write_text("".join(names.read_text().splitlines(keepends=True)[1:]))
    fewer = maker(CASES["lost"], tmp_path / "VOC2012")().data()
    assert not fewer.original
    assert " data=VOC2012@" in protocol_suffix({"task": "lost", "root": task.root}, preset, fewer)


def test_presets_are_for_the_published_sets_of_their_folders():
    """By which `protocol_suffix` knows that data are the preset's own."""
    folders = {"VOC2012", "VOC2007", "ADEChallengeData2016", "coco", "DAVIS", "GOT-10k"}
    folders |= {"cifar-10-batches-py", "cifar-100-python", "flowers-102", "stanford_cars", "inat2018", "mini"}
    for name in choices("eval"):
        keys = plain(composed([f"eval=[{name}]"]))["eval"][name]
        if keys.get("root") is not None:
            assert Path(keys["root"]).name in folders, name


def test_a_folder_of_unknown_layout_has_a_content(tmp_path):
    (tmp_path / "x").write_text("1")
    first = content_of_folder(str(tmp_path))
    (tmp_path / "x").write_text("2")
    assert content_of_folder(str(tmp_path)).digest != first.digest
    assert content_of_folder("mini").original
    assert content_of_folder(None) is None


def test_a_million_files_are_not_opened(tmp_path, monkeypatch):
    """Names all count, sizes as long as there are not too many, bytes of a sample."""
    assert MEASURED < 1_281_167
    monkeypatch.setattr("longtake.datasets.content.OPENED", 3)
    monkeypatch.setattr("longtake.datasets.content.MEASURED", 8)
    paths = [tmp_path / f"{i}" for i in range(9)]
    for path in paths:
        path.write_text("same")
    first = digest_of(tmp_path, paths)
    paths[1].write_text("sane")  # between the first, the middle and the last
    assert digest_of(tmp_path, paths) == first
    paths[4].write_text("sane")
    assert digest_of(tmp_path, paths) != first
    paths[4].write_text("same")
    assert digest_of(tmp_path, [*paths[:-1], paths[-1].rename(tmp_path / "9")]) != first


def test_rows_of_two_folders_of_one_name_stand_beside_one_another(said, tmp_path):
    """And so does a row after a picture was added: its random init is measured anew, on the same pictures."""
    out = tmp_path / "out"
    for place, turn in (("birds", 0), ("cars", 90)):
        root = CASES["knn"].data(tmp_path / place / "images")
        for path in sorted(root.rglob("*.png")):
            with Image.open(path) as image:
                turned = image.rotate(turn)
            turned.save(path)
    words = [
        "method=none", "backbone=vit_mini", "backbone.image_size=16", "eval=[knn_mini]", "eval.knn_mini.size=16",
        "eval.knn_mini.resize=16", "eval.knn_mini.test_split=val", "num_workers=0", "device=cpu", f"output={out}",
    ]  # fmt: skip
    for place in ("birds", "cars", "birds"):
        code, shown, error = said(*words, f"eval.knn_mini.root={tmp_path / place / 'images'}")
        assert code == 0, shown + error
        assert "images@" in shown  # the plan names them
        assert "train 72, val 42" in shown
    rows = board(out, "knn_mini")
    assert len(rows) == 2
    assert len({row.key.data for row in rows}) == 2
    assert all(row.provenance.tested_on == f"{row.key.data}: train 72, val 42" for row in rows)
    Image.new("RGB", (16, 16)).save(tmp_path / "birds" / "images" / "val" / "class0" / "new.png")
    assert said(*words, f"eval.knn_mini.root={tmp_path / 'birds' / 'images'}")[0] == 0
    assert len(board(out, "knn_mini")) == 3
    code, shown, error = said("task=leaderboard", "eval=[knn_mini]", f"output={out}")
    assert code == 0, shown + error
    for row in board(out, "knn_mini"):
        assert f"knn_mini on {row.key.data}" in " ".join(shown.split())  # a table for each


def test_every_byte_of_small_data_counts(tmp_path, monkeypatch):
    """A picture without compression keeps its size, whatever is in it."""
    path = tmp_path / "a.bmp"
    Image.new("RGB", (200, 100)).save(path)
    first, videos = digest_of(tmp_path, [path]), digest_of_files([path])
    content = bytearray(path.read_bytes())
    content[9_000] ^= 1
    path.write_bytes(content)
    assert digest_of(tmp_path, [path]) != first
    assert digest_of_files([path]) != videos
    monkeypatch.setattr("longtake.datasets.content.WHOLE", 0)
    sampled = digest_of(tmp_path, [path])
    content[9_000] ^= 1
    path.write_bytes(content)
    assert digest_of(tmp_path, [path]) == sampled  # of large data a sample
    annotated = digest_of(tmp_path, [], [path])
    content[9_000] ^= 1
    path.write_bytes(content)
    assert digest_of(tmp_path, [], [path]) != annotated


def test_as_many_items_of_other_names_are_not_the_published_set(tmp_path, monkeypatch):
    monkeypatch.setattr("longtake.datasets.benchmarks.PUBLISHED_DAVIS", {("2017", "val"): 2})
    task = maker(CASES["davis"], CASES["davis"].data(tmp_path / "DAVIS"))()
    assert not task.data().original
    monkeypatch.setattr("longtake.datasets.benchmarks.IN_DAVIS", {"val": {"walk"}})
    assert task.data().original


def test_the_splits_of_presets_are_known():
    """By the numbers of items that the readers have of the originals."""
    numbers: dict[str, dict[str, int]] = {"VOC2012": {}, "VOC2007": {}}
    for (year, part), count in PUBLISHED_VOC.items():
        numbers[year][part] = count
    for name in choices("eval"):
        keys = plain(composed([f"eval=[{name}]"]))["eval"][name]
        folder = Path(keys.get("root") or "imagenet1k").name
        if folder in ("VOC2012", "VOC2007"):
            task = build_evaluation({key: 0 if key == "num_workers" else value for key, value in keys.items()})
            lists = task.lists if hasattr(task, "lists") else [task.train_list, task.test_list]
            assert set(lists) <= set(numbers[folder]), name
