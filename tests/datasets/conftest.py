"""A rendered walk with planted cuts, shared by what looks at videos."""

import os
from pathlib import Path

import pytest

from longtake.datasets.frame_store import FrameStore
from longtake.datasets.frames import StoreSpec, build
from longtake.datasets.mini.world import prepare
from longtake.datasets.mini.worlds import World


@pytest.fixture(scope="session")
def town() -> World:
    """50 s at 12 frames per second with 7 cuts."""
    return World("town", seed=28, height=120, width=160, fps=12, seconds=50, num_cuts=7, train_per_class=1,
                 val_per_class=1, test_per_class=1)  # fmt: skip


@pytest.fixture(scope="session")
def walk(town: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The town's folder, rendered once, by other processes: they do not check every array's shape."""
    mine = tmp_path_factory.getbasetemp()
    of_all = mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine
    return prepare(town, of_all / "town", progress=False, num_workers=2)


@pytest.fixture(scope="session")
def store(walk: Path, tmp_path_factory: pytest.TempPathFactory) -> FrameStore:
    return build([walk / "walk.mp4"], StoreSpec(), tmp_path_factory.mktemp("stores"), progress=False)
