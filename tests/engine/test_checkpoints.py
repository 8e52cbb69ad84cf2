"""A run goes on after a power cut: from the checkpoint that can be read, and nothing happens in silence."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_runs import run_folder, small_run

from longtake.engine.checkpoints import LAST, PREVIOUS, fault, restore, step_of
from longtake.engine.folders import records
from longtake.engine.progress import curves
from longtake.files import succeed


def checkpoint(path: Path, step: int) -> Path:
    torch.save({"global_step": step, "weights": torch.arange(5000.0)}, path)
    return path


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Of the run's encoder; copies, as the file is spoilt later."""
    return {name: tensor.clone() for name, tensor in load_file(folder / "encoder.safetensors").items()}


def zeroed(path: Path) -> None:
    """Of its full length, but the blocks of the middle never came to the disk."""
    content = bytearray(path.read_bytes())
    content[4096:12288] = bytes(8192)
    path.write_bytes(content)


SPOILT = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-700]),
    "empty": lambda path: path.write_bytes(b""),
    "zeros in the middle": zeroed,
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "no checkpoint": lambda path: torch.save({"weights": torch.zeros(3)}, path),
    "a list": lambda path: torch.save([3], path),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_damaged_checkpoint_is_known(tmp_path, how):
    path = checkpoint(tmp_path / LAST, 7)
    assert fault(path) is None
    assert step_of(path) == 7
    SPOILT[how](path)
    assert fault(path).startswith("is damaged (")


def test_any_bit_of_the_directory_may_be_wrong(tmp_path):
    """Whatever a zip file then raises, the checkpoint is known as damaged, or its bytes are all as they were."""
    whole = checkpoint(tmp_path / LAST, 7).read_bytes()
    directory = whole.rindex(b"PK\x05\x06") - 300
    for place in range(directory, len(whole)):
        for bit in (0, 3, 5):
            content = bytearray(whole)
            content[place] ^= 1 << bit
            (tmp_path / LAST).write_bytes(content)
            assert fault(tmp_path / LAST) is None or fault(tmp_path / LAST).startswith("is damaged (")


def test_the_checkpoint_before_is_kept_and_taken(tmp_path, capsys):
    for step in (1, 2, 3):
        succeed(checkpoint(tmp_path / "last.part", step), tmp_path / LAST, tmp_path / PREVIOUS)
    assert (step_of(tmp_path / LAST), step_of(tmp_path / PREVIOUS)) == (3, 2)
    restore(tmp_path)
    assert capsys.readouterr() == ("", "")
    SPOILT["cut short"](tmp_path / LAST)
    restore(tmp_path)
    said = capsys.readouterr().err
    assert f"last.ckpt of {tmp_path} is damaged (" in said
    assert "going on from previous.ckpt, step 2" in said
    assert len(said.splitlines()) == 1
    assert (step_of(tmp_path / LAST), (tmp_path / PREVIOUS).exists()) == (2, False)
    (tmp_path / LAST).rename(tmp_path / PREVIOUS)  # killed between the two renames
    restore(tmp_path)
    assert "is missing: going on from previous.ckpt, step 2" in capsys.readouterr().err
    assert step_of(tmp_path / LAST) == 2


def test_two_damaged_checkpoints_are_said_to_be(tmp_path, capsys):
    for name in (LAST, PREVIOUS):
        SPOILT["empty"](checkpoint(tmp_path / name, 1))
    restore(tmp_path)
    said = capsys.readouterr().err
    assert "starting at step 0 in the same folder" in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / LAST).exists()
    restore(tmp_path)
    assert "no checkpoint yet: starting at step 0" in capsys.readouterr().err


def test_a_spoilt_run_goes_on_to_the_same_weights(said, tiny_video, tmp_path):
    """Saved at every step; the last checkpoint and the encoder are spoilt: one line each, and the numbers of an undisturbed run."""
    words = [*small_run(tiny_video, tmp_path / "out"), "trainer.checkpoint_minutes=0"]
    assert said(*words)[0] == 0
    folder = run_folder(tmp_path / "out")
    whole = weights(folder)
    (folder / "encoder.safetensors").write_bytes((folder / "encoder.safetensors").read_bytes()[:-100])
    SPOILT["zeros in the middle"](folder / LAST)
    code, shown, error = said(*words, "resume=true")
    assert code == 0, error
    assert "encoder.safetensors: not a safetensors file" in shown
    assert "the training writes it anew" in shown
    assert "going on from previous.ckpt, step " in error
    for name, tensor in weights(folder).items():
        assert torch.equal(tensor, whole[name]), name
    (folder / "encoder.safetensors").write_bytes(b"")  # the checkpoint of the last step is there
    code, shown, error = said(*words, "resume=true")
    assert code == 0, error
    assert "the training writes it anew" in shown
    for name, tensor in weights(folder).items():
        assert torch.equal(tensor, whole[name]), name
    code, shown, _ = said(*words, "resume=true")
    assert (code, "pretrained already" in shown) == (0, True)


def test_both_checkpoints_spoilt_starts_anew_in_the_same_folder(said, tiny_video, tmp_path):
    words = [*small_run(tiny_video, tmp_path / "out"), "trainer.checkpoint_minutes=0"]
    assert said(*words)[0] == 0
    folder = run_folder(tmp_path / "out")
    whole = weights(folder)
    (folder / "encoder.safetensors").unlink()
    for name in (LAST, PREVIOUS):
        SPOILT["cut short"](folder / name)
    code, _, error = said(*words, "resume=true")
    assert code == 0, error
    assert "starting at step 0 in the same folder" in error
    assert run_folder(tmp_path / "out") == folder
    for name, tensor in weights(folder).items():
        assert torch.equal(tensor, whole[name]), name


RECORDS = {
    "empty": b"",
    "zeros": bytes(300),
    "cut short": b'{"config_hash": "abc", "conf',
    "no JSON": b"\xff\xfe nothing",
    "a list": b"[]",
    "null": b"null",
    "another shape": b'{"config": null, "config_hash": 3}',
    "without a hash": b'{"config": {}}',
}


@pytest.mark.parametrize("how", RECORDS)
def test_a_spoilt_record_blocks_nobody(said, tiny_video, tmp_path, how):
    words = [*small_run(tiny_video, tmp_path / "out"), "dry_run=true", "resume=true"]
    spoilt, good = tmp_path / "out" / "2999-01-01_00-00-00_x", tmp_path / "out" / "2026-01-01_00-00-00_y"
    for folder in (spoilt, good):
        folder.mkdir(parents=True)
    (spoilt / "run.json").write_bytes(RECORDS[how])
    code, shown, error = said(*words)
    assert code == 2
    assert "resume=true: no run of this configuration" in error
    assert f"{spoilt / 'run.json'} cannot be read (" in shown
    assert said(*[word for word in words if word not in ("dry_run=true", "resume=true")])[0] == 0
    code, shown, error = said(*words)
    assert code == 0, error


def test_a_renamed_and_a_copied_run_are_found(said, tiny_video, tmp_path):
    """By what their records say, not by their names; of a copy and its original the original goes on."""
    words = [*small_run(tiny_video, tmp_path / "out")]
    assert said(*words)[0] == 0
    first = run_folder(tmp_path / "out")
    shutil.copytree(first, tmp_path / "out" / f"{first.name} copy")
    assert records(tmp_path / "out")[0].folder == first
    renamed = first.rename(tmp_path / "out" / "my run, the good one")
    shutil.rmtree(tmp_path / "out" / f"{first.name} copy")
    code, shown, error = said(*words, "resume=true")
    assert code == 0, error
    assert f"pretrained already: {renamed / 'encoder.safetensors'}" in shown
    assert said(*words)[0] == 0  # a newer run: not the one whose name comes last
    assert records(tmp_path / "out")[-1].folder == renamed


def test_a_run_in_a_read_only_folder_is_refused_in_a_sentence(said, tiny_video, tmp_path, monkeypatch):
    words = [*small_run(tiny_video, tmp_path / "out")]
    assert said(*words)[0] == 0
    folder = run_folder(tmp_path / "out")

    def refused(dir: Path) -> None:
        assert dir == folder
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("longtake.engine.folders.TemporaryFile", refused)  # root may write everywhere
    code, _, error = said(*words, "resume=true")
    assert code == 2
    assert f"resume=true: {folder}: cannot write there (Read-only file system)" in error
    assert len(error.splitlines()) == 1


def test_a_torn_log_is_drawn_as_far_as_it_can_be_read(tmp_path):
    """A power cut ends in the middle of a line, or in zeros; what was done after the last checkpoint is done, and logged, again."""
    for part, content in (
        ("from_step_0", "0,5.0\n1,4.0\n2,3.0\n3,2.5e-"),
        ("from_step_2", "2,3.0\n3,2.0\n" + 20 * "\0"),
    ):
        (tmp_path / "logs" / part).mkdir(parents=True)
        (tmp_path / "logs" / part / "metrics.csv").write_text(f"step,loss/dino\n{content}")
    assert curves(tmp_path, "loss/")["dino"] == ([0, 1, 2, 3], [5.0, 4.0, 3.0, 2.0])


LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000,) * 2); from longtake.run import main; main()"


def test_a_checkpoint_that_cannot_be_written_ends_the_run_in_a_sentence(said, tiny_video, tmp_path):
    """ulimit -f, in a process of its own; nothing half-written is left, and without the limit the run goes on."""
    words = small_run(tiny_video, tmp_path / "out")
    done = subprocess.run([sys.executable, "-c", LIMITED, *words], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    folder = run_folder(tmp_path / "out")
    assert f"error: {folder / LAST}: cannot be written: " in done.stderr
    assert f"nothing had been saved yet in {folder}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(folder.glob("*.part"))
    code, _, error = said(*words, "resume=true")
    assert code == 0, error
    assert f"{folder} has no checkpoint yet: starting at step 0" in error


def test_no_flipped_bit_of_a_checkpoint_is_taken(tmp_path):
    """Tensors, pickle, zip headers, directory and padding: known as damaged, or every tensor is as it was."""
    path = tmp_path / LAST
    known = {"global_step": 7, "weights": {str(i): torch.randn(40 + i) for i in range(6)}}
    with path.open("wb") as stream:
        torch.save(known, stream)
    content = path.read_bytes()
    for place in range(0, len(content), 5):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        if fault(path) is None:
            found = torch.load(path, weights_only=True)
            assert found["global_step"] == 7, place
            assert all(torch.equal(found["weights"][k], v) for k, v in known["weights"].items()), place
