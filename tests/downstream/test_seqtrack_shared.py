"""Two processes that share SeqTrack have the losses and scores of one, stopped or not; only the first one writes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from processes import on_two_processes
from seqtrack_runs import moving
from seqtrack_shared import STEPS, encoder, losses, seqtrack, together


def test_two_processes_train_and_follow_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(tmp_path / "GOT-10k")
    for split, frames in (("train", 20), ("val", 7)):
        moving(Path(root), split, 3, frames)
    monkeypatch.setenv("SHARED_ROOT", root)
    monkeypatch.setenv("SHARED_OUT", str(tmp_path))
    ranks = on_two_processes(together, tmp_path)
    for freeze in (True, False):
        alone = seqtrack(root, freeze=freeze).evaluate(encoder(), tmp_path / f"alone_{freeze}")
        assert len(losses(tmp_path / f"0_{freeze}")) == STEPS
        torch.testing.assert_close(
            losses(tmp_path / f"0_{freeze}"), losses(tmp_path / f"alone_{freeze}"), rtol=1e-4, atol=0
        )
        for found in ranks:
            assert found[f"metrics {freeze}"].tolist() == pytest.approx(list(alone.values()), abs=1.0)
        first, second, one = (tmp_path / f"{who}_{freeze}" for who in (0, 1, "alone"))
        with np.load(first / "outcomes.npz") as shared, np.load(one / "outcomes.npz") as single:
            assert shared["items"].tolist() == single["items"].tolist()
        assert {path.name for path in first.iterdir()} == {path.name for path in one.iterdir()}
        assert not second.exists()
    assert torch.equal(losses(tmp_path / "stopped"), losses(tmp_path / "0_True"))
    assert torch.equal(ranks[0]["metrics stopped"], ranks[0]["metrics True"])
    assert [found["followed"] for found in ranks] == [["val_00", "val_02"], ["val_01"]]
    for found in ranks:
        (said,) = found["said"]
        assert said.startswith("iteration 0: the loss is not finite (odd nan); a smaller lr may help.")
