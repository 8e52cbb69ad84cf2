"""Files and folders as people have them: hidden, linked, with colons, dollars, bytes that are no UTF-8, pictures among videos."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from videos import textured, write

from longtake.datasets.analyze import LONGEST, folder_name, shown
from longtake.datasets.frames import StoreSpec, build
from longtake.datasets.roots import Place, data_root, expanded
from longtake.datasets.sources.base import SOURCES
from longtake.datasets.sources.video import Video
from longtake.datasets.video import decode, probe
from longtake.datasets.video_files import VIDEO_SUFFIXES
from longtake.downstream.base import DOWNSTREAM
from longtake.engine.config import choices, plainly
from longtake.engine.keys import _at_home
from longtake.engine.keywords import keywords, of_no_class
from longtake.engine.words import text_of


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("sound") / "a.mp4", textured(12))


def paths(*words: str | Path) -> list[Path]:
    return Video(name="video", path=[str(word) for word in words]).paths


@pytest.mark.parametrize("pattern", ["", "/*", "/*.MOV", "/**/*"])
def test_hidden_files_are_no_videos(sound: Path, tmp_path: Path, pattern: str) -> None:
    shutil.copy(sound, tmp_path / "z.MOV")
    for name in ("._z.MOV", ".Trashes/z.MOV", ".hidden.mov"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\x16\7 no video")
    assert set(paths(f"{tmp_path}{pattern}")) == {tmp_path / "z.MOV"}


@pytest.mark.parametrize("suffix", [s for suffix in VIDEO_SUFFIXES for s in (suffix, suffix.upper(), suffix.title())])
def test_extensions_may_be_written_in_any_way(sound: Path, tmp_path: Path, suffix: str) -> None:
    shutil.copy(sound, tmp_path / f"a{suffix}")
    assert paths(tmp_path) == [tmp_path / f"a{suffix}"]


def test_links_are_followed_once(sound: Path, tmp_path: Path) -> None:
    videos = tmp_path / "disk" / "videos"
    videos.mkdir(parents=True)
    shutil.copy(sound, videos / "a.mp4")
    (tmp_path / "walks").mkdir()
    (tmp_path / "walks" / "linked").symlink_to(videos)
    (tmp_path / "walks" / "b.mp4").symlink_to(sound)
    (videos / "round").symlink_to(tmp_path / "walks")  # a circle
    assert paths(tmp_path / "walks") == [tmp_path / "walks" / "b.mp4", tmp_path / "walks" / "linked" / "a.mp4"]
    (tmp_path / "whole").symlink_to(tmp_path / "walks")
    assert len(paths(tmp_path / "whole")) == 2


NAMES = ["10:30.mp4", "walk$_$.mp4", "http:walk.mp4", "a%03d.mp4", "-y.mp4", "a b'\".mp4", "~old.mp4", "día.mp4"]
NAMES.append(f"{'x' * 250}.mp4")
NAMES.append(os.fsdecode(b"\xff\xe9.mp4"))


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_a_file(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    shutil.copy(sound, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert paths(name) == [Path(name)]
    assert paths(tmp_path) == [tmp_path / name]
    assert probe(Path(name)).num_frames == len(list(decode(Path(name)))) == 12
    store = build([Path(name)], StoreSpec(short_side=32), tmp_path / "stores", progress=False)
    assert len(store) == 12
    from matplotlib.figure import Figure

    figure = Figure()
    figure.suptitle(shown(f"video:{Path(name).stem}: regions"), parse_math=False)
    figure.savefig(tmp_path / "title.png")


def pictures(folder: Path) -> Path:
    folder.mkdir()
    for i in range(3):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / f"{i}.jpg")
    return folder


@pytest.mark.parametrize("word", ["", "/*.jpg", "/*", "/0.jpg"])
def test_pictures_are_no_videos_of_one_frame(tmp_path: Path, word: str) -> None:
    folder = pictures(tmp_path / "pictures")
    with pytest.raises(ValueError, match=r"pictures.*pretrain=frames.*pretrain=images") as error:
        paths(f"{folder}{word}")
    assert "\n" not in str(error.value)


def test_a_video_beside_pictures_is_taken(sound: Path, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "pictures")
    shutil.copy(sound, folder / "a.mp4")
    assert paths(folder) == [folder / "a.mp4"]


def test_a_folder_of_an_x_ray_has_a_name_that_can_be_made(tmp_path: Path) -> None:
    many = [f"video:{'+'.join(f'GX{i:06d}-día' for i in range(n, n + 40))}" for n in (0, 1)]
    names = [folder_name(label) for label in many]
    assert len(set(names)) == 2
    for name in names:
        assert len(name.encode()) <= LONGEST
        (tmp_path / name).mkdir()
    assert folder_name("video:walk") == "video_walk"


SPELLINGS = ("~", "$HOME", "${HOME}", "$MINE", "$LONGTAKE_DATA")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MINE", str(tmp_path))
    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path))
    return tmp_path


def is_path(hint: Any) -> bool:
    return text_of(hint) == text_of(Place)


def paths_in(kind: str, name: str, known: Mapping[str, Any]) -> list:
    return [
        pytest.param(kind, name, key, id=f"{name}.{key}") for key, keyword in known.items() if is_path(keyword.hint)
    ]


def path_keys() -> list:
    """Every keyword of every source, every evaluation with every layout, and every key of no class, that takes a path."""
    found = [param for part in of_no_class() for param in paths_in("key", part.place, part.keywords)]
    found += [param for name in SOURCES.all_names() for param in paths_in("source", name, keywords(SOURCES[name]))]
    by_reader: dict[tuple[str, str], str] = {}
    for name in choices("eval"):
        keys = plainly([f"eval=[{name}]"])["eval"][name]
        by_reader.setdefault((keys["task"], str(keys.get("layout"))), name)
    for (task, _), name in by_reader.items():
        found += paths_in("evaluation", name, keywords(DOWNSTREAM[task]))
    return found


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(("kind", "name", "key"), path_keys())
def test_every_path_is_expanded(home: Path, kind: str, name: str, key: str, spelling: str) -> None:
    word, right = f"{spelling}/nowhere", str(home / "nowhere")
    if kind == "key":
        config = {part.place or "root": dict.fromkeys(part.keywords) for part in of_no_class()}
        whole = {**config.pop("root"), **config}
        place = whole[name] if name else whole
        place[key] = word
        _at_home(whole)
        assert place[key] == right
        return
    if kind == "source":
        given = {"frames_per_second": 10.0} if name == "frames" else {}
        source = SOURCES[name](name=name, **{key: word}, **given)
        with pytest.raises(ValueError, match="nowhere") as error:
            source.check(1)
        said = str(error.value)
    else:
        keys = dict(plainly([f"eval=[{name}]"])["eval"][name])
        cls = DOWNSTREAM[keys.pop("task")]
        small = {"num_workers": 0, "device": "cpu"}
        known = {field.name for field in fields(cls)}
        given = {**keys, **small, key: word}
        task = cls(**{k: v for k, v in given.items() if k in known and k != "costs"})
        said = " ".join(task.check())
    assert right in said, said
    assert word not in said


def test_what_exists_as_it_is_typed_is_that(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    (home / "a$HOME.mp4").touch()
    assert expanded("a$HOME.mp4") == Path("a$HOME.mp4")
    assert expanded("$NOBODY/a") == Path("$NOBODY/a")
    assert expanded("$LONGTAKE_DATABASE") == Path("$LONGTAKE_DATABASE")
    monkeypatch.setenv("LONGTAKE_DATA", "$MINE/data")
    assert data_root() == home / "data"
    assert expanded("$LONGTAKE_DATA/a") == home / "data" / "a"
