"""Linear probe: every head as if trained alone, a choice that never sees a test label, exact continuation."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from longtake.downstream import linear
from longtake.downstream.features import LabelledFeatures
from longtake.downstream.linear import LEARNING_RATES, Linear, Sweep, split_held_out


def clouds(n: int, spread: float, seed: int, num_classes: int = 4, dim: int = 10) -> LabelledFeatures:
    """Features around one unit vector per class, and the classes."""
    draws = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % num_classes
    return LabelledFeatures(torch.eye(num_classes, dim)[labels] + spread * torch.randn(n, dim, generator=draws), labels)


def trained(rates: list[float], epochs: int, fit, held_out, test) -> Sweep:
    sweep = Sweep(rates, epochs, num_classes=4, dim=10)
    while sweep.epoch < epochs:
        order = torch.randperm(len(fit[0]), generator=torch.Generator().manual_seed(sweep.epoch))
        sweep.train_epoch(LabelledFeatures(fit.features[ids], fit.labels[ids]) for ids in order.split(32))
        sweep.score(held_out, test)
    return sweep


def test_heads_equal_training_each_rate_alone():
    fit, test = clouds(200, 0.6, seed=0), clouds(80, 0.6, seed=1)
    rates, epochs = [0.004, 0.04, 0.4], 8
    sweep = trained(rates, epochs, fit, test, test)
    for i, rate in enumerate(rates):
        head = nn.Linear(10, 4)
        with torch.no_grad():
            head.weight.copy_(Sweep([rate], epochs, num_classes=4, dim=10).weight[0])
            head.bias.zero_()
        optimizer = torch.optim.SGD(head.parameters(), lr=rate, momentum=0.9)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs, eta_min=0)
        for epoch in range(epochs):
            order = torch.randperm(200, generator=torch.Generator().manual_seed(epoch))
            for ids in order.split(32):
                optimizer.zero_grad()
                F.cross_entropy(head(fit.features[ids]), fit.labels[ids]).backward()
                optimizer.step()
            schedule.step()
        torch.testing.assert_close(sweep.weight[i], head.weight, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(sweep.bias[i, 0], head.bias, rtol=1e-5, atol=1e-5)
        alone = (head(test.features).argmax(1) == test.labels).float().mean()
        assert sweep.test_accuracy[-1][i] == pytest.approx(float(alone))


def test_heads_start_alike_from_dinos_distribution():
    sweep = Sweep([0.1, 1.0], 1, num_classes=100, dim=200)
    assert torch.equal(sweep.weight[0], sweep.weight[1])
    assert float(sweep.weight.detach().std()) == pytest.approx(0.01, rel=0.03)
    assert float(sweep.bias.detach().abs().max()) == 0


def test_separable_features_are_learned_and_a_useless_rate_is_not_chosen():
    fit, held_out, test = clouds(400, 0.05, seed=0), clouds(40, 0.05, seed=1), clouds(80, 0.05, seed=2)
    sweep = trained([1e-9, 0.4], 5, fit, held_out, test)
    outcomes = sweep.outcomes(test)
    assert sweep.chosen == 1
    assert outcomes["top1"].mean() == 1
    assert sweep.test_accuracy[-1][0] < 1


def test_choice_ignores_test_labels():
    fit, held_out, (features, labels) = clouds(120, 1.0, seed=0), clouds(60, 1.0, seed=1), clouds(60, 1.0, seed=2)
    rates = [0.001, 0.03, 0.4]
    honest = trained(rates, 4, fit, held_out, LabelledFeatures(features, labels))
    shuffled = labels.roll(1)  # classes alternate: every label is wrong
    fooled = trained(rates, 4, fit, held_out, LabelledFeatures(features, shuffled))
    assert honest.chosen == fooled.chosen
    assert honest.held_out_accuracy == fooled.held_out_accuracy
    assert torch.equal(honest.weight, fooled.weight)
    assert honest.test_accuracy != fooled.test_accuracy
    ignorant = trained(
        rates, 4, fit, held_out._replace(labels=held_out.labels.roll(1)), LabelledFeatures(features, labels)
    )
    assert ignorant.chosen != honest.chosen, "the held-out labels do decide"


def test_paper_number_is_the_maximum_over_epochs_and_rates():
    fit, held_out, test = clouds(60, 1.5, seed=0), clouds(40, 1.5, seed=1), clouds(50, 1.5, seed=2)
    sweep = trained([0.01, 0.4, 4.0], 6, fit, held_out, test)
    outcomes = sweep.outcomes(test)
    assert outcomes["top1_paper"].mean() == pytest.approx(np.max(sweep.test_accuracy))
    chosen = int(np.argmax(sweep.held_out_accuracy[-1]))
    assert outcomes["top1"].mean() == pytest.approx(sweep.test_accuracy[-1][chosen])
    assert outcomes["top1_paper"].mean() > outcomes["top1"].mean()
    assert (outcomes["top5"] == 1).all(), "there are four classes"


def test_held_out_is_a_share_of_every_class_and_repeatable():
    labels = np.repeat(np.arange(5), [2, 10, 20, 50, 200])
    fit, held_out = split_held_out(labels, 0.1, seed=0)
    assert sorted(fit + held_out) == list(range(len(labels)))
    assert np.bincount(labels[held_out]).tolist() == [1, 1, 2, 5, 20]
    assert (fit, held_out) == split_held_out(labels, 0.1, seed=0)
    assert held_out != split_held_out(labels, 0.1, seed=1)[1]
    assert np.bincount(labels[split_held_out(labels, 0.99, seed=0)[0]], minlength=5).min() == 1


@pytest.mark.parametrize(
    ("labels", "share", "message"),
    [
        ([0, 0, 1], 0.1, "class number 1 has one"),
        ([0, 0, 1, 1], 0.0, "held_out=0.0"),
        ([0, 0, 1, 1], 1.0, "held_out=1.0"),
    ],
)
def test_held_out_that_cannot_be_is_refused(labels, share, message):
    with pytest.raises(ValueError, match=message):
        split_held_out(np.array(labels), share, seed=0)


# --- the evaluation


@pytest.fixture
def make(image_root):
    def make(**settings) -> Linear:
        defaults = {"size": 16, "resize": 16, "num_blocks": 2, "epochs": 4, "train_batch_size": 20, "held_out": 0.2}
        return Linear(preset="test", root=str(image_root), progress=False, **{**defaults, **settings})

    return make


@pytest.mark.parametrize("augment", [False, True])
def test_an_evaluation_from_end_to_end(make, encoder, tmp_path, augment):
    evaluation = make(augment=augment)
    metrics = evaluation.evaluate(encoder, tmp_path)
    assert evaluation.protocol == ("test-v1" if augment else "test-cached-v1")
    assert tuple(metrics) == evaluation.metrics
    assert metrics["top1_paper"] >= metrics["top1"] > 100 / 6
    with np.load(tmp_path / "outcomes.npz") as saved:
        assert len(saved["items"]) == 42
    assert (tmp_path / "linear.png").read_bytes().startswith(b"\x89PNG")


def test_augmented_epochs_differ_and_do_not_depend_on_workers(make, encoder, image_root):
    evaluation = make(augment=True)
    images = evaluation.open()[0]
    fit = images.subset(range(len(images)), linear.train_transform(16))
    encoder.eval()
    first, second = (torch.cat([x for x, _ in evaluation._batches(encoder, fit, None, epoch)]) for epoch in (0, 1))
    assert not torch.equal(first.sort(0).values, second.sort(0).values), "more than another order"
    evaluation.num_workers = 2
    again = torch.cat([x for x, _ in evaluation._batches(encoder, fit, None, 0)])
    torch.testing.assert_close(again, first)


@pytest.mark.parametrize("augment", [False, True])
def test_interrupted_evaluation_continues_exactly(make, encoder, tmp_path, monkeypatch, augment):
    expected = make(augment=augment).evaluate(encoder, tmp_path / "whole")
    write_state, train_epoch, trained_epochs = linear.write_state, Sweep.train_epoch, []

    def write_and_stop(*arguments):
        write_state(*arguments)
        if len(trained_epochs) == 2:
            raise KeyboardInterrupt

    def counting(sweep, *args):
        trained_epochs.append(sweep.epoch)
        train_epoch(sweep, *args)

    monkeypatch.setattr(Sweep, "train_epoch", counting)
    monkeypatch.setattr(linear, "write_state", write_and_stop)
    with pytest.raises(KeyboardInterrupt):
        make(augment=augment).evaluate(encoder, tmp_path / "cut")
    monkeypatch.setattr(linear, "write_state", write_state)
    assert make(augment=augment).evaluate(encoder, tmp_path / "cut") == expected
    assert trained_epochs == [0, 1, 2, 3]
    with np.load(tmp_path / "whole" / "outcomes.npz") as whole, np.load(tmp_path / "cut" / "outcomes.npz") as cut:
        assert all(np.array_equal(whole[name], cut[name]) for name in whole)
    heads = [torch.load(tmp_path / name / "heads.ckpt")["sweep"] for name in ("whole", "cut")]
    assert torch.equal(heads[0]["weight"], heads[1]["weight"])


def test_a_checkpoint_of_another_encoder_or_setting_is_not_continued(make, encoder, tmp_path, monkeypatch):
    make(augment=False).evaluate(encoder, tmp_path)
    epochs, train_epoch = [], Sweep.train_epoch

    def counting(sweep, *args):
        epochs.append(sweep.epoch)
        train_epoch(sweep, *args)

    monkeypatch.setattr(Sweep, "train_epoch", counting)
    make(augment=False).evaluate(encoder, tmp_path)
    assert epochs == [], "a finished one is read"
    make(augment=False, seed=1).evaluate(encoder, tmp_path)
    assert epochs == [0, 1, 2, 3]
    with torch.no_grad():
        encoder.norm.bias += 1
    make(augment=False, seed=1).evaluate(encoder, tmp_path)
    assert epochs == [0, 1, 2, 3] * 2


def test_rates_are_scaled_with_the_batch(make, encoder, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(linear, "Sweep", lambda rates, *args: asked.append(rates) or Sweep(rates, *args))
    make(augment=False, train_batch_size=64, epochs=1).evaluate(encoder, tmp_path)
    assert asked == [[rate / 4 for rate in LEARNING_RATES]]
