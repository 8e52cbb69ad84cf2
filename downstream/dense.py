"""UperNet and Cascade Mask R-CNN share these settings, and this course of fine-tuning an mm* model on our encoder."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from longtake.backbones.finite import check_weights
from longtake.backbones.vit import ViT
from longtake.datasets.pictures import IMAGENET_MEAN, IMAGENET_STD
from longtake.datasets.roots import Place
from longtake.downstream import mm
from longtake.downstream.base import Downstream, Encoder
from longtake.downstream.drawing import Budget, at_once, batches
from longtake.downstream.layer_decay import layer_decay_groups
from longtake.downstream.state import identity_of
from longtake.downstream.tuning import Passes, Tuning
from longtake.parallel import world_size

MEAN, STD = (
    [round(255 * share, 3) for share in shares] for shares in (IMAGENET_MEAN, IMAGENET_STD)
)  # of RGB in 0 ... 255


@dataclass(kw_only=True)
class DenseTuning(Downstream):
    """Settings of a fine-tuning by iterations.

    A step has `train_batch_size` images whatever fits on a device at once (`batch_size`), by accumulation of gradients.
    """

    shared: ClassVar[bool] = True
    scope: ClassVar[str]  # mmseg or mmdet

    root: Place
    taps: list[int] = dataclasses.field(default_factory=lambda: [3, 5, 7, 11])  # blocks, from 0; one per level
    norm: bool = True  # the final norm on every tap
    iterations: int = 160_000
    train_batch_size: int = 16
    batch_size: int = 4
    lr: float = 6e-5
    weight_decay: float = 0.01
    layer_decay: float = 1.0
    decay_tables: bool = False  # weight decay also on positions and class token
    warmup: int = 1500
    drop_path: float = 0.1
    save_every: int = 1000
    seed: int = 0
    device: str = "cpu"
    num_workers: int = 0
    progress: bool = True
    gallery: bool = False

    @property
    def protocol(self) -> str:
        """`upernet-ade20k-bn4-v1` where the heads' batch statistics are those of 4 images, not of the whole batch."""
        together = self.budget.at_once * (world_size() if mm.norm_type() == "SyncBN" else 1)
        statistics = "" if together == self.train_batch_size else f"-bn{together}"
        return f"{self.preset}{statistics}-v{self.version}"

    @property
    def budget(self) -> Budget:
        passes_of = at_once(self.train_batch_size, self.batch_size, world_size())
        return Budget(self.iterations, self.train_batch_size, passes_of, self.save_every)

    def check(self) -> list[str]:
        self.check_processes(1)
        return mm.missing()

    def check_encoder(self, encoder: Encoder) -> None:
        mm.check_encoder(encoder, self.taps)

    def check_processes(self, count: int) -> None:
        at_once(self.train_batch_size, self.batch_size, count)

    def tuned(
        self,
        encoder: Encoder,
        config: dict[str, Any],
        dataset: dict[str, Any],
        items: list[str],
        factor: Callable[[int], float],
        workdir: Path,
    ) -> nn.Module:
        """The model of `config` after fine-tuning on `dataset`; an interrupted training in `workdir` is continued.

        `items` name the training images, `factor` is the schedule. The encoder itself is not changed.
        """
        mm.check_encoder(encoder, self.taps)
        assert isinstance(encoder, ViT)
        check_weights(encoder.state_dict(), "the encoder")
        torch.manual_seed(self.seed)
        model = mm.build_model(self.scope, config, encoder, self.drop_path, self.taps, self.norm).to(self.device)
        groups = layer_decay_groups(
            model, encoder.depth, lr=self.lr, weight_decay=self.weight_decay, rate=self.layer_decay,
            prefix="backbone.encoder.", decay_tables=self.decay_tables,
        )  # fmt: skip
        optimizer = torch.optim.AdamW(groups, lr=self.lr, weight_decay=self.weight_decay)
        identity = identity_of(dataclasses.asdict(self), items, encoder, self.data())
        tuning = Tuning(model, optimizer, factor, workdir / "training.ckpt", identity)
        samples, budget = mm.build_dataset(self.scope, dataset), self.budget
        data = batches(samples, budget, self.seed, tuning.done, mm.collate, self.num_workers)
        passes = Passes(model, mm.losses, data, budget, self.seed)
        tuning.run(passes, budget.iterations, budget.save_due, self.preset, self.progress)
        return model
