"""What all tests share: checked types, one thread, processes for files; a tiny video, a tiny image folder, `run` in a folder."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook
from PIL import Image
from started import end_all

install_import_hook("longtake", "typecheck.typechecked")  # here, as pytest's option does not reach xdist's processes

from longtake.datasets.mini import jobs  # noqa: E402
from longtake.run import main  # noqa: E402

torch.set_num_threads(1)  # small tensors: more threads only wait for one another
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the processes that tests start, too
jobs.MAX_WORKERS = 1  # to start processes takes longer than to render a world of seconds
MOST_PROCESSES = 8  # more would wait for the slowest file


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A process for each core; none besides this one where output is wanted (-s) or single files are asked for."""
    alone = config.option.capture == "no" or any(".py" in word for word in config.args)
    return 0 if alone else min(os.cpu_count() or 1, MOST_PROCESSES)


def painted(draw: np.random.Generator, label: int, size: int) -> np.ndarray:
    """A noisy picture whose class is the direction of its stripes."""
    ramp = np.stack(np.meshgrid(np.arange(size), np.arange(size)))
    stripes = np.sin((ramp[0], ramp[1], ramp.sum(0))[label % 3] * 0.9 + draw.uniform(0, 6))
    return (128 + 70 * stripes[..., None] + draw.normal(0, 20, (size, size, 3))).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def tiny_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of H.264, 96 x 64 at 8 frames per second, one key frame."""
    path, draw = tmp_path_factory.mktemp("video") / "tiny walk.mp4", np.random.default_rng(0)
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"g": "250"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        street = draw.integers(0, 256, (64, 200, 3), dtype=np.uint8)
        for i in range(32):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(street[:, 3 * i : 3 * i + 96]), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """<root>/{train,val}/<class>/: three classes of stripes, 12 training and 10 validation images each, 64 pixels."""
    root, draw = tmp_path_factory.mktemp("stripes"), np.random.default_rng(1)
    for split, count in (("train", 12), ("val", 10)):
        for label, name in enumerate(("across", "down", "slant")):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                Image.fromarray(painted(draw, label, 64)).save(root / split / name / f"{i}.png")
    return root


@pytest.fixture(autouse=True)
def processes_end_with_the_test() -> Iterator[None]:
    """Also where it fails: a training would go on for hours."""
    yield
    end_all()


@pytest.fixture(autouse=True)
def logs_end_with_the_test() -> Iterator[None]:
    """Handlers that Hydra and others set write to what pytest captures of this test, which is closed in the next one."""
    root = logging.getLogger()
    before, level = [*root.handlers], root.level
    yield
    root.handlers[:] = [handler for handler in root.handlers if handler in before]
    root.setLevel(level)


@pytest.fixture
def own_data_root(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of this test alone, and not in the folder where it has its files."""
    root = tmp_path_factory.mktemp("root")
    monkeypatch.setenv("LONGTAKE_DATA", str(root))
    return root


@pytest.fixture
def said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs `run` with these words; exit code and what it printed. The folder it is called in and the data root are fresh."""
    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        flags = [word for word in words if word.startswith("-")]
        monkeypatch.setattr(sys, "argv", ["run", *flags, *(word for word in words if word not in flags)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            if isinstance(stop.code, str):  # as the interpreter does
                print(stop.code, file=sys.stderr)
            code = 1 if isinstance(stop.code, str) else int(stop.code or 0)
        return code, *capsys.readouterr()

    return run
