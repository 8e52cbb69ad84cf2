"""Ways of starting several processes of one small run, and what is compared of it."""

import csv
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from started import Started

FAKE = Path(__file__).parent / "fake_slurm"
WORDS = [
    "method=dino", "backbone=vit_mini", "backbone.image_size=16", "method.views.locals=[{size:8,scale:[0.1,0.4],num:1}]",
    "method.out_dim=32", "method.hidden_dim=16", "method.bottleneck_dim=8", "method.warmup_epochs=0",
    "method.freeze_last_layer_epochs=0", "method.use_bn_in_head=true", "pretrain=video", "pretrain.short_side=32",
    "pretrain.clips_per_epoch=8", "batch_size=4", "num_workers=0", "device=cpu", "eval=[knn_imagenet1k]",
    "eval.knn_imagenet1k.size=16", "eval.knn_imagenet1k.resize=16",
]  # fmt: skip
RUN = ["-m", "longtake.run"]


class Small(NamedTuple):
    """A run of a few steps on tiny data, in a folder of its own."""

    folder: Path
    words: Sequence[str]
    environment: Mapping[str, str]

    @property
    def output(self) -> Path:
        return self.folder / "out"

    def start(self, *prefix: str, more: Sequence[str] = (), variables: Mapping[str, Any] | None = None) -> Started:
        """The process of `python PREFIX WORDS`."""
        given = {name: str(value) for name, value in (variables or {}).items()}
        command = [sys.executable, *(prefix or RUN), *self.words, *more]
        printed = self.folder / f"printed{len(list(self.folder.glob('printed*.txt')))}.txt"
        return Started(command, printed, env={**self.environment, **given}, cwd=self.folder)

    def run(self, *prefix: str, **options: Any) -> str:
        """What it prints; it has to end well."""
        code, shown = self.start(*prefix, **options).ended()
        assert code == 0, shown
        return shown

    def tensors(self) -> dict[str, torch.Tensor]:
        (folder,) = self.output.glob("20*_dino_video*")
        return load_file(folder / "encoder.safetensors")

    def rows(self, seed: int = 0) -> dict[str, dict[str, str]]:
        """By method: metrics and what else has to be equal."""
        with (self.output / "leaderboards" / "knn_imagenet1k.csv").open() as stream:
            rows = {row["method"]: row for row in csv.DictReader(stream) if row["seed"] == str(seed)}
        kept = ("top1", "top5", "frames_seen", "checkpoint_hash", "epochs", "variant")
        return {method: {k: v for k, v in row.items() if k.startswith(kept)} for method, row in rows.items()}


def small(folder: Path, video: Path, pictures: Path, *more: str) -> Small:
    folder.mkdir(parents=True, exist_ok=True)
    places = [f"pretrain.path='{video}'", f"eval.knn_imagenet1k.root={pictures}", f"output={folder / 'out'}"]
    environment = {**os.environ, "LONGTAKE_DATA": str(folder.parent / "data"), "OMP_NUM_THREADS": "1"}
    return Small(folder, [*WORDS, *places, *more], environment)


def same(ours: Small, theirs: Small) -> bool:
    """Whether both have trained the same weights, bit by bit, and added the same rows."""
    a, b = ours.tensors(), theirs.tensors()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a) and ours.rows() == theirs.rows()


def in_slurm(folder: Path, size: int, nodes: int) -> dict[str, Any]:
    """Variables of a batch job of the fake Slurm, whose queue is in `folder`."""
    folder.mkdir(exist_ok=True)
    return {
        "PATH": f"{FAKE}:{os.environ['PATH']}", "FAKE_SLURM": folder, "SLURM_JOB_ID": 4001, "SLURM_JOB_NAME": "walk",
        "SLURM_NTASKS": size, "SLURM_NTASKS_PER_NODE": size // nodes, "SLURM_NNODES": nodes, "SLURM_JOB_NUM_NODES": nodes,
        "SLURM_NODELIST": "127.0.0.1", "SLURM_JOB_NODELIST": "127.0.0.1",
    }  # fmt: skip
