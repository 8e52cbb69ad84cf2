"""A frame store gives back what was written, or says that it does not; it is known by the whole content of its videos."""

import json
import os
import shutil
from pathlib import Path

import lmdb
import numpy as np
import pytest
from stores import digest, outcomes
from videos import joined, packets, textured, write

from longtake.datasets import content_hash as contents
from longtake.datasets import frames
from longtake.datasets.content_hash import content_hash, file_hash
from longtake.datasets.frame_store import FrameStore, close_environment
from longtake.datasets.frames import StoreSpec, build, store_folder

SPEC = StoreSpec(short_side=48, cuts=False)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("videos") / "a.mp4", textured(60))


def flips(size: int) -> list[int]:
    """Places all over the file, the heads of its pages among them."""
    drawn = np.random.default_rng(0)
    return [
        *drawn.integers(0, size, 60).tolist(),
        *(4096 * drawn.integers(0, size // 4096, 60) + drawn.integers(0, 64, 60)).tolist(),
    ]


def test_no_flipped_bit_of_a_store_is_taken(video: Path, tmp_path: Path) -> None:
    store = build([video], SPEC, tmp_path / "sound", progress=False)
    known, content = digest(store), (store.path / "data.mdb").read_bytes()
    folders = []
    for number, place in enumerate(flips(len(content))):
        flipped = bytearray(content)
        flipped[place] ^= 1 << number % 8
        folder = tmp_path / f"flipped{number}"
        folder.mkdir()
        (folder / "data.mdb").write_bytes(flipped)
        folders.append(folder)
    found = outcomes(folders, known)
    assert set(found) == {"same", "said"}
    assert found.count("said") > 50


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_store_that_is_cut_short_is_a_sentence(video: Path, tmp_path: Path, share: float) -> None:
    store = build([video], SPEC, tmp_path, progress=False)
    known, content, path = digest(store), (store.path / "data.mdb").read_bytes(), store.path
    cut = tmp_path / "cut"
    cut.mkdir()
    (cut / "data.mdb").write_bytes(content[: int(share * len(content))])
    found, sound = outcomes([cut, path], known)
    assert found in (("said", "same") if share == 0.99 else ("said",))  # nothing may use the last pages
    assert sound == "same"


def old_store(store: FrameStore) -> Path:
    """As it was before there were sums, and the reader had a number."""
    path, info = store.path, {key: value for key, value in store.info.items() if key != "reader"}
    info["sources"] = [{key: value for key, value in source.items() if key != "content"} for source in info["sources"]]
    close_environment(path)
    with (
        lmdb.open(str(path), map_size=1 << 30, lock=False) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, _ in list(transaction.cursor()):
            if key.startswith((b"sums", b"seal")):
                transaction.delete(key)
        transaction.put(b"store", json.dumps(info).encode())
    return path


def test_a_store_from_before_there_were_sums_is_read(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = build([video], SPEC, tmp_path, progress=False)
    known = digest(store)
    path = old_store(store)
    monkeypatch.setattr(frames, "_write", None)  # it is not written again
    again = build([video], SPEC, tmp_path, progress=False)
    assert again.path == path == store_folder(tmp_path, [video], SPEC)
    assert digest(again) == known


def test_an_old_store_of_a_video_that_is_read_otherwise_is_built_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = joined(tmp_path / "two.mp4", 32, 64)
    path = old_store(build([video], SPEC, tmp_path / "stores", progress=False))
    capsys.readouterr()
    assert build([video], SPEC, tmp_path / "stores", progress=False).info["reader"] == frames.READER
    said = capsys.readouterr().err.replace("\n", " ")
    assert f"{path}: built when two.mp4 was read with other times or pictures; it is built anew" in said


@pytest.fixture
def large(video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A video of more than the parts that `file_hash` looks at, which are made small here."""
    monkeypatch.setattr(contents, "HASHED_PART", 64)
    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path / "root"))
    return Path(shutil.copy(video, tmp_path / "large.mp4"))


def change(path: Path) -> None:
    """One bit, between the parts that `file_hash` looks at; the size and the time of change stay."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    last = packets(path)[-1]
    content[last.pos + last.size - 3] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("settled", [True, False])
def test_a_change_anywhere_is_another_content(large: Path, monkeypatch: pytest.MonkeyPatch, settled: bool) -> None:
    monkeypatch.setattr(contents, "SETTLED_SECONDS", -60 if settled else 10)
    quick, whole = file_hash(large), content_hash(large)
    assert content_hash(large) == whole
    assert (large.parent / "root" / "hashes").exists() is settled
    change(large)
    assert file_hash(large) == quick
    assert content_hash(large) != whole


def test_a_small_file_is_known_by_its_quick_hash(video: Path) -> None:
    assert content_hash(video) == file_hash(video)


def test_a_hash_that_is_remembered_is_not_computed_again(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "SETTLED_SECONDS", -60)
    whole = content_hash(large)
    kept = next((large.parent / "root" / "hashes").iterdir())
    monkeypatch.setattr(contents.hashlib, "file_digest", None)
    assert content_hash(large) == whole
    monkeypatch.undo()
    monkeypatch.setattr(contents, "HASHED_PART", 64)
    kept.write_text("[1")
    assert content_hash(large) == whole


def test_a_changed_video_has_a_store_of_its_own(large: Path, tmp_path: Path) -> None:
    first = build([large], SPEC, tmp_path / "stores", progress=False)
    assert first.path == store_folder(tmp_path / "stores", [large], SPEC)
    change(large)
    second = build([large], SPEC, tmp_path / "stores", skip_corrupt=True, progress=False)
    assert second.path.name.startswith(f"{first.path.name}-")
    again = build([large], SPEC, tmp_path / "stores", skip_corrupt=True, progress=False)
    assert again.path == second.path
