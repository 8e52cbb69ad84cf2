"""Two processes that share an evaluation have the features and the scores of one, by image; only the first one writes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from processes import on_two_processes
from started import PATIENCE
from tiny import task, tiny_encoder, together

from longtake.parallel import agreed, part_of, summed


def test_two_processes_score_as_one(image_root: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SHARED_ROOT", str(image_root))
    monkeypatch.setenv("SHARED_OUT", str(tmp_path))
    ranks = on_two_processes(together, tmp_path)
    probe = task(str(image_root), augment=True)
    alone = probe.extract(tiny_encoder(), probe.open()[1], num_blocks=2)
    for found in ranks:
        torch.testing.assert_close(found["features"], alone.features)
        assert torch.equal(found["labels"], alone.labels)
        assert torch.equal(found["rows"], torch.arange(10).reshape(5, 2).float())
        assert found["agreed"]
    for augment in (True, False):
        metrics = task(str(image_root), augment).evaluate(tiny_encoder(), tmp_path / f"alone_{augment}")
        with (
            np.load(tmp_path / f"0_{augment}" / "outcomes.npz") as shared,
            np.load(tmp_path / f"alone_{augment}" / "outcomes.npz") as single,
        ):
            assert {name: shared[name].tolist() for name in shared} == {name: single[name].tolist() for name in single}
        for found in ranks:
            assert found[f"top1 {augment}"].item() == np.float32(metrics["top1"])
            assert found[f"top5 {augment}"].item() == np.float32(metrics["top5"])
        assert not (tmp_path / f"1_{augment}" / "outcomes.npz").exists()
        assert not (tmp_path / f"1_{augment}" / "heads.ckpt").exists()


def test_alone_nothing_is_shared() -> None:
    assert not dist.is_initialized()
    assert part_of([1, 2, 3]) == [1, 2, 3]
    assert summed(torch.ones(2, 1)).tolist() == [[1], [1]]
    assert agreed("x") == "x"


def test_an_evaluation_alone_starts_as_many_processes_as_devices(image_root: Path, tmp_path: Path) -> None:
    words = [
        "method=none", "backbone=vit_mini", "backbone.image_size=16", "eval=[knn_imagenet1k]", "baseline=false",
        f"eval.knn_imagenet1k.root={image_root}", "eval.knn_imagenet1k.size=16", "eval.knn_imagenet1k.resize=16",
        f"output={tmp_path}", "device=cpu", "num_workers=0", "trainer.devices=2",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "longtake.run", *words], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(tmp_path.glob("*_seed0"))) == 1
    assert "42/42" not in done.stderr  # images of the larger split: each process has a half
    assert (tmp_path / "leaderboards" / "knn_imagenet1k.csv").read_text().count("\n") >= 2
