"""`checkpoint=FILE label=NAME`: rows are called after the file or by the label, and no two encoders share one."""

import re
from pathlib import Path

import pytest
import torch

from longtake.backbones.vit import ViT
from longtake.backbones.weights import save_encoder, weights_hash
from longtake.engine.encoders import COST, ENCODER_FIELDS, check_header, open_checkpoint
from longtake.engine.freshness import reasons
from longtake.leaderboards.rows import metrics_of, read

OURS = {
    "method": "dora", "variant": "num_objects=2", "pretrain": "mini", "backbone": "vit_mini_8", "epochs": 3, "seed": 1,
    "config_hash": "c", "code_hash": "0123456789ab", "frames_seen": 12, "hours": 0.1, "peak_memory_gb": 1.0, "device": "cpu",
}  # fmt: skip


def encoder(seed: int) -> ViT:
    torch.manual_seed(seed)
    return ViT("mini", 8, 16).eval()


def foreign(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": encoder(seed).state_dict()}, path)
    return path


def header(path: Path, label: object = None, key: str | None = None) -> dict:
    return open_checkpoint(
        {"checkpoint": str(path), "checkpoint_key": key, "checkpoint_pos_mode": None, "label": label}
    )[1]


def test_a_file_of_other_code_is_called_by_its_name(tmp_path):
    found = header(foreign(tmp_path / "dino_deitsmall16.pth"))
    assert found["method"] == "dino_deitsmall16"
    assert found["variant"] == weights_hash(encoder(0))[:8]
    assert header(foreign(tmp_path / "my walk (1).pth"))["method"] == "my-walk-1-"
    assert header(foreign(tmp_path / "dora.pth"))["method"] == "dora.pth"  # not our DoRA
    assert header(foreign(tmp_path / "none.pth"))["method"] == "none.pth"


def test_a_label_is_the_name(tmp_path):
    theirs = header(foreign(tmp_path / "dora.pth"), "theirs")
    assert (theirs["method"], theirs["code_hash"]) == ("theirs", "foreign")
    path = save_encoder(encoder(1), tmp_path / "encoder.safetensors", OURS)
    assert header(path) == OURS  # an encoder of ours says itself what it is
    mine = header(path, "mine")
    assert mine["method"] == "mine"
    assert mine["variant"] == f"{weights_hash(encoder(1))[:8]} method=dora num_objects=2"
    assert {key: mine[key] for key in ("pretrain", "epochs", "seed", "frames_seen")} == {
        key: OURS[key] for key in ("pretrain", "epochs", "seed", "frames_seen")
    }


@pytest.mark.parametrize(
    "label", ["dora", "none", "", "2017", 2017, True, "a b", "a/b", "x" * 65, "=1+1", "ü", ["a", "b"]]
)
def test_a_label_that_is_no_name_of_its_own_is_refused(tmp_path, label):
    with pytest.raises(ValueError, match=r"^label: got .*, expected "):
        header(foreign(tmp_path / "a.pth"), label)


def test_two_files_under_one_label_have_rows_of_their_own(said, tmp_path, tiny_folder):
    """A second one does not replace the first; the same one again does. No code of ours can make their rows stale."""
    words = ["eval=[knn_imagenet1k]", f"eval.knn_imagenet1k.root={tiny_folder}", "eval.knn_imagenet1k.size=16"]
    words += ["eval.knn_imagenet1k.resize=16", "baseline=false", "num_workers=0", "output=out"]
    ours = save_encoder(encoder(1), tmp_path / "encoder.safetensors", OURS)
    for path in (foreign(tmp_path / "a" / "x.pth"), ours, ours):
        code, _, error = said(f"checkpoint={path}", "label=mine", *words)
        assert code == 0, error
    board = Path("out/leaderboards/knn_imagenet1k.csv")
    rows = read(board, metrics_of(board))
    assert [row.key.method for row in rows] == ["mine", "mine"]
    assert len({row.key.variant for row in rows}) == 2
    assert not [reason for row in rows for reason in reasons(board, row)]
    assert len(list(Path("out").glob("*_eval_mine*"))) == 3


def test_a_label_without_a_file_is_refused(said):
    code, _, error = said("method=dino", "label=mine", "dry_run=true")
    assert code == 2
    assert error == "error: label=mine: it names the encoder of a file; give checkpoint=FILE\n"


ODD_HEADERS = {
    "nothing": {},
    "a name alone": {"method": "mine"},
    **{
        f"no {field}": {key: value for key, value in OURS.items() if key != field} for field in (*ENCODER_FIELDS, *COST)
    },
    **{f"{field} is a list": OURS | {field: ["a"]} for field in OURS},
    "no method's name": OURS | {"method": ""},
    "no variant": OURS | {"variant": None},
    "epochs of a half": OURS | {"epochs": 1.5},
    "epochs of true": OURS | {"epochs": True},
    "a seed in words": OURS | {"seed": "first"},
    "a huge seed": OURS | {"seed": 1 << 64},
    "hours without a number": OURS | {"hours": float("nan")},
}


@pytest.mark.parametrize("case", ODD_HEADERS)
def test_a_header_of_which_no_row_can_be_made_is_refused_before_anything_is_computed(said, tmp_path, case):
    """`save_encoder` is public: a file of ours can say anything of itself, or nothing."""
    path = save_encoder(encoder(0), str(tmp_path / "a.safetensors"), ODD_HEADERS[case])
    words = [f"checkpoint={path}", "eval=[own_video]", "dry_run=true"]
    code, _, error = said(*words)
    assert code == 2
    assert re.fullmatch(r"error: checkpoint .*a\.safetensors: its header( has no |, [^:]+: got ).*\n", error)
    code, _, error = said(*words, "label=mine")  # which takes the place of some fields
    assert code == 2
    assert re.fullmatch(r"error: (checkpoint .*a\.safetensors: its header|nothing to do: ).*\n", error)


def test_a_sound_header_is_accepted():
    check_header(OURS, "a.safetensors")
    check_header(OURS | {"epochs": None, "seed": None, "hours": None, "device": "", "config_hash": ""}, "a.safetensors")
    check_header(OURS | {"hours": 1, "seed": -1}, "a.safetensors")
