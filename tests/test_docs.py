"""What the documents show is true: README's commands compose, CONTRIBUTING's method trains."""

import re
import shlex
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from longtake.backbones.vit import ViT
from longtake.datasets.views import Crop, MultiCrop, collate
from longtake.downstream.base import DOWNSTREAM
from longtake.engine.command_line import check_overrides
from longtake.engine.compared import compared
from longtake.methods.base import METHODS, Batch, Duration

ROOT = Path(__file__).resolve().parents[1]


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


COMMANDS = [
    line
    for block in blocks("README.md", "bash")
    for line in block.splitlines()
    if line.startswith("run ") and "--help" not in line
]


@pytest.mark.parametrize("line", COMMANDS)
def test_readmes_commands_compose(line):
    words = [word for word in shlex.split(line, comments=True)[1:] if word != "-m"]
    check_overrides(compared(words))


@pytest.mark.filterwarnings("ignore:.*neighbo")
def test_readmes_notebook_works_as_shown(tmp_path, monkeypatch, tiny_video, tiny_folder):
    """All its blocks, one after the other, in a folder that has the files they name."""
    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    Path("walk.mp4").symlink_to(tiny_video)
    Path("pictures").symlink_to(tiny_folder)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)).save("picture.jpg")
    cells = blocks("README.md", "python")
    assert len(cells) >= 6
    names: dict[str, Any] = {}
    for number, cell in enumerate(cells):
        exec(compile(cell, f"README.md, block {number + 1}", "exec"), names)
    assert names["loss"].isfinite()
    assert names["tokens"].patches.shape == (1, 8 * 12, 128)
    assert set(names["scores"]) == set(DOWNSTREAM["knn"].metrics)


def test_readme_shows_the_two_commands():
    first = blocks("README.md", "bash")[0]
    assert "pip install uv && uv run run" in first
    assert "uv run pytest" in first
    assert len(COMMANDS) >= 6


def test_links_of_the_documents_exist():
    for document in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^)#]+)", (ROOT / document).read_text()):
            if not target.startswith("http"):
                assert (ROOT / target).exists(), f"{document} links to {target}"


def test_the_method_in_contributing_works_as_shown():
    (code,), (recipe,) = blocks("CONTRIBUTING.md", "python"), blocks("CONTRIBUTING.md", "yaml")
    exec(compile(code, "methods/simsiam.py", "exec"), {"__name__": "longtake.methods.simsiam"})
    keys = yaml.safe_load(recipe)
    assert keys.pop("name") == "simsiam"
    assert keys.pop("num_frames") == 1
    (crop,) = keys.pop("views")["globals"]
    assert crop.pop("size") == "${backbone.image_size}"
    views = MultiCrop([Crop(size=16, **{key: tuple(v) if isinstance(v, list) else v for key, v in crop.items()})])
    frames = torch.randint(0, 256, (1, 3, 40, 40), dtype=torch.uint8)
    batch = collate([(views(frames, torch.Generator().manual_seed(i)), i) for i in range(4)])
    method = METHODS["simsiam"](ViT("mini", 8, 16), Duration(epochs=2, steps_per_epoch=1, batch_size=4), **keys)
    defaults = {name: kind.default for cls in type(method).__mro__ for name, kind in signature(cls).parameters.items()}
    assert {key for key, value in keys.items() if value == defaults[key]} == set(), "the yaml repeats defaults"
    with pytest.raises(ValueError, match="got 1 global"):
        method.check_batch(Batch(clips=4, num_frames=1, num_globals=1, num_locals=0))
    terms = method.losses(batch)
    assert -1 <= terms["simsiam"].item() <= 1
    terms["simsiam"].backward()
    assert all(p.grad is not None for p in method.parameters())
    assert method.encoder is method.backbone
