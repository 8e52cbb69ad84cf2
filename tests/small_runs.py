"""The command line of a training that takes a second, which evaluates nothing; and its one run folder."""

from pathlib import Path

SMALL = (  # a ViT of 16 pixels and two batches an epoch
    "pretrain=video", "method=dino", "backbone=vit_mini", "backbone.image_size=16",
    "method.views.locals=[{size:8,scale:[0.1,0.4],num:1}]", "method.out_dim=32", "method.hidden_dim=16",
    "method.bottleneck_dim=8", "method.warmup_epochs=0", "method.freeze_last_layer_epochs=0", "pretrain.short_side=32",
    "pretrain.clips_per_epoch=8", "epochs=2", "batch_size=4", "num_workers=0", "device=cpu", "eval=[]",
)  # fmt: skip


def small_run(video: Path, output: Path) -> list[str]:
    """The words."""
    return [*SMALL, f"pretrain.path='{video}'", f"output={output}"]


def run_folder(output: Path) -> Path:
    (folder,) = output.glob("*_dino_*")
    return folder
