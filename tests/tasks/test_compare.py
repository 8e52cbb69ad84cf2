"""`task=compare`: words become Hydra's, frames and FLOP are equal, the same command goes on, paired tests decide."""

from pathlib import Path

import pytest

from longtake.engine.compared import compared, names_in, words_of_runs

TINY = [  # a ViT of 16 pixels: seconds
    "backbone=vit_mini", "backbone.image_size=16", "pretrain.short_side=32", "batch_size=4", "epochs=2", "frames=16",
    "method.warmup_epochs=0", "num_workers=0", "eval=[knn_imagenet1k]", "eval.knn_imagenet1k.size=16",
    "eval.knn_imagenet1k.resize=16",
]  # fmt: skip
VIEWS = "++method.views={globals:[{size:16,scale:[0.4,1.0],num:2}],locals:[],precrop:null}"


@pytest.fixture
def words(tiny_video: Path, tiny_folder: Path) -> list[str]:
    data = ["pretrain=video", f"pretrain.path='{tiny_video}'", f"eval.knn_imagenet1k.root={tiny_folder}"]
    return [*data, *TINY, VIEWS, "output=out"]


def test_lists_become_keys_that_hydra_reads():
    words = [
        "task=compare",
        "method=[dora,dino]",
        "checkpoint=['a,b.pth',c.pth]",
        "label=[a, b]",
        "match=both",
        "seeds=[0,1]",
    ]
    assert compared(words) == [
        "task=compare", "method=dora", "compare.methods=[dora,dino]", "compare.checkpoints=['a,b.pth',c.pth]",
        "compare.labels=[a,b]", "compare.match=both", "seeds=[0,1]",
    ]  # fmt: skip
    assert compared(["method=[dora,dino]"]) == ["method=[dora,dino]"]
    assert names_in("dora,dino") == ["dora", "dino"]
    assert words_of_runs(["task=compare", "seeds=[0]", "output=o", "method=dora", "method.lr=1", "epochs=3", "dry_run=true"]) == [
        "epochs=3", "method.lr=1",
    ]  # fmt: skip


def test_two_methods_are_compared_and_the_command_goes_on(said, words: list[str]):
    code, shown, error = (
        said("task=compare", "method=[dino,simclr]", *words, "method.seed=null")
        if False
        else said("task=compare", "method=[simclr,vicreg]", *words)
    )
    assert code == 0, shown + error
