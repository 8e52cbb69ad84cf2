"""Kills at random places: what goes on afterwards ends as if nothing had happened, and no row is lost."""

import random
import signal
import sys
from pathlib import Path

import pytest
import torch
from chaos import AtStep, KillAtChange, run_in_a_copy
from safetensors.torch import load_file
from started import Started, wait_until

from longtake.datasets.frame_store import FrameStore
from longtake.leaderboards.rows import read

HEADS = ("method.out_dim=32", "method.hidden_dim=16", "method.bottleneck_dim=8")
PATCHES = (*HEADS, "method.patch_out_dim=32", "method.warmup_teacher_temp_epochs=0")
METHODS = {  # with small heads: what is written is little
    "simclr": (), "swav": ("method.hidden_dim=32", "method.num_prototypes=20"),
    "vicreg": ("method.hidden_dim=32", "method.out_dim=32"),
    "dino": HEADS, "ibot": PATCHES, "attmask": PATCHES, "dora": HEADS,
}  # fmt: skip
TINY = (
    "pretrain=video", "backbone=vit_mini", "backbone.image_size=32", "pretrain.short_side=48", "pretrain.clips_per_epoch=8",
    "epochs=2", "batch_size=4", "num_workers=0", "device=cpu", "eval=[]", "trainer.checkpoint_minutes=0", "method.warmup_epochs=0",
    "budget=null", "pretrain.stride_seconds=0.25",
)  # fmt: skip
STEPS = 4


def weights(output: Path) -> dict[str, torch.Tensor]:
    (folder,) = [path.parent for path in output.glob("*/encoder.safetensors") if path.parent.name != "latest"]
    return load_file(folder / "encoder.safetensors")


@pytest.mark.parametrize("kills", [1, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", METHODS)
def test_a_training_that_is_killed_goes_on_to_the_same_weights(
    tmp_path: Path, tiny_video: Path, monkeypatch: pytest.MonkeyPatch, method: str, kills: int
) -> None:
    """Several times in a row, before a change of any file of the run, or at the end of a step; bit for bit."""
    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path / "data"))
    words, draw = (
        [*TINY, *METHODS[method], f"method={method}", f"pretrain.path='{tiny_video}'"],
        random.Random(f"{method} {kills}"),
    )
    out, counted = tmp_path / "whole", tmp_path / "counted"
    code, printed = run_in_a_copy([*words, f"output={out}"], tmp_path, KillAtChange(out, 0, counted))
    assert code == 0, printed
    whole, changes, ended = weights(out), int(counted.read_text()), 0
    out = tmp_path / "killed"
    for kill in range(kills):
        at_change = KillAtChange(out, draw.randint(8, max(changes // 2, 9)))
        hook = at_change if (kill + [*METHODS].index(method)) % 2 else AtStep(draw.randint(1, STEPS - 1))
        code, printed = run_in_a_copy([*words, f"output={out}", "resume=auto"], tmp_path, hook)
        assert code in (0, -signal.SIGKILL), printed
        ended += code == -signal.SIGKILL
    assert ended, "nothing was killed"
    code, printed = run_in_a_copy([*words, f"output={out}", "resume=auto"], tmp_path)
    assert code == 0, printed
    assert "Traceback" not in printed
    found = weights(out)
    assert found.keys() == whole.keys()
    for name, tensor in whole.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_a_frame_store_that_is_killed_ends_as_the_same_store(
    tmp_path: Path, tiny_video: Path, monkeypatch: pytest.MonkeyPatch, kills: int
) -> None:
    """In blocks of two frames, all of the runs; killed before one of them is written, at least one after another."""
    monkeypatch.setenv("LONGTAKE_CHAOS_BLOCK", "2")
    words, draw = (
        ["task=prepare", "pretrain=video", f"pretrain.path='{tiny_video}'", "pretrain.short_side=32"],
        random.Random(kills),
    )

    def built(root: str, kill: int = 0) -> int:
        monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path / root))
        code, printed = run_in_a_copy(words, tmp_path, AtStep(kill, "VideoWriter._commit"))
        assert code in (0, -signal.SIGKILL), printed
        return code

    def store(root: str) -> FrameStore:
        (folder,) = [path for path in (tmp_path / root / "frames").iterdir() if path.is_dir()]
        return FrameStore(folder)

    assert built("whole") == 0
    ended = [built("killed", draw.randint(2, 4)) for _ in range(kills)]
    assert -signal.SIGKILL in ended
    assert built("killed") == 0
    assert store("killed").content_hash() == store("whole").content_hash()


WRITER = """
import sys
from pathlib import Path
from longtake.leaderboards.rows import upsert
from longtake.leaderboards.schema import Key, Provenance, Row
from longtake.leaderboards.statistics import Estimate
path, writer, rows = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
for seed in range(rows):
    key = Key(f"m{writer}", "", "mini", "vit_mini", 1, "mini.v1", seed, "run")
    upsert(path, [Row(key, {"top1": Estimate(1.0)}, Provenance())], ["top1"])
"""


BUSY = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"  # ends when the tests do, however that is


@pytest.mark.parametrize(("writers", "rows", "load"), [(5, 8, 2), pytest.param(16, 100, 16, marks=pytest.mark.slow)])
def test_no_row_of_many_writers_is_lost(tmp_path: Path, writers: int, rows: int, load: int) -> None:
    """On a machine that has more to do than cores; one more writer is killed, and the others go on."""
    (folder := tmp_path / "rows").mkdir()
    for number in range(load):
        Started([sys.executable, "-c", BUSY], tmp_path / f"busy{number}.txt")
    words = [sys.executable, "-c", WRITER, str(folder / "knn_mini.csv")]
    *others, victim = (Started([*words, str(i), str(rows)], tmp_path / f"writer{i}.txt") for i in range(writers + 1))
    wait_until((folder / "knn_mini.csv").exists)
    victim.process.kill()
    for writer in others:
        code, printed = writer.ended()
        assert code == 0, printed
        assert "Traceback" not in printed
    found = read(folder / "knn_mini.csv", ["top1"])
    assert len([row for row in found if row.key.method != f"m{writers}"]) == writers * rows
    assert {path.name for path in folder.iterdir()} == {"knn_mini.csv", ".writing"}
