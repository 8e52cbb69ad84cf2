"""Every task with every kind of input that it cannot work with: one sentence that names it, exit code 2, no traceback."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_runs import SMALL

from longtake.backbones.vit import ViT
from longtake.backbones.weights import save_encoder

Said = Callable[..., tuple[int, str, str]]
PICTURES = ("size=16", "resize=16", "num_neighbors=[1]")
HEADER = {"method": "dino", "variant": "", "pretrain": "mini", "backbone": "vit_mini_8", "epochs": 1, "seed": 0, "config_hash": "",
          "code_hash": "x", "frames_seen": 1, "hours": 0.0, "peak_memory_gb": 0.0, "device": "cpu"}  # fmt: skip


def kinds(folder: Path) -> dict[str, str]:
    """A path of each kind that is no good."""
    (folder / "garbage").write_bytes(bytes(range(256)) * 20)
    (folder / "empty").write_bytes(b"")
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere")
    return {
        "missing": str(folder / "missing"),
        "a folder": str(folder / "folder"),
        "garbage": str(folder / "garbage"),
        "empty": str(folder / "empty"),
        "below a file": str(folder / "garbage" / "x"),
        "a loop": str(folder / "loop"),
        "dangling": str(folder / "dangling"),
        "too long": str(folder / ("x" * 300)),
        "no UTF-8": os.fsdecode(os.fsencode(folder) + b"/\xff"),
        "a line break": f"{folder}/a\nb",
        "a NUL": f"{folder}/a\0b",
    }


KINDS = (
    "missing", "a folder", "garbage", "empty", "below a file", "a loop", "dangling", "too long", "no UTF-8", "a line break",
    "a NUL",
)  # fmt: skip
ENDS = ("", ".safetensors", ".pth", ".mp4")
# The places of a command line where an input is named.
INPUTS: dict[str, tuple[str, ...]] = {
    "run, a video": (*SMALL, "pretrain.path={}"),
    "run, a checkpoint": ("checkpoint={}", "eval=[knn_mini]", "device=cpu"),
    "run, pictures": ("method=none", "eval=[knn_imagenet1k]", "eval.knn_imagenet1k.root={}", "device=cpu"),
    "run, pictures as a source": ("pretrain=imagenet1k", "pretrain.images={}", "method=dino", "eval=[]", "device=cpu"),
    "run, frames": ("pretrain=frames", "pretrain.path={}", "method=dino", "eval=[]", "device=cpu"),
    "run, DAVIS": ("method=none", "eval=[davis2017]", "eval.davis2017.root={}", "device=cpu"),
    "run, COCO": ("method=none", "eval=[cascade_mask_rcnn_coco]", "eval.cascade_mask_rcnn_coco.root={}", "device=cpu"),
    "check_data, VOC": ("task=check_data", "eval=[lost_voc2012]", "eval.lost_voc2012.root={}"),
    "check_data, GOT-10k": ("task=check_data", "eval=[seqtrack_got10k]", "eval.seqtrack_got10k.root={}"),
    "check_data, pictures": ("task=check_data", "eval=[knn_imagenet1k]", "eval.knn_imagenet1k.root={}"),
    "analyze": ("task=analyze", "pretrain=video", "pretrain.path={}"),
    "prepare": ("task=prepare", "pretrain=video", "pretrain.path={}"),
    "visualize, a video": ("task=visualize", "method=dino", "backbone=vit_mini", "pretrain=video", "pretrain.path={}"),
    "visualize, a checkpoint": ("task=visualize", "checkpoint={}"),
    "export": ("task=export", "checkpoint={}"),
    "submit_result": ("task=submit_result", "checkpoint={}"),
    "compare": ("task=compare", "checkpoint=[{},{}.pth]", "eval=[knn_mini]"),
    "check": ("task=check", "method=dino", "pretrain=video", "pretrain.path={}"),
}


def is_one_sentence(code: int, error: str, expected: int = 2) -> None:
    assert code == expected, error
    assert "Traceback" not in error
    (line,) = [line for line in error.splitlines() if line.startswith("error: ")]
    assert len(line) > 20


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", INPUTS)
def test_an_input_that_is_none_is_a_sentence(said: Said, tmp_path: Path, place: str, kind: str) -> None:
    (tmp_path / "in").mkdir()
    path = kinds(tmp_path / "in")[kind]
    words = [word.replace("{}", quoted(path)) for word in INPUTS[place]]
    code, _, error = said(*words, f"output={tmp_path / 'out'}")
    is_one_sentence(code, error)
    assert not list(tmp_path.glob("out/**/*")), "nothing was begun"


def quoted(path: str) -> str:
    return "'" + path.replace("'", "\\'") + "'"


OUTPUTS: dict[str, tuple[str, ...]] = {
    "run": ("checkpoint={encoder}", "eval=[knn_imagenet1k]", "eval.knn_imagenet1k.root={pictures}", "device=cpu", "baseline=false",
            "eval.knn_imagenet1k.size=16", "eval.knn_imagenet1k.resize=16", "num_workers=0"),
    "a training": (*SMALL, "pretrain.path={video}"),
    "export": ("task=export", "checkpoint={encoder}"),
    "visualize": ("task=visualize", "checkpoint={encoder}", "method=dino", "pretrain=video", "pretrain.path={video}",
                  "pretrain.short_side=32", "visualize.num_clips=1", "visualize.num_frames=1", "visualize.num_objects=1"),
    "analyze": ("task=analyze", "pretrain=video", "pretrain.path={video}", "pretrain.short_side=32", "analyze.interval=2"),
    "leaderboard": ("task=leaderboard",),
    "table": ("task=table", "table=5", "dry_run=true"),
}  # fmt: skip
PLANNED = ("run", "a training")  # their plans look whether a folder can be made, before anything is computed
CLOSED = ("below a file", "read-only", "no room", "an error of the disk")


@pytest.mark.parametrize("kind", CLOSED)
@pytest.mark.parametrize("task", OUTPUTS)
def test_an_output_that_cannot_be_written_is_a_sentence(
    said: Said,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny_video: Path,
    tiny_folder: Path,
    task: str,
    kind: str,
) -> None:
    monkeypatch.setattr("longtake.tasks.leaderboard.draw_bars", lambda *_: None)
    torch.manual_seed(0)
    encoder = save_encoder(ViT("mini", 8, 16), tmp_path / "encoder.safetensors", HEADER)
    shutil.copy(tiny_video, tmp_path / "walk.mp4")
    places = {"encoder": encoder, "video": tmp_path / "walk.mp4", "pictures": tiny_folder}
    words = [
        word.format(**places) if "{encoder}" in word or "{video}" in word or "{pictures}" in word else word
        for word in OUTPUTS[task]
    ]
    output = tmp_path / "closed" / "out"
    if kind == "below a file":
        (tmp_path / "closed").write_text("a file")
    else:
        refuse(
            monkeypatch, tmp_path / "closed", {"read-only": errno.EROFS, "no room": errno.ENOSPC}.get(kind, errno.EIO)
        )
    code, _, error = said(*words, f"output={output}")
    is_one_sentence(code, error, 2 if task in PLANNED else 1)
    assert str(tmp_path / "closed") in error


def refuse(monkeypatch: pytest.MonkeyPatch, folder: Path, number: int) -> None:
    """No folder and no file can be made below `folder`."""
    mkdir, opened = os.mkdir, os.open

    def refused(path: object, *rest: object, **named: object) -> None:
        if isinstance(path, str | os.PathLike) and str(path).startswith(str(folder)):
            raise OSError(number, os.strerror(number), str(path))
        return mkdir(path, *rest, **named)  # type: ignore[arg-type]

    def unopened(path: object, flags: int, *rest: object, **named: object) -> int:
        if (
            isinstance(path, str | os.PathLike)
            and str(path).startswith(str(folder))
            and flags & (os.O_WRONLY | os.O_RDWR)
        ):
            raise OSError(number, os.strerror(number), str(path))
        return opened(path, flags, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "mkdir", refused)
    monkeypatch.setattr(os, "open", unopened)
