"""task=export: timm loads the tensors strictly and computes the same; the card has the rows of these tensors and the call."""

import re
from pathlib import Path

import pytest
import timm
import torch
from hostile import HOSTILE, elements
from safetensors.torch import load_file

from longtake.backbones.vit import ViT
from longtake.backbones.weights import load_encoder, save_encoder, weights_hash
from longtake.leaderboards.rows import Key, Provenance, Row, upsert
from longtake.leaderboards.statistics import Estimate
from longtake.tasks.export import export

HEADER = {"method": "dora", "variant": "", "pretrain": "mini", "backbone": "vit_mini_8", "epochs": 3, "seed": 0,
          "config_hash": "c", "frames_seen": 12, "hours": 0.1, "peak_memory_gb": 1.0, "device": "cpu"}  # fmt: skip


def config(path: Path | None, tmp_path: Path) -> dict:
    checkpoint = {"checkpoint": path and str(path), "checkpoint_key": None, "checkpoint_pos_mode": None, "label": None}
    return {**checkpoint, "output": str(tmp_path / "out")}


@pytest.fixture
def encoder() -> ViT:
    torch.manual_seed(0)
    return ViT("mini", 8, 64, mask_token=True).eval()


def test_timm_computes_the_same(encoder: ViT, tmp_path: Path) -> None:
    path = save_encoder(encoder, tmp_path / "encoder.safetensors", HEADER)
    folder = export(config(path, tmp_path))
    text = (folder / "README.md").read_text()
    call = re.search(r"timm\.create_model\((.*)\)", text)
    assert call
    model = eval(call[0], {"timm": timm})
    model.load_state_dict(load_file(folder / "model.safetensors"))  # strict
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), encoder(x).cls, atol=1e-5, rtol=1e-4)


def test_the_card_has_the_rows_of_these_tensors_alone(encoder: ViT, tmp_path: Path) -> None:
    path = save_encoder(encoder, tmp_path / "encoder.safetensors", HEADER)
    digest = weights_hash(load_encoder(path))  # as evaluations have it: without the mask token
    rows = [
        Row(Key(method, "", "mini", "vit_mini_8", 3, "knn-mini-v1", 0, "run"), {"top1": Estimate(value, value - 1, value + 1)},
            Provenance(checkpoint_hash=checkpoint))
        for method, value, checkpoint in (("dora", 41.25, digest), ("dino", 33.75, "another"))
    ]  # fmt: skip
    upsert(tmp_path / "out" / "leaderboards" / "knn_mini.csv", rows, ("top1",))
    text = (export(config(path, tmp_path)) / "README.md").read_text()
    assert "41.2" in text
    assert "33.8" not in text
    assert f"SHA-256 of the tensors: {digest}" in text
    assert "frames seen: 12" in text


def test_what_cannot_be_exported_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="task=export needs checkpoint=FILE"):
        export(config(None, tmp_path))
    path = save_encoder(ViT("mini", 8, 64, last_heads=8), tmp_path / "a.safetensors", HEADER)
    with pytest.raises(ValueError, match="the last block has 8 heads, the others 4; timm has no such ViT"):
        export(config(path, tmp_path))


ELSEWHERE = {
    "a folder above": "../../../escaped", "absolute": "/tmp/escaped", "home": "~/escaped", "Windows": "..\\..\\escaped",
    "only dots": "..", "nothing": "", "a NUL": "a\0b", "lines": "a\nb", "hidden": ".git", "long": 300 * "x", "wide": 300 * "絵",
    "a number": 7, "a list": ["../x"], "an option": "--help",
}  # fmt: skip


@pytest.mark.parametrize("field", ["method", "backbone"])
@pytest.mark.parametrize("kind", ELSEWHERE)
def test_what_a_checkpoint_calls_itself_is_no_path(encoder: ViT, tmp_path: Path, kind: str, field: str) -> None:
    path = save_encoder(encoder, tmp_path / "encoder.safetensors", {**HEADER, field: ELSEWHERE[kind]})
    before = {found for found in tmp_path.rglob("*") if found.is_file()}
    folder = export(config(path, tmp_path))
    assert folder.parent == tmp_path / "out" / "export"
    assert not folder.name.startswith((".", "-"))
    written = {found for found in tmp_path.rglob("*") if found.is_file()} - before
    assert written == {folder / "model.safetensors", folder / "README.md"}


@pytest.mark.parametrize("field", ["method", "variant", "pretrain", "backbone", "epochs", "frames_seen", "seed"])
@pytest.mark.parametrize("text", HOSTILE)
def test_a_card_quotes_a_checkpoint_as_text(encoder: ViT, tmp_path: Path, text: str, field: str) -> None:
    """Shown by a Markdown reader, the card has no element more than that of a checkpoint with plain words."""

    def card(value: str) -> str:
        path = save_encoder(encoder, tmp_path / "encoder.safetensors", {**HEADER, field: value})
        return (export(config(path, tmp_path)) / "README.md").read_text()

    assert elements(card(text)) == elements(card("plain words"))
