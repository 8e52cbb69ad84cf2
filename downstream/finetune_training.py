"""Training of a whole encoder with a linear head on its class token, step by step: what downstream/finetune.py evaluates.

Letters: b images of a batch, c classes, n test images.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from longtake.backbones.finite import NotFinite, check_weights, watched
from longtake.backbones.vit import stochastic_depth
from longtake.downstream.augmented import mixed
from longtake.downstream.base import Encoder
from longtake.downstream.drawing import seeded
from longtake.downstream.layer_decay import layer_decay_groups
from longtake.downstream.tuning import Tuning
from longtake.parallel import add_up, collected, part_of, summed

BUDGETS = {"full": 1.0, "tenth": 0.1, "hundredth": 0.01}  # share of the recipe's epochs
ADAMW_EPS = 1e-8  # both recipes of finetune.py
TOP = 5
Key = tuple[int, int, int]
Batch = tuple[Float[Tensor, "b 3 height width"], Int[Tensor, "b"]]


@dataclass(kw_only=True)
class Recipe:
    """How long and how fast an encoder learns, and what keeps it from overfitting. The defaults are iBOT's for transfer sets.

    A step is `train_batch_size` images whatever fits: they come in groups of `mixup_batch_size` that share one draw of mixup
    (in the original the images of one GPU), and at most `batch_size` of them are computed at once. Processes divide the groups.
    """

    epochs: int = 1000
    budget: str = "full"  # or tenth, hundredth: of the epochs, warm-up included
    train_batch_size: int = 768
    mixup_batch_size: int = 96
    lr: float = 1.125e-5  # of the head and, times layer_decay per layer, of the encoder: 7.5e-6 for 512 images
    warmup_lr: float = 1e-6
    min_lr: float = 1e-5
    warmup_epochs: float = 5
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    drop_path: float = 0.1
    mixup: float = 0.8
    cutmix: float = 1.0
    label_smoothing: float = 0.1
    head_std: float = 0.01
    amp: bool = True  # bfloat16 on a GPU
    seed: int = 0
    pos_mode: str | None = None  # of the position table; None is the encoder's own
    batch_size: int = 96
    device: str = "cpu"

    @property
    def num_epochs(self) -> int:
        """What the budget buys. Raises `ValueError` for one that does not exist."""
        if self.budget not in BUDGETS:
            raise ValueError(f"budget: got {self.budget!r}, expected one of {', '.join(BUDGETS)}")
        return max(1, round(self.epochs * BUDGETS[self.budget]))

    @property
    def num_groups(self) -> int:
        """Of a step."""
        return self.train_batch_size // self.mixup_batch_size

    def check_recipe(self) -> None:
        """Raise `ValueError` for settings that do not go together."""
        group, batch = self.mixup_batch_size, self.train_batch_size
        odd = (self.mixup > 0 or self.cutmix > 0) and group % 2
        if group < 1 or batch < 1 or batch % group or odd:
            raise ValueError(
                f"train_batch_size={batch} mixup_batch_size={group}: expected an even group that divides the batch"
            )
        if self.num_epochs < 1 or self.epochs < 1 or not 0 <= self.warmup_epochs < self.epochs:
            raise ValueError(
                f"epochs={self.epochs} warmup_epochs={self.warmup_epochs}: expected a warm-up shorter than the run"
            )


class Classifier(nn.Module):
    """A copy of an encoder, all of it trainable, and a linear layer on its class token."""

    def __init__(self, encoder: Encoder, num_classes: int, recipe: Recipe) -> None:
        super().__init__()
        assert isinstance(encoder, nn.Module)
        check_weights(encoder.state_dict(), "the encoder")
        self.encoder = copy.deepcopy(encoder).float().requires_grad_(True)
        watched(self.encoder)
        self.pos_mode = recipe.pos_mode
        blocks = self.encoder.get_submodule("blocks").children()
        for block, rate in zip(blocks, np.linspace(0, recipe.drop_path, encoder.depth).tolist(), strict=True):
            if not hasattr(block, "drop_path"):
                raise ValueError("the encoder's blocks have no drop path: expected one like backbones/vit.py")
            block.drop_path = stochastic_depth(rate)  # whatever it was pretrained with
        self.head = nn.Linear(encoder.embed_dim, num_classes)
        draws = torch.Generator().manual_seed(recipe.seed)
        with torch.no_grad():
            self.head.weight.copy_(torch.randn(self.head.weight.shape, generator=draws) * recipe.head_std)
            self.head.bias.zero_()

    def forward(self, x: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b c"]:
        return self.head(self.encoder(x, pos_mode=self.pos_mode).cls)


class Scores:
    """What a classifier scored on the test images so far."""

    def __init__(self) -> None:
        self.tests: list[tuple[int, float]] = []  # complete epochs, accuracy in [0, 1]
        self.hits = self.best_hits = torch.zeros(2, 0)  # (2, n) top-1 and top-5 of the last test; of the best one

    def add(self, epoch: int, hits: Float[Tensor, "2 n"]) -> None:
        """Those of the best test so far are kept, too."""
        self.hits = hits
        if not self.tests or hits[0].mean() > self.best_hits[0].mean():
            self.best_hits = hits
        self.tests.append((epoch, float(hits[0].double().mean())))

    def outcomes(self) -> dict[str, Float[np.ndarray, " n"]]:
        """Per test image: after the last epoch, and of the epoch that is best on them (`top1_paper`)."""
        return {"top1": self.hits[0].numpy(), "top1_paper": self.best_hits[0].numpy(), "top5": self.hits[1].numpy()}

    def state_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        vars(self).update(state_dict)


class ClassifierTraining:
    """What the common loop (downstream/tuning.py) trains here: a classifier, the gradients of its steps and what it scored."""

    def __init__(self, recipe: Recipe, encoder: Encoder, num_classes: int, steps_per_epoch: int) -> None:
        self.recipe, self.num_classes, self.steps_per_epoch = recipe, num_classes, steps_per_epoch
        self.model, self.scores = Classifier(encoder, num_classes, recipe).to(recipe.device), Scores()
        groups = layer_decay_groups(  # at a rate of 1: `learning_rate` gives all of it
            self.model, encoder.depth, lr=1.0, weight_decay=recipe.weight_decay, rate=recipe.layer_decay,
            prefix="encoder.", decay_tables=False,
        )  # fmt: skip
        self.optimizer = torch.optim.AdamW(groups, eps=ADAMW_EPS)

    def tuning(self, checkpoint: Path, identity: str) -> Tuning:
        """The loop, gone on to where `checkpoint` was written."""
        return Tuning(self.model, self.optimizer, self.learning_rate, checkpoint, identity, scores=self.scores)

    def learning_rate(self, step: int) -> float:
        """The last layer's: a line from `warmup_lr` to `lr`, then half a cosine towards `min_lr`."""
        recipe, num_steps = self.recipe, self.recipe.num_epochs * self.steps_per_epoch
        warmup = round(num_steps * recipe.warmup_epochs / recipe.epochs)
        if step < warmup:
            return recipe.warmup_lr + (recipe.lr - recipe.warmup_lr) * step / warmup
        phase = (step - warmup) / (num_steps - warmup)
        return recipe.min_lr + 0.5 * (recipe.lr - recipe.min_lr) * (1 + math.cos(math.pi * phase))

    def gradients(self, groups: Iterator[Batch], step: int) -> float:
        """Of the loss of a step, the mean over its images in all processes, which it answers; takes this process's groups.

        Raises `FloatingPointError` when the loss is not finite.
        """
        total = torch.zeros((), device=self.recipe.device)
        for place, (x, labels) in zip(part_of(range(self.recipe.num_groups)), groups, strict=False):
            self._add_group(total, x, labels, (self.recipe.seed, step, place))
        add_up([total, *(p.grad for p in self.model.parameters() if p.grad is not None)])
        if not math.isfinite(loss := float(total)):
            raise NotFinite(
                f"fine-tuning: the loss is {loss} in step {step % self.steps_per_epoch + 1} of epoch "
                f"{step // self.steps_per_epoch + 1} at a rate of {self.learning_rate(step):.1e}; a lower lr "
                f"(now {self.recipe.lr:g}) may help{'' if step else '; so far it is the encoder whose numbers overflow'}"
            )
        return loss

    def _add_group(
        self, total: Float[Tensor, ""], x: Float[Tensor, "b 3 height width"], labels: Int[Tensor, "b"], key: Key
    ) -> None:
        """A group's part of the loss and of the gradients, added to both; what is drawn depends on `key`."""
        recipe, device = self.recipe, self.recipe.device
        with seeded(*key):
            x, targets = mixed(
                x.to(device, non_blocking=True), labels.to(device), self.num_classes, recipe.mixup, recipe.cutmix,
                recipe.label_smoothing,
            )  # fmt: skip
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))  # of drop path
        for images, soft in zip(x.split(recipe.batch_size), targets.split(recipe.batch_size), strict=True):
            loss = F.cross_entropy(self.logits(images), soft, reduction="sum") / recipe.train_batch_size
            loss.backward()
            total += loss.detach()

    def logits(self, x: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b c"]:
        """In float32, whatever they were computed in."""
        kind = torch.device(self.recipe.device).type
        with torch.autocast(kind, torch.bfloat16, enabled=self.recipe.amp and kind == "cuda"):
            logits = self.model(x)
        return logits.float()

    @torch.no_grad()
    def score(self, epoch: int, batches: Iterator[Batch]) -> None:
        """Test the model on this process's images after so many epochs; all images' outcomes go to `scores`."""
        self.model.eval()
        hits = [torch.zeros(0, 2)]
        for x, labels in batches:
            logits = self.logits(x.to(self.recipe.device))
            top = logits.topk(min(TOP, self.num_classes), dim=1).indices.cpu()
            right = (
                (top == labels[:, None]) & logits.isfinite().all(1, keepdim=True).cpu()
            ).float()  # NaN finds nothing
            hits.append(torch.stack([right[:, 0], right.amax(1)], dim=1))
        mine = torch.cat(hits)
        rows = torch.zeros(sum(collected([len(mine)])), 2)
        part_of(rows).copy_(mine)
        self.scores.add(epoch, summed(rows).T)


def plot(losses: Sequence[float], tests: Sequence[tuple[int, float]], path: Path) -> None:
    """Training loss and test accuracy over the epochs, the last of which is the last test's; `losses` are the steps'."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    epochs, accuracies = zip(*tests, strict=True)
    left = figure.add_subplot(xlabel="epoch", ylabel="training loss")
    left.plot(range(1, epochs[-1] + 1), np.reshape(losses, (epochs[-1], -1)).mean(1), color="tab:grey")
    right = left.twinx()
    right.plot(epochs, 100 * np.array(accuracies), color="tab:blue", marker=".")
    right.set_ylabel("test top-1 (%)", color="tab:blue")
    right.set_title(f"last {100 * accuracies[-1]:.1f} %, best {100 * max(accuracies):.1f} %", fontsize=10)
    figure.savefig(path, dpi=120)
