"""A training's state on disk: whole or not at all, for the same training alone, and the same for all processes."""

from pathlib import Path

import pytest
import torch
from torch import nn

from longtake.downstream import state
from longtake.downstream.state import identity_of, read_state, write_state


def test_only_the_training_that_wrote_it_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "run" / "training.ckpt"
    assert read_state(path, "mine") is None
    write_state(path, "mine", {"done": 3})
    path.with_suffix(".part").write_bytes(b"half a state")
    assert read_state(path, "mine") == {"identity": "mine", "done": 3}
    assert read_state(path, "another's") is None


@pytest.mark.parametrize("kept", [0, 300])
def test_a_state_that_was_cut_short_begins_anew(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "training.ckpt"
    write_state(path, "mine", {"done": 3, "weights": torch.zeros(500)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.warns(UserWarning, match=r"training.ckpt is damaged .*: starting at step 0"):
        assert read_state(path, "mine") is None


def test_so_does_one_with_zeros_in_the_middle(tmp_path: Path) -> None:
    """Of its full length, as a power cut leaves it: PyTorch alone would read weights of zero."""
    path = tmp_path / "training.ckpt"
    write_state(path, "mine", {"done": 3, "weights": torch.ones(5000)})
    content = bytearray(path.read_bytes())
    content[8192:16384] = bytes(8192)
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=r"training.ckpt is damaged .*: starting at step 0"):
        assert read_state(path, "mine") is None


def test_identity_follows_facts_and_weights() -> None:
    encoder = nn.Linear(2, 2)
    before = identity_of({"lr": 1}, ["a.png"], encoder)
    assert identity_of({"lr": 1, "root": "elsewhere", "num_workers": 4}, ["a.png"], encoder) == before
    assert identity_of({"lr": 2}, ["a.png"], encoder) != before
    assert identity_of({"lr": 1}, ["b.png"], encoder) != before
    with torch.no_grad():
        encoder.weight[0, 0] += 1
    assert identity_of({"lr": 1}, ["a.png"], encoder) != before


def test_processes_that_see_different_folders_do_not_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_state(tmp_path / "training.ckpt", "mine", {"done": 3})
    monkeypatch.setattr(state, "collected", lambda values: [*values, False])
    with pytest.raises(
        ValueError, match=r"training\.ckpt: read by 1 of 2 processes; expected a folder that all of them"
    ):
        read_state(tmp_path / "training.ckpt", "mine")
