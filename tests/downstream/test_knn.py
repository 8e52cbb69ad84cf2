"""Weighted k-NN: DINO's counts, the formula in loops, and what a bank's order or size may not change."""

import math

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from golden import S
from hypothesis import given, settings
from hypothesis import strategies as st

from longtake.downstream import knn
from longtake.downstream.knn import KNN, knn_classify, knn_votes

# Origin: facebookresearch/dino @ 7c446df, eval_knn.py: knn_classifier run with T = 0.07 on the inputs of `bank`.
# name: (train, test, dim, classes), a, scale, {k: (top-1 hits, top-5 hits)}. With k = 5 fewer than five classes may have
# votes; these top-5 counts are DINO's with num_classes=1000, which equal the count over classes with votes.
GOLDEN = {
    "a": ((300, 250, 16, 7), (0.37, 0.1, 0.911, 0.4, 1.27, 0.8), 0.55, {1: (143, 143), 5: (151, 231), 20: (167, 248)}),
    "b": ((400, 100, 24, 12), (0.57, 0.2, 0.77, 0.9, 1.9, 0.3), 0.5, {1: (47, 47), 5: (52, 85), 20: (55, 91)}),
    "small": ((150, 60, 16, 6), (0.29, 0.5, 0.61, 0.2, 1.41, 0.9), 0.5, {1: (32, 32), 5: (33, 58), 20: (35, 60)}),
}


def bank(name: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    (n, m, dim, num_classes), a, scale, _ = GOLDEN[name]
    prototypes = S((num_classes, dim), *a[:2]).numpy()
    train_labels = (7 * np.arange(n) + np.arange(n) // 13) % num_classes
    test_labels = (5 * np.arange(m) + np.arange(m) // 11) % num_classes
    train = np.float32(prototypes[train_labels] * scale) + S((n, dim), *a[2:4]).numpy()
    test = np.float32(prototypes[test_labels] * scale) + S((m, dim), *a[4:]).numpy()
    features = [F.normalize(torch.from_numpy(x.astype(np.float32)), dim=1) for x in (train, test)]
    return features[0], torch.from_numpy(train_labels), features[1], torch.from_numpy(test_labels)


@pytest.mark.parametrize("num_classes", ["those there are", 1000])
@pytest.mark.parametrize("name", GOLDEN)
def test_counts_equal_dinos(name, num_classes):
    train, train_labels, test, test_labels = bank(name)
    (_, _, _, present), _, _, expected = GOLDEN[name]
    ranked = knn_classify(train, train_labels, test, list(expected), 1000 if num_classes == 1000 else present)
    for k, (top1, top5) in expected.items():
        hits = ranked[k] == test_labels[:, None]
        assert (int(hits[:, 0].sum()), int(hits.any(1).sum())) == (top1, top5), k


def test_votes_and_ranking_equal_the_formula_in_loops():
    train, train_labels, test, _ = (x[:90].double() if x.is_floating_point() else x[:90] for x in bank("b"))
    k, num_classes = 7, 12
    ranked = knn_classify(train, train_labels, test, [k], num_classes)[k]
    for i, query in enumerate(test):
        similarity = [float(query @ row) for row in train]
        nearest = sorted(range(len(train)), key=lambda j: -similarity[j])[:k]
        votes = [0.0] * num_classes
        for j in nearest:
            votes[train_labels[j]] += math.exp(similarity[j] / 0.07)
        got = knn_votes(torch.tensor([[similarity[j] for j in nearest]]), train_labels[nearest][None], num_classes)
        np.testing.assert_allclose(got[0].numpy(), votes, rtol=1e-4)
        best = sorted((c for c in range(num_classes) if votes[c] > 0), key=lambda c: -votes[c])[:5]
        assert ranked[i].tolist() == best + [-1] * (5 - len(best))


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(5, 40), num_classes=st.integers(2, 8))
@settings(max_examples=25, deadline=None)
def test_order_of_the_bank_does_not_matter(seed, n, num_classes):
    draws = torch.Generator().manual_seed(seed)
    train = F.normalize(torch.randn(n, 6, generator=draws, dtype=torch.float64), dim=1)
    test = F.normalize(torch.randn(9, 6, generator=draws, dtype=torch.float64), dim=1)
    labels = torch.randint(num_classes, (n,), generator=draws)
    order = torch.randperm(n, generator=draws)
    one = knn_classify(train, labels, test, [1, 5], num_classes)
    other = knn_classify(train[order], labels[order], test, [1, 5], num_classes)
    assert all(torch.equal(one[k], other[k]) for k in (1, 5))


def test_a_training_image_is_its_own_nearest_neighbour():
    train, train_labels, *_ = bank("small")
    assert torch.equal(knn_classify(train, train_labels, train, [1], 6)[1][:, 0], train_labels)


def test_chunks_change_nothing(monkeypatch):
    train, train_labels, test, _ = bank("a")
    whole = knn_classify(train, train_labels, test, [20], 7)[20]
    monkeypatch.setattr(knn, "CHUNK_SIMILARITIES", 7 * len(train))  # 250 test images: 35 chunks of 7 and one of 5
    assert torch.equal(knn_classify(train, train_labels, test, [20], 7)[20], whole)


def test_k_above_the_bank_is_cut_with_a_warning():
    train, train_labels, test, _ = bank("small")
    with pytest.warns(UserWarning, match="k = 200 exceeds the 150 training images"):
        ranked = knn_classify(train, train_labels, test, [150, 200], 6)
    assert torch.equal(ranked[200], ranked[150])


def test_evaluation_finds_the_classes_and_has_an_outcome_per_image(image_root, encoder, tmp_path):
    evaluation = KNN(preset="test", root=str(image_root), size=16, resize=16, progress=False)
    with pytest.warns(UserWarning, match="72 training images"):
        metrics = evaluation.evaluate(encoder, tmp_path / "knn")
    assert tuple(metrics) == evaluation.metrics
    assert 100 / 6 < metrics["top1_k20"] < metrics["top5_k20"] <= 100
    with np.load(tmp_path / "knn" / "outcomes.npz") as saved:
        assert saved["items"][:8].tolist() == [*(f"class0/{i}.png" for i in range(7)), "class1/0.png"]
        assert len(saved["top1_k20"]) == 42


def test_evaluation_equals_classifying_the_extracted_features(image_root, encoder, tmp_path):
    evaluation = KNN(preset="test", root=str(image_root), size=16, resize=16, progress=False)
    train, test = (evaluation.extract(encoder, images) for images in evaluation.open())
    features = [F.normalize(x, dim=1) for x, _ in (train, test)]
    ranked = knn_classify(features[0], train[1], features[1], [10], 6)[10]
    with pytest.warns(UserWarning, match="72 training images"):
        metrics = evaluation.evaluate(encoder, tmp_path)
    assert metrics["top1_k10"] == pytest.approx(100 * float((ranked[:, 0] == test[1]).double().mean()))


def test_the_nearest_images_are_shown(encoder, image_root, tmp_path):
    task = KNN(preset="knn", root=str(image_root), size=16, resize=16, progress=False, gallery=True)
    task.evaluate(encoder, tmp_path)
    page = cv2.imread(str(tmp_path / "knn.jpg"))
    assert page.shape == (24 * 150, 6 * 150, 3)  # 24 test images with five neighbours each
