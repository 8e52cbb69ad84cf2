"""Methods, sources and evaluations in packages outside the repository: a class, a yaml, an entry point; nothing knows them here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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

SOURCE = '''"""Noise that drifts by a pixel per frame: whatever is learnt from it, it is no object."""

from dataclasses import dataclass

import numpy as np
import torch

from longtake.datasets.sources.base import Source


class NoiseStore:
    def __init__(self, num_frames):
        self.seconds, self.blank = np.arange(num_frames) / 10, np.zeros(num_frames, bool)
        self.names, self.video, self.shot = ["noise"], *np.zeros((2, num_frames), np.int32)
        self.pixels = torch.randint(256, (3, 48, 48 + num_frames), generator=torch.Generator().manual_seed(0))

    def __len__(self):
        return len(self.seconds)

    def read(self, indices):
        return torch.stack([self.pixels[:, :, i : i + 48] for i in map(int, indices)]).byte()

    def summary(self):
        return f"{len(self)} frames of noise"


@dataclass(frozen=True, kw_only=True)
class Noise(Source, name="noise"):
    length: int = 40

    def found(self, num_frames):
        return self.open().summary()

    def stored_frames(self):
        return self.length

    def open(self):
        return NoiseStore(self.length)
'''
NOISE = "source: noise\nname: drift\n"

EVALUATION = '''"""Mirrors: whether of all mirrored images the nearest to an image, in its features, is its own."""

from dataclasses import dataclass

import torch

from longtake.downstream.base import Downstream, frozen, save_outcomes


@dataclass(kw_only=True)
class Mirror(Downstream, name="mirror"):
    metrics = ("found",)

    num_images: int = 64
    size: int = 16

    def check(self):
        return []

    @torch.no_grad()
    def evaluate(self, encoder, workdir):
        images = torch.randn(self.num_images, 3, self.size, self.size, generator=torch.Generator().manual_seed(0))
        with frozen(encoder, "cpu"):
            ours, theirs = (torch.nn.functional.normalize(encoder(x).cls) for x in (images, images.flip(3)))
        found = (ours @ theirs.T).argmax(1) == torch.arange(len(images))
        return save_outcomes(workdir, [f"{i:03d}" for i in range(len(images))], {"found": found.double().numpy()})
'''
MIRRORS = "# @package eval.mirror_noise\ntask: mirror\npreset: mirror-noise\nnum_images: 20\n"

TINY = ["backbone=vit_mini", "backbone.image_size=16", "batch_size=4", "epochs=2", "num_workers=0"]


class Site:
    """A site-packages folder with packages of 40 lines at most."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, group: str, name: str, code: str, yaml: str, keys: str) -> None:
        """What pip leaves of a package that has one class and `configs/<yaml>`."""
        package = f"my_{name}"
        config, about = self.folder / package / "configs" / yaml, self.folder / f"{package}-0.1.dist-info"
        for folder in (config.parent, about):
            folder.mkdir(parents=True)
        (self.folder / package / "__init__.py").touch()
        (self.folder / package / "ours.py").write_text(code)
        config.write_text(keys)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1\n")
        (about / "entry_points.txt").write_text(f"[{group}]\n{name} = {package}.ours\n")
        assert len(code.splitlines()) + len(keys.splitlines()) <= 40

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The command, where the packages are installed."""
        paths = os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")])
        env = {**os.environ, "PYTHONPATH": paths, "LONGTAKE_DATA": str(self.folder / "data")}
        command = [sys.executable, "-m", "longtake.run", *words]
        return subprocess.run(command, env=env, cwd=self.folder.parent, capture_output=True, text=True)

    def done(self, *words: str) -> str:
        finished = self.run(*words)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    def refuses(self, word: str, nearest: str) -> None:
        wrong = self.run(word)
        assert wrong.returncode == 2
        assert f"Did you mean {nearest}?" in wrong.stderr


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def test_a_method_trains_is_evaluated_and_named_in_errors(site: Site, tiny_video: Path, tiny_folder: Path):
    site.install("longtake.methods", "barlow_twins", METHOD, "method/barlow_twins.yaml", RECIPE)
    evaluation = [
        f"eval.knn_imagenet1k.{key}={value}" for key, value in (("root", tiny_folder), ("size", 16), ("resize", 16))
    ]
    shown = site.done(
        "method=barlow_twins", "pretrain=video", f"pretrain.path='{tiny_video}'", "pretrain.clips_per_epoch=8", *TINY,
        "eval=[knn_imagenet1k]", *evaluation,
    )  # fmt: skip
    assert "barlow_twins on vit_mini_8: 2 epochs of 2 steps of 4 clips" in shown
    assert "random init" in shown
    assert " barlow_twins " in site.done("--help")
    site.refuses("method=barlow_twin", "barlow_twins")


def test_a_source_is_trained_on_summed_up_and_named_in_errors(site: Site, tmp_path: Path):
    site.install("longtake.sources", "noise", SOURCE, "pretrain/drift.yaml", NOISE)
    site.install("longtake.downstream", "mirror", EVALUATION, "eval/mirror_noise.yaml", MIRRORS)
    shown = site.done("method=simclr", "method.warmup_epochs=0", "pretrain=drift", *TINY, "eval=[mirror_noise]")
    assert "2 epochs of 10 steps of 4 clips" in shown
    assert "40 frames of noise" in shown
    rows = (tmp_path / "outputs" / "leaderboards" / "mirror_noise.csv").read_text()
    assert ",drift,vit_mini_8,2,mirror-noise-v1,0,run," in rows
    assert site.done("task=prepare", "pretrain=drift") == "40 frames of noise\n"
    site.refuses("pretrain=drifts", "drift")


def test_an_evaluation_measures_and_is_named_in_errors(site: Site, tmp_path: Path):
    site.install("longtake.downstream", "mirror", EVALUATION, "eval/mirror_noise.yaml", MIRRORS)
    site.done("method=none", *TINY, "eval=[mirror_noise]")
    (row,) = (tmp_path / "outputs" / "leaderboards" / "mirror_noise.csv").read_text().splitlines()[1:]
    assert row.startswith("none,,none,vit_mini_8,0,mirror-noise-v1,0,run,")
    site.refuses("eval=[mirror_nois]", "mirror_noise")
