"""Linear probe: linear classifiers on frozen features (the LP column of https://arxiv.org/abs/2310.08584).

The recipe is that of DINO's eval_linear.py (https://github.com/facebookresearch/dino): SGD with momentum 0.9, no weight
decay, cosine schedule per epoch, 100 epochs, batches of 1024 (the paper's B.3). The learning rate is not published, so a
grid of rates is trained at once on the same features, as in iBOT's eval_linear_multi.py. DINO and the paper report the
best test accuracy over epochs (and rates), which selects on the test images and is optimistic; here that number is
`top1_paper`. The primary `top1` is the last epoch's accuracy of the rate that is best on a slice of the training images
held out for this choice.

Letters: n images, b images of a batch, d feature width, l learning rates (one head each), c classes.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from longtake.backbones.finite import check_weights
from longtake.console import progress_bar
from longtake.datasets.images import ImageFolder, eval_transform, train_transform
from longtake.downstream.base import Encoder, frozen, save_outcomes
from longtake.downstream.features import FrozenClassification, LabelledFeatures, pooled_features
from longtake.downstream.state import identity_of, read_state, write_state
from longtake.parallel import is_first, part_of, summed

LEARNING_RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)  # for 256 images a batch; DINO: 1e-3, DoRA's command: 1e-2
MOMENTUM = 0.9  # DINO's eval_linear.py
INIT_STD = 0.01  # DINO's eval_linear.py; biases start at zero
SCORED_AT_ONCE = 4096  # images whose logits are held together: 80 MB for 5 heads of 1000 classes


@dataclass(kw_only=True)
class Linear(FrozenClassification, name="linear"):
    """Linear probe on the CLS tokens of the last `num_blocks` blocks (see `pooled_features`), in float32.

    With `augment` every epoch sees new crops and flips: the recipe, one pass of the encoder per epoch. Without it the
    features are computed once and kept in memory, and the protocol's name says `-cached`. An interrupted evaluation
    continues after its last complete epoch when it is given the same `workdir`.
    """

    metrics: ClassVar[tuple[str, ...]] = ("top1", "top1_paper", "top5")
    holds_out: ClassVar[bool] = True

    num_blocks: int = 4  # ViT-S; 1 with avgpool for ViT-B
    avgpool: bool = False
    epochs: int = 100
    train_batch_size: int = 1024
    learning_rates: Sequence[float] = LEARNING_RATES  # for 256 images a batch
    held_out: float = 0.01  # share of each class's training images, at least one, that chooses the rate
    augment: bool = True
    seed: int = 0

    @property
    def protocol(self) -> str:
        return f"{self.preset}{'' if self.augment else '-cached'}-v{self.version}"

    def evaluate(self, encoder: Encoder, workdir: Path) -> dict[str, float]:
        train, test = self.open()
        plain = eval_transform(self.size, self.resize)
        fit_ids, held_ids = split_held_out(np.array(train.targets), self.held_out, self.seed)
        fit = train.subset(fit_ids, train_transform(self.size) if self.augment else plain)
        held_out = self.extract(encoder, train.subset(held_ids, plain), self.num_blocks, self.avgpool)
        tested = self.extract(encoder, test, self.num_blocks, self.avgpool)
        cached = None if self.augment else self.extract(encoder, fit, self.num_blocks, self.avgpool)

        rates = [rate * self.train_batch_size / 256 for rate in self.learning_rates]
        sweep = Sweep(rates, self.epochs, len(train.classes), tested.features.shape[1], self.seed, self.device)
        workdir.mkdir(parents=True, exist_ok=True)
        assert isinstance(encoder, nn.Module)
        items = [list(train.items), list(test.items)]
        checkpoint = workdir / "heads.ckpt"
        identity = identity_of(dataclasses.asdict(self), items, encoder, self.data())
        if (saved := read_state(checkpoint, identity)) is not None:
            sweep.load_state_dict(saved["sweep"])
        steps = math.ceil(len(fit) / self.train_batch_size)
        with frozen(encoder, self.device), progress_bar(self.progress and is_first()) as bar:
            task = bar.add_task("linear probe", total=steps * self.epochs, completed=steps * sweep.epoch)
            while sweep.epoch < self.epochs:
                sweep.train_epoch(self._batches(encoder, fit, cached, sweep.epoch), lambda: bar.advance(task))
                sweep.score(held_out, tested)
                write_state(checkpoint, identity, {"sweep": sweep.state_dict()})
        if is_first():
            plot(sweep, self.learning_rates, workdir / "linear.png")
        return save_outcomes(workdir, test.items, sweep.outcomes(tested))

    def _batches(
        self, encoder: Encoder, fit: ImageFolder, cached: LabelledFeatures | None, epoch: int
    ) -> Iterator[LabelledFeatures]:
        """One epoch's features, in an order drawn from (seed, epoch); the last batch may be smaller."""
        order = torch.from_numpy(np.random.default_rng((self.seed, epoch)).permutation(len(fit)))
        if cached is not None:
            for ids in order.split(self.train_batch_size):
                yield LabelledFeatures(cached.features[ids], cached.labels[ids])
            return
        fit.seed, fit.epoch = self.seed, epoch
        batches = [ids.tolist() for ids in order.split(self.train_batch_size)]
        mine = [list(part_of(ids)) for ids in batches]
        loader = iter(self.loader(fit, [ids for ids in mine if ids]))
        labels = torch.tensor(fit.targets)
        for ids, own in zip(batches, mine, strict=True):
            features = torch.zeros(len(ids), encoder.embed_dim * (self.num_blocks + self.avgpool), device=self.device)
            if own:
                x = next(loader)[0].to(self.device, non_blocking=True)
                part_of(features).copy_(pooled_features(encoder, x, self.num_blocks, self.avgpool))
            yield LabelledFeatures(summed(features), labels[ids])


class Sweep:
    """Linear heads on the same features, one per learning rate, and what they scored after each epoch.

    `rates` are the peak learning rates of the batches that will be given. All heads start from the same draw.
    """

    def __init__(
        self, rates: Sequence[float], epochs: int, num_classes: int, dim: int, seed: int = 0, device: str = "cpu"
    ) -> None:
        weight = torch.randn(num_classes, dim, generator=torch.Generator().manual_seed(seed)) * INIT_STD
        self.weight = weight.repeat(len(rates), 1, 1).to(device).requires_grad_()  # (l, c, d)
        self.bias = torch.zeros(len(rates), 1, num_classes, device=device, requires_grad=True)  # (l, 1, c)
        self.rates = torch.tensor(rates, device=device)
        self.optimizer = torch.optim.SGD([self.weight, self.bias], lr=1.0, momentum=MOMENTUM)
        self.epochs = epochs
        self.held_out_accuracy: list[list[float]] = []  # epochs x l, in [0, 1]
        self.test_accuracy: list[list[float]] = []
        self.best_hits = torch.zeros(0)  # (n,) test outcomes of the best (epoch, head) so far

    @property
    def epoch(self) -> int:
        """Complete epochs."""
        return len(self.test_accuracy)

    @property
    def chosen(self) -> int:
        """The head that is best on the held-out images after the last epoch, the smallest rate among equals."""
        return int(np.argmax(self.held_out_accuracy[-1]))

    def logits(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "l b c"]:
        return torch.baddbmm(self.bias, features.expand(len(self.rates), -1, -1), self.weight.mT)

    def train_epoch(self, batches: Iterable[LabelledFeatures], advance: Callable[[], None] = lambda: None) -> None:
        """One epoch of SGD at the cosine's rate for this epoch (DINO steps it per epoch, to zero after the last).

        Without weight decay an SGD step with momentum is linear in the gradients, so a head's rate may weigh its loss
        instead of its step: one optimiser of unit rate trains every head as if it were alone.
        """
        self.optimizer.param_groups[0]["lr"] = 0.5 * (1 + math.cos(math.pi * self.epoch / self.epochs))
        for features, labels in batches:
            features, labels = features.to(self.weight.device), labels.to(self.weight.device)
            logits = self.logits(features).permute(1, 2, 0)  # (b, c, l)
            losses = F.cross_entropy(logits, labels[:, None].expand(-1, len(self.rates)), reduction="none").mean(0)
            self.optimizer.zero_grad()
            (self.rates * losses).sum().backward()
            self.optimizer.step()
            advance()

    @torch.no_grad()
    def hits(self, labelled: LabelledFeatures, k: int) -> Bool[Tensor, "l n"]:
        """Whether an image's class is among a head's k best, on the CPU."""
        chunks = []
        for features, labels in zip(*(x.split(SCORED_AT_ONCE) for x in labelled), strict=True):
            logits = self.logits(features.to(self.weight.device))
            top = logits.topk(min(k, logits.shape[-1]), dim=-1).indices.cpu()  # (l, b, k)
            chunks.append((top == labels[:, None]).any(-1) & logits.isfinite().all(-1).cpu())  # of a rate that diverged
        return torch.cat(chunks, dim=1)

    def score(self, held_out: LabelledFeatures, test: LabelledFeatures) -> None:
        """Close the epoch: accuracies of every head, and the best test outcome so far (for `top1_paper` alone)."""
        hits = self.hits(test, 1).float()
        accuracy = hits.mean(1)
        if not self.test_accuracy or accuracy.max() > self.best_hits.mean():
            self.best_hits = hits[accuracy.argmax()]
        self.held_out_accuracy.append(self.hits(held_out, 1).float().mean(1).tolist())
        self.test_accuracy.append(accuracy.tolist())

    def outcomes(self, test: LabelledFeatures) -> dict[str, Float[np.ndarray, " n"]]:
        """Per test image: the chosen head after the last epoch, and the best of all epochs and heads (`top1_paper`).

        Raises `ValueError` where no head has finite weights.
        """
        check_weights(
            {"weight": self.weight[self.chosen]}, "linear probe, the best head", "; smaller learning_rates may help"
        )
        top1, top5 = (self.hits(test, k)[self.chosen].float() for k in (1, 5))
        return {"top1": top1.numpy(), "top1_paper": self.best_hits.numpy(), "top5": top5.numpy()}

    def state_dict(self) -> dict[str, Any]:
        kept = {name: getattr(self, name) for name in ("held_out_accuracy", "test_accuracy", "best_hits")}
        heads = {"weight": self.weight.detach(), "bias": self.bias.detach()}
        return {**kept, **heads, "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in ("held_out_accuracy", "test_accuracy", "best_hits"):
            setattr(self, name, state[name])
        with torch.no_grad():
            self.weight.copy_(state["weight"])
            self.bias.copy_(state["bias"])
        self.optimizer.load_state_dict(state["optimizer"])


def split_held_out(labels: Int[np.ndarray, " n"], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Ids to fit on and ids held out: `share` of each class, at least one and not all. Both ascend.

    Raises ValueError when a class has a single image or `share` is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ValueError(f"got held_out={share}: expected a share of the training images between 0 and 1")
    draws, held_out = np.random.default_rng(seed), np.zeros(len(labels), dtype=bool)
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        if count < 2:
            raise ValueError(f"class number {label} has one training image: expected two or more")
        num_held = min(max(1, round(share * count)), count - 1)
        held_out[draws.permutation(np.flatnonzero(labels == label))[:num_held]] = True
    return np.flatnonzero(~held_out).tolist(), np.flatnonzero(held_out).tolist()


def plot(sweep: Sweep, learning_rates: Sequence[float], path: Path) -> None:
    """Accuracy of every head over the epochs: test solid, held-out dashed, the chosen rate named."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel="top-1 (%)")
    tested, held_out = 100 * np.array(sweep.test_accuracy).T, 100 * np.array(sweep.held_out_accuracy).T  # (l, epochs)
    epochs = np.arange(1, sweep.epoch + 1)
    for head, rate in enumerate(learning_rates):
        label = f"{rate:g}" + (" (chosen)" if head == sweep.chosen else "")
        (line,) = axes.plot(epochs, tested[head], label=label)
        axes.plot(epochs, held_out[head], "--", color=line.get_color(), alpha=0.6)
    axes.legend(title="rate per 256: test —, held out - -")
    figure.savefig(path, dpi=120)
