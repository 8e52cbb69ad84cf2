"""What is written is for whoever the user's umask lets read it: the group of a lab, say."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec.implementations.local import get_umask
from test_run import SMALL, TASKS

from longtake.datasets.mini.world import prepare
from longtake.datasets.mini.worlds import World

TINY = World(
    "tiny", height=32, width=48, fps=10, seconds=1, num_cuts=0, texels_per_metre=8, image_size=16, train_per_class=1,
    val_per_class=1, test_per_class=1,
)  # fmt: skip


@pytest.fixture(params=[0o022, 0o002], ids=["022", "002"])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    get_umask.cache_clear()  # fsspec, which writes last.ckpt, asks a process for it once
    yield request.param
    os.umask(before)
    get_umask.cache_clear()


def others(folder: Path, umask: int) -> dict[str, str]:
    """Files and folders whose mode is another than that of a plain `open` and `mkdir`."""
    found = {path: (path.stat().st_mode & 0o777, 0o777 if path.is_dir() else 0o666) for path in folder.rglob("*")}
    assert found
    return {path.name: oct(mode) for path, (mode, plain) in found.items() if mode != plain & ~umask}


def test_of_a_run_and_an_export(said, tmp_path, tiny_video, tiny_folder, umask):
    roots = [f"eval.{task}.root={tiny_folder}" for task in ("knn_imagenet1k", "linear_imagenet1k")]
    words = ["pretrain=video", f"pretrain.path='{tiny_video}'", *SMALL, *TASKS, *roots, "epochs=1", "output=out"]
    code, _, error = said(*words)
    assert code == 0, error
    assert said("task=export", "checkpoint=out/latest/encoder.safetensors", "output=out")[0] == 0
    written = {path.name for path in tmp_path.rglob("*")}
    assert written >= {"data.mdb", "last.ckpt", "run.json", "model.safetensors", "outcomes.npz", "knn_imagenet1k.csv"}
    assert others(tmp_path, umask) == {}


def test_of_a_mini_world(tmp_path, umask):
    prepare(TINY, tmp_path, progress=False, num_workers=1)
    assert others(tmp_path, umask) == {}
