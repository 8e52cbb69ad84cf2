"""A method in a package outside the repository: a class, a yaml, an entry point; nothing here knows it."""

import os
import subprocess
import sys
from pathlib import Path

METHOD = '''"""Barlow Twins (https://arxiv.org/abs/2103.03230)."""

import torch
from torch import nn

from longtake.methods.base import Method


class BarlowTwins(Method, name="barlow_twins"):
    def __init__(self, backbone, duration, *, out_dim=128, off_diagonal=0.005, **recipe):
        super().__init__(backbone, duration, **recipe)
        self.projector = nn.Sequential(nn.Linear(backbone.embed_dim, out_dim), nn.ReLU(), nn.Linear(out_dim, out_dim))
        self.norm = nn.BatchNorm1d(out_dim, affine=False)
        self.off_diagonal = off_diagonal

    def losses(self, views):
        a, b = (self.norm(self.projector(self.backbone(v.flatten(0, 1)).cls)) for v in views.globals)
        c = a.T @ b / len(a)
        diagonal = c.diagonal()
        return {
            "invariance": (diagonal - 1).square().sum(),
            "redundancy": self.off_diagonal * (c.square().sum() - diagonal.square().sum()),
        }
'''
RECIPE = """name: barlow_twins
num_frames: 1
views:
  globals:
    - {size: "${backbone.image_size}", scale: [0.3, 1.0], num: 2}
  locals: []
out_dim: 16
warmup_epochs: 0
"""


def install(site: Path) -> None:
    """What pip leaves in a site-packages folder."""
    configs, about = site / "my_ssl" / "configs" / "method", site / "my_ssl-0.1.dist-info"
    for folder in (configs, about):
        folder.mkdir(parents=True)
    (site / "my_ssl" / "__init__.py").touch()
    (site / "my_ssl" / "twins.py").write_text(METHOD)
    (configs / "barlow_twins.yaml").write_text(RECIPE)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-ssl\nVersion: 0.1\n")
    (about / "entry_points.txt").write_text("[longtake.methods]\nbarlow_twins = my_ssl.twins\n")
    assert len(METHOD.splitlines()) + len(RECIPE.splitlines()) <= 40


def test_it_trains_is_evaluated_and_named_in_errors(tmp_path: Path, tiny_video: Path, tiny_folder: Path):
    install(tmp_path / "site")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        paths = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
        env = {**os.environ, "PYTHONPATH": paths, "LONGTAKE_DATA": str(tmp_path / "data")}
        command = [sys.executable, "-m", "longtake.run", *words]
        return subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True)

    evaluation = [
        f"eval.knn_imagenet1k.{key}={value}" for key, value in (("root", tiny_folder), ("size", 16), ("resize", 16))
    ]
    done = run(
        "method=barlow_twins", "pretrain=video", f"pretrain.path='{tiny_video}'", "pretrain.clips_per_epoch=8", "batch_size=4",
        "epochs=2", "backbone=vit_mini", "backbone.image_size=16", "eval=[knn_imagenet1k]", *evaluation, "num_workers=0",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "barlow_twins on vit_mini_8: 2 epochs of 2 steps of 4 clips" in done.stdout
    assert "random init" in done.stdout
    wrong = run("method=barlow_twin")
    assert wrong.returncode == 2
    assert "Did you mean barlow_twins?" in wrong.stderr
