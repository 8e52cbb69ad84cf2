"""k-NN: the classes of the nearest training images, weighted (the k-NN column of https://arxiv.org/abs/2310.08584).

The paper reports ImageNet-1k top-1 at k = 20. The rule is that of DINO's eval_knn.py
(https://github.com/facebookresearch/dino): cosine similarity of CLS features, each of the k nearest training images votes
for its class with weight exp(similarity / 0.07).

Letters: n training images, m test images, d feature width, k neighbours, c classes.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from longtake.datasets.images import ImageFolder
from longtake.downstream.base import Encoder, save_outcomes
from longtake.downstream.features import FrozenClassification
from longtake.downstream.gallery import Gallery, neighbours_drawn
from longtake.parallel import is_first

NUM_NEIGHBORS = (20, 10, 100, 200)  # the paper's k first, then the others of DINO's eval_knn.py
TEMPERATURE = 0.07  # DINO's eval_knn.py
TOP = 5  # classes ranked per image: enough for top-5
NEAREST_SHOWN = 5
CHUNK_SIMILARITIES = 2**26  # similarities held at once (256 MB in float32), whatever the size of the bank


@dataclass(kw_only=True)
class KNN(FrozenClassification, name="knn"):
    """Weighted k-NN on frozen CLS features. Nothing is trained, nothing is drawn."""

    metrics: ClassVar[tuple[str, ...]] = ("top1_k20", "top5_k20", "top1_k10", "top1_k100", "top1_k200")

    gallery: bool = False  # some test images, each with its nearest training images

    def evaluate(self, encoder: Encoder, workdir: Path) -> dict[str, float]:
        train, test = self.open()
        bank, bank_labels = self.extract(encoder, train)
        queries, labels = self.extract(encoder, test)
        for features in (bank, queries):
            F.normalize(features, dim=1, out=features)  # in place: ImageNet's bank is 2 GB for ViT-S
        bank, bank_labels, queries = bank.to(self.device), bank_labels.to(self.device), queries.to(self.device)
        ranked = knn_classify(bank, bank_labels, queries, NUM_NEIGHBORS, len(train.classes))
        hits = {k: (classes.cpu() == labels[:, None]).float().numpy() for k, classes in ranked.items()}  # (m, TOP)
        if self.gallery and is_first():
            self.show(train, test, bank, queries, workdir / "knn.jpg")
        outcomes = {"top1_k20": hits[20][:, 0], "top5_k20": hits[20].max(axis=1)}
        outcomes |= {f"top1_k{k}": hits[k][:, 0] for k in NUM_NEIGHBORS}
        return save_outcomes(workdir, test.items, {name: outcomes[name] for name in self.metrics})

    def show(
        self,
        train: ImageFolder,
        test: ImageFolder,
        bank: Float[Tensor, "n d"],
        queries: Float[Tensor, "m d"],
        path: Path,
    ) -> None:
        """A page of test images, each with the training images nearest to it; those of its class are framed in green."""
        page = Gallery(path, True, len(test))
        for query in sorted(page.chosen):
            nearest = (bank @ queries[query]).topk(min(NEAREST_SHOWN, len(bank))).indices.tolist()
            page.pictures.append(neighbours_drawn(test.samples[query], [train.samples[i] for i in nearest]))
        page.save()


def knn_classify(
    train_features: Float[Tensor, "n d"],
    train_labels: Int[Tensor, " n"],
    test_features: Float[Tensor, "m d"],
    num_neighbors: Sequence[int],
    num_classes: int,
    temperature: float = TEMPERATURE,
) -> dict[int, Int[Tensor, "m top"]]:
    """For each k, the up to five classes with most votes, best first; -1 where fewer classes have any vote.

    Features are L2-normalised rows. A k above n is cut to n with a warning. Memory is bounded: test images are taken in
    chunks of `CHUNK_SIMILARITIES` similarities.
    """
    n = len(train_features)
    for k in num_neighbors:
        if k > n:
            warnings.warn(f"k-NN: k = {k} exceeds the {n} training images, k = {n} is used instead", stacklevel=2)
    ranked: dict[int, list[Tensor]] = {k: [] for k in num_neighbors}
    for queries in test_features.split(max(1, CHUNK_SIMILARITIES // n)):
        similarities, nearest = (queries @ train_features.T).topk(min(max(num_neighbors), n), dim=1)
        for k in num_neighbors:
            votes = knn_votes(similarities[:, :k], train_labels[nearest[:, :k]], num_classes, temperature)
            weights, classes = votes.topk(min(TOP, num_classes), dim=1)
            ranked[k].append(classes.where(weights > 0, -1))
    return {k: torch.cat(chunks) for k, chunks in ranked.items()}


def knn_votes(
    similarities: Float[Tensor, "m k"], labels: Int[Tensor, "m k"], num_classes: int, temperature: float = TEMPERATURE
) -> Float[Tensor, "m c"]:
    """Votes of k neighbours per class: sum of exp(similarity / temperature) over the neighbours of that class."""
    votes = similarities.new_zeros(len(similarities), num_classes)
    return votes.scatter_add_(1, labels, (similarities / temperature).exp())
