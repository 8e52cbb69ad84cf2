"""Run folders: named by what differs, `latest` is the newest of them, and none is found twice."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from started import PATIENCE

from longtake.backbones.vit import ViT
from longtake.backbones.weights import save_encoder
from longtake.datasets.sources.video import Video
from longtake.engine.folders import held, interrupted_run, run_folder, run_name
from longtake.engine.plan import Plan
from longtake.engine.session import new_folder


def config(output: Path, seed: int = 0, **more: object) -> dict:
    settings = {"method": {"name": "dora"}, "backbone": {}, "pretrain": {}, "epochs": 1, "batch_size": 1}
    settings |= {"trainer": {"precision": "32-true"}, "checkpoint": None, "label": None}
    return settings | {"seed": seed, "output": str(output)} | more


@pytest.mark.parametrize(
    ("parts", "variant", "name"),
    [
        (["dora", "mini", "", "seed0"], "", "dora_mini_seed0"),
        (["dora", "wt_venice", "", "seed0"], "num_objects=2", "dora_wt_venice_num_objects=2_seed0"),
        (["dora", "mini", "table2b", "seed1"], "lr=1 num_objects=4", "dora_mini_table2b_lr=1_num_objects=4_seed1"),
        (["dino", "my/walk: no. 1", "seed0"], "", "dino_my-walk-no.-1_seed0"),
        (["dino", "mini", "seed0"], 'lr=0.001 views.globals=[{"scale":[0.4,1.0],"size":64},{"scale":[0.1,0.4],"size":32}]',
         "dino_mini_lr=0.001_views.globals_seed0"),
        (["dino", "mini", "seed0"], "optimizer='../../x y;rm'", "dino_mini_optimizer=-..-..-x_y-rm_seed0"),
    ],
)  # fmt: skip
def test_a_name_says_what_differs(parts, variant, name):
    assert run_name(parts, variant) == name


def test_a_name_stays_short():
    words = [f"some_argument_{i}={i}" for i in range(30)]
    name = run_name(["dora", "x" * 300, "seed0"], " ".join(words))
    assert name.endswith("_some_argument_3=3_and_26_more_seed0")
    assert len(name.encode()) < 180


def plan(settings: dict, source: object = None) -> Plan:
    return Plan(settings, source, "", None, {}, {}, None)  # type: ignore[arg-type]


def test_what_is_evaluated_names_the_folder(tmp_path):
    video = tmp_path / "a.mp4"
    video.write_text("a video")
    assert new_folder(plan(config(tmp_path), Video(name="walk", path=str(video)))).name.endswith("_dora_walk_seed0")
    theirs = config(tmp_path, checkpoint="files/dino_deitsmall16.pth")
    assert new_folder(plan(theirs)).name.endswith("_eval_dino_deitsmall16")
    torch.manual_seed(0)
    ours = save_encoder(
        ViT("mini", 8, 16), tmp_path / "e.safetensors", {"method": "ibot", "pretrain": "video:walk", "seed": 3}
    )
    assert new_folder(plan(config(tmp_path, checkpoint=str(ours)))).name.endswith("_eval_ibot_video-walk_seed3")
    untrained = config(tmp_path, method={"name": "none"})
    assert new_folder(plan(untrained)).name.endswith("_none_eval_seed0")


def test_latest_is_the_newest_folder_and_no_run_of_its_own(tmp_path):
    output = tmp_path / "out"
    link = output / "latest"
    first = run_folder(config(output), "dora_mini_seed0", None)
    assert link.resolve() == first.resolve()
    assert link.is_symlink()
    second = run_folder(config(output, seed=1), "dora_mini_seed1", None)
    assert link.resolve() == second.resolve()
    assert run_folder(config(output), "dora_mini_seed0", first) == first
    assert interrupted_run(config(output)).folder == first
    assert interrupted_run(config(output, seed=1)).folder == second  # not `latest`, which the next run moves
    assert {path.name for path in output.iterdir()} == {first.name, second.name, "latest"}
    output.rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "latest" / "run.json").is_file()


def test_a_file_or_folder_called_latest_stays(tmp_path):
    (tmp_path / "latest").mkdir()
    run_folder(config(tmp_path), "dora_mini_seed0", None)
    assert not (tmp_path / "latest").is_symlink()
    (tmp_path / "latest").rmdir()
    (tmp_path / "latest").write_text("mine")
    run_folder(config(tmp_path), "dora_mini_seed0", None)
    assert (tmp_path / "latest").read_text() == "mine"


def test_a_link_to_a_run_that_was_deleted_is_replaced(tmp_path):
    (tmp_path / "latest").symlink_to("gone")
    folder = run_folder(config(tmp_path), "dora_mini_seed0", None)
    assert (tmp_path / "latest").resolve() == folder.resolve()


def test_where_there_are_no_links_runs_go_on(tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError("a required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    folder = run_folder(config(tmp_path), "dora_mini_seed0", None)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_folder_is_one_process_s_and_another_one_waits_for_it_to_end(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("longtake.engine.folders.LEAVING", 0.2)
    code = (
        "import sys, pathlib\nfrom longtake.engine.folders import held\n"
        "with held(pathlib.Path(sys.argv[1])):\n    print('in', flush=True)\n    sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "in\n"
    with pytest.raises(ValueError, match="another process is at this run"), held(tmp_path):
        pass
    assert "waiting for it" in capsys.readouterr().out.replace("\n", " ")
    other.communicate("", timeout=PATIENCE)
    with held(tmp_path):
        pass
