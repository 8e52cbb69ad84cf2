"""Fine-tuning: the recipe's rates and groups, accumulation and continuation that change nothing, an honest primary number."""

import math
import random
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from finetune_runs import DRAWN, small_vit, task, together
from PIL import Image
from processes import on_two_processes

from longtake.backbones.vit import ViT
from longtake.datasets.transfer import open_images
from longtake.downstream import finetune
from longtake.downstream.augmented import Transformed, augmentation, epoch_order, mixed
from longtake.downstream.base import DOWNSTREAM
from longtake.downstream.drawing import seeded
from longtake.downstream.finetune import Finetune
from longtake.downstream.finetune_training import ClassifierTraining
from longtake.engine.config import composed
from longtake.engine.plan import build_evaluation


@pytest.fixture
def vit() -> ViT:
    return small_vit()


@pytest.fixture
def make(image_root):
    """72 training images of 6 classes; no mixing, nothing drawn but crops and drop path, unless asked for."""
    return partial(task, image_root)


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def draws() -> tuple[float, float]:
    """What the global generators of numpy and torch would give next (the tests' own checker draws from Python's)."""
    states = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    given = float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002
    np.random.set_state(states[0])  # noqa: NPY002
    torch.set_rng_state(states[1])
    return given


# --- the whole evaluation


def test_it_learns_and_leaves_the_generators_alone(make, vit, tmp_path):
    generators = draws()
    evaluation = make(epochs=8, lr=3e-3, mixup=0.2, cutmix=0.2, erasing=0.1, rand_augment="rand-m3-mstd0.5-inc1")
    metrics = evaluation.evaluate(vit, tmp_path)
    assert tuple(metrics) == evaluation.metrics
    assert metrics["top1"] > 100 / 3, "twice what chance gives for six classes"
    assert metrics["top1_paper"] >= metrics["top1"]
    assert metrics["top5"] >= metrics["top1"]
    with np.load(tmp_path / "outcomes.npz") as saved:
        assert saved["items"][0] == "class0/0.png"
        assert len(saved["items"]) == 42
    assert (tmp_path / "finetune.png").read_bytes().startswith(b"\x89PNG")
    assert draws() == generators


def test_last_and_best_epoch_are_told_apart(make, vit, tmp_path):
    scored = make().evaluate(vit, tmp_path)
    tests = torch.load(tmp_path / "training.ckpt", weights_only=True)["scores"]["tests"]
    accuracies = [accuracy for _, accuracy in tests]
    assert [epoch for epoch, _ in tests] == [1, 2, 3]
    assert scored["top1"] == pytest.approx(100 * accuracies[-1], abs=1e-4)
    assert scored["top1_paper"] == pytest.approx(100 * max(accuracies), abs=1e-4)


def test_the_best_epoch_is_kept_when_the_last_is_worse(make, vit):
    evaluation = make()
    training = ClassifierTraining(evaluation, vit, 6, 3)
    test = open_images("imagefolder", evaluation.root, ["val"])[0]
    with torch.no_grad():
        training.model.head.bias.copy_(torch.tensor([9.0, 0, 0, 0, 0, 0]))
        training.score(1, evaluation.test_batches(test))
        good = training.scores.outcomes()
        training.model.head.bias.fill_(math.nan)
        training.score(2, evaluation.test_batches(test))
    outcomes = training.scores.outcomes()
    assert good["top1"].mean() == outcomes["top1_paper"].mean() == pytest.approx(1 / 6)
    assert good["top1"][:7].all(), "class 0 is first"
    assert outcomes["top1"].mean() <= 1 / 6
    assert np.array_equal(outcomes["top1_paper"], good["top1"])


def test_interrupted_evaluation_continues_bit_for_bit(make, vit, tmp_path, monkeypatch):
    settings = {"drop_path": 0.3, "mixup": 0.8, "cutmix": 1.0, "erasing": 0.25}
    expected = make(**settings).evaluate(vit, tmp_path / "whole")
    gradients, steps = ClassifierTraining.gradients, []
    monkeypatch.setattr(finetune, "SAVE_SECONDS", 0)

    def stopping(self, groups, number):
        steps.append(number)
        if number == 4 and len(steps) == 5:  # in the middle of the second epoch
            raise KeyboardInterrupt
        return gradients(self, groups, number)

    monkeypatch.setattr(ClassifierTraining, "gradients", stopping)
    with pytest.raises(KeyboardInterrupt):
        make(**settings).evaluate(vit, tmp_path / "cut")
    (tmp_path / "cut" / "training.part").write_bytes(b"half a checkpoint")
    torch.manual_seed(99)
    random.seed(99)
    assert make(**settings).evaluate(vit, tmp_path / "cut") == expected
    assert steps == [0, 1, 2, 3, 4, *range(3, 9)]
    whole, cut = (torch.load(tmp_path / name / "training.ckpt") for name in ("whole", "cut"))
    assert same(whole["model"], cut["model"])
    assert whole["losses"] == cut["losses"]
    assert torch.equal(whole["scores"]["best_hits"], cut["scores"]["best_hits"])
    lines = [(tmp_path / name / "training_loss.csv").read_text().splitlines() for name in ("whole", "cut")]
    assert lines[0] == lines[1] == ["step,loss", *(f"{step},{loss}" for step, loss in enumerate(whole["losses"]))]
    make(**settings).evaluate(vit, tmp_path / "cut")
    assert len(steps) == 11, "a finished one is read"
    make(**settings, seed=1).evaluate(vit, tmp_path / "cut")
    assert len(steps) == 20, "another seed begins anew"


def test_two_processes_train_and_score_as_one(make, vit, tmp_path, image_root, monkeypatch):
    """With every kind of draw, without a break and with one; only the first process writes."""
    monkeypatch.setenv("SHARED_ROOT", str(image_root))
    monkeypatch.setenv("SHARED_OUT", str(tmp_path))
    ranks = on_two_processes(together, tmp_path)
    metrics = make(**DRAWN).evaluate(vit, tmp_path / "alone")
    alone, *others = (torch.load(tmp_path / n / "training.ckpt") for n in ("alone", "whole_0", "cut"))
    for other in others:
        assert other["losses"] == pytest.approx(alone["losses"], rel=1e-5)
        assert torch.equal(other["scores"]["hits"], alone["scores"]["hits"])
        for name, value in alone["model"].items():
            torch.testing.assert_close(other["model"][name], value, rtol=1e-3, atol=1e-4)
    assert same(others[0]["model"], others[1]["model"]), "continued bit for bit"
    for found in ranks:
        assert found["whole"] == found["cut"] == metrics
        assert found["steps"] == [3, 4, 5], "from the end of the first epoch"
        assert "the 3 group(s) of a step cannot be divided among 2 processes" in found["refused"]
    with np.load(tmp_path / "whole_0" / "outcomes.npz") as shared, np.load(tmp_path / "alone/outcomes.npz") as single:
        assert {name: shared[name].tolist() for name in shared} == {name: single[name].tolist() for name in single}
    assert not list(tmp_path.glob("whole_1/*"))


def test_views_do_not_depend_on_workers(make, vit, tmp_path):
    settings = {"mixup": 0.8, "erasing": 0.5, "rand_augment": "rand-m9-mstd0.5-inc1", "epochs": 2}
    alone = make(**settings).evaluate(vit, tmp_path / "0")
    assert make(**settings, num_workers=2).evaluate(vit, tmp_path / "2") == alone
    one, two = (torch.load(tmp_path / name / "training.ckpt") for name in "02")
    assert same(one["model"], two["model"])


def trained(
    evaluation: Finetune, vit: ViT, workdir: Path, num_steps: int, groups: list | None = None, done: int = 0
) -> tuple[ClassifierTraining, list[float]]:
    """After some steps of the first epoch (or on other groups, or from step `done` on), and their losses."""
    train = evaluation.open()[0]
    training = ClassifierTraining(evaluation, vit, 6, len(train) // evaluation.train_batch_size)
    tuning = training.tuning(workdir / "training.ckpt", "")
    tuning.losses += [0.0] * done
    with torch.random.fork_rng():
        given = iter(groups or evaluation.train_groups(train, 0))
        tuning.run(partial(training.gradients, given), done + num_steps, lambda _: False)
    return training, tuning.losses[done:]


def test_accumulation_keeps_the_batch(make, vit, tmp_path):
    """At most 5, 12 or 64 images at once, of steps of 24 in mixing groups of 12: the same training up to rounding."""
    (one, losses), *others = [
        trained(make(batch_size=at_once, mixup=0.8, cutmix=1.0, drop_path=0.0), vit, tmp_path / str(at_once), 3)
        for at_once in (64, 12, 5)
    ]
    for other, other_losses in others:
        assert other_losses == pytest.approx(losses, rel=1e-5)
        for name, value in one.model.state_dict().items():
            torch.testing.assert_close(other.model.state_dict()[name], value, rtol=1e-3, atol=3e-5)


def test_a_step_is_adamw_on_the_mean_over_the_batch(make, vit, tmp_path):
    """Without mixing: one step against torch's own loss and optimiser, a single rate, no weight decay where there is none."""
    evaluation = make(train_batch_size=24, mixup_batch_size=8, batch_size=8, drop_path=0.0, warmup_epochs=0, repeats=1)
    train = evaluation.open()[0]
    reference = ClassifierTraining(evaluation, vit, 6, 3).model.train()
    groups = list(evaluation.train_groups(train, 0))[:3]
    x, y = torch.cat([x for x, _ in groups]), torch.cat([y for _, y in groups])
    loss = F.cross_entropy(reference(x), y, label_smoothing=0.1)
    loss.backward()
    spared = [
        p for n, p in reference.named_parameters() if p.ndim == 1 or n in ("encoder.cls_token", "encoder.pos_embed")
    ]
    others = [p for p in reference.parameters() if all(p is not q for q in spared)]
    decays = [{"params": others, "weight_decay": 0.05}, {"params": spared, "weight_decay": 0.0}]
    training, losses = trained(evaluation, vit, tmp_path, 1, groups)
    assert losses == [pytest.approx(float(loss.detach()), rel=1e-5)]
    for ours, theirs in zip(training.model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-7)
        theirs.grad = ours.grad  # Adam's first step magnifies the rounding of a small gradient
    torch.optim.AdamW(decays, lr=1e-3, betas=(0.9, 0.999), eps=1e-8).step()
    for (name, ours), theirs in zip(training.model.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-7, msg=name)


def test_rates_follow_the_schedule_and_the_layers(make, vit, tmp_path):
    evaluation = make(epochs=10, warmup_epochs=2, lr=4e-3, warmup_lr=1e-6, min_lr=1e-5, layer_decay=0.5)
    training = ClassifierTraining(evaluation, vit, 6, steps_per_epoch=5)
    rates = [training.learning_rate(step) for step in range(50)]
    assert rates[0] == pytest.approx(1e-6)
    assert rates[5] == pytest.approx((1e-6 + 4e-3) / 2)
    assert rates[10] == pytest.approx(4e-3)
    assert rates[30] == pytest.approx((4e-3 + 1e-5) / 2)
    assert rates[49] == pytest.approx(1e-5 + (4e-3 - 1e-5) * (1 + math.cos(math.pi * 39 / 40)) / 2)
    at_the_top = make(epochs=15, warmup_epochs=4, lr=4e-3, layer_decay=0.5)  # of 3 steps each
    training, _ = trained(at_the_top, vit, tmp_path, 1, done=12)
    layers = {group["name"]: group["lr"] for group in training.optimizer.param_groups}
    assert layers["layer_3_decay"] == pytest.approx(4e-3), "the head"
    assert layers["layer_0_decay"] == pytest.approx(4e-3 / 2**3)
    assert layers["layer_0_no_decay"] == layers["layer_0_decay"]


def test_drop_path_is_the_recipes_and_not_the_pretrainings(make, vit):
    def rates(recipe: Finetune) -> list[float]:
        blocks = ClassifierTraining(recipe, vit, 6, 3).model.encoder.blocks
        return [getattr(block.drop_path, "drop_prob", 0.0) for block in blocks]

    assert rates(make(drop_path=0.3)) == pytest.approx([0, 0.3])
    assert rates(make(drop_path=0.0)) == [0, 0]


def test_budgets_shorten_run_and_warm_up_and_are_in_the_protocol(make, vit):
    full, tenth, hundredth = (make(epochs=1000, warmup_epochs=50, budget=b) for b in ("full", "tenth", "hundredth"))
    assert [e.num_epochs for e in (full, tenth, hundredth)] == [1000, 100, 10]
    assert [e.protocol for e in (full, tenth)] == ["test-1000ep-v1", "test-100ep-v1"]
    training = ClassifierTraining(tenth, vit, 6, steps_per_epoch=10)
    rates = [training.learning_rate(step) for step in (49, 50, 51)]
    assert rates[0] < rates[1] == 1e-3 > rates[2]
    with pytest.raises(ValueError, match="budget: got 'half', expected one of full, tenth, hundredth"):
        make(budget="half").check()


def test_a_loss_that_is_not_finite_ends_it(make, vit, tmp_path):
    with pytest.raises(FloatingPointError, match=r"loss is nan in step 2 of epoch 1 .* lower lr \(now 1e\+30\)"):
        make(lr=1e30, warmup_epochs=0).evaluate(vit, tmp_path)
    assert not (tmp_path / "training.ckpt").exists()


BAD = {
    "group": ({"mixup_batch_size": 16}, "train_batch_size=24 mixup_batch_size=16"),
    "odd group": ({"mixup_batch_size": 3, "mixup": 0.8}, "expected an even group"),
    "batch": ({"train_batch_size": 96, "mixup_batch_size": 96}, "larger than the 72 training images"),
    "warm-up": ({"warmup_epochs": 3}, "a warm-up shorter than the run"),
    "resize": ({"resize": 8}, "expected resize >= size"),
    "crop": ({"crop_scale": (0.5, 0.2)}, "two ascending shares"),
    "layout": ({"layout": "svhn"}, "layout: got 'svhn'"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_settings_are_named_before_any_compute(make, case):
    change, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        make(**change).check()


def test_a_size_that_the_patch_does_not_divide_is_refused(make, vit, tmp_path):
    with pytest.raises(ValueError, match="size=20 is not divisible by the encoder's patch size 8"):
        make(size=20, resize=20).evaluate(vit, tmp_path)


def test_an_encoder_without_drop_path_is_refused(make, encoder, tmp_path):
    with pytest.raises(ValueError, match="no drop path"):
        make().evaluate(encoder, tmp_path)


# --- views


def test_orders_repeat_images_side_by_side():
    order = epoch_order(10, 9, 3, 0, 0)
    assert len(order) == 9
    assert order[0::3] == order[1::3] == order[2::3]
    assert len(set(order)) == 3
    assert sorted(epoch_order(10, 10, 1, 0, 0)) == list(range(10))
    assert epoch_order(10, 10, 1, 0, 0) != epoch_order(10, 10, 1, 0, 1)


def test_a_step_holds_each_image_thrice_in_different_groups(make):
    evaluation = make(repeats=3, mixup_batch_size=8)
    groups = list(evaluation.train_groups(evaluation.open()[0], 0))
    assert len(groups) == 9
    order = epoch_order(72, 72, 3, evaluation.seed, 0)
    labels = open_images("imagefolder", evaluation.root, ["train"])[0].labels
    first = [order[place] for place in range(24)]
    assert groups[0][1].tolist() == labels[first[0::3]].tolist()
    assert len(set(first[0::3])) == 8
    assert groups[1][1].tolist() == labels[first[1::3]].tolist()
    assert not torch.equal(groups[0][0], groups[1][0]), "three views, not one"


def test_views_are_drawn_from_seed_epoch_and_place(image_root):
    images = open_images("imagefolder", str(image_root), ["train"])[0]
    view = augmentation(16, (0.3, 1.0), "rand-m9-mstd0.5-inc1", 0.5)
    views = {
        key: Transformed(images, view, [5, 5], key)[place][0] for key, place in [((0, 0), 0), ((0, 1), 0), ((1, 0), 0)]
    }
    assert all(not torch.equal(a, b) for a, b in zip(views.values(), [*views.values()][1:], strict=False))
    assert not torch.equal(Transformed(images, view, [5, 5], (0, 0))[1][0], views[0, 0]), "the same image again"
    assert torch.equal(Transformed(images, view, [5, 5], (0, 0))[0][0], views[0, 0])


def test_posterize_at_full_magnitude_is_black():
    """timm then asks Pillow for 0 bits, which new versions refuse; the recipe's magnitude reaches it in one draw of forty."""
    view = augmentation(16, (1.0, 1.0), "rand-m10-inc1", 0.0)
    (ops,) = (step.ops for step in view.transforms if hasattr(step, "ops"))
    (op,) = (op for op in ops if op.name == "PosterizeIncreasing")
    op.prob, picture = 1.0, Image.new("RGB", (16, 16), (200, 100, 50))
    assert np.array(op(picture)).max() == 0
    op.magnitude = 5
    assert np.array(op(picture))[0, 0].tolist() == [192, 64, 0], "two bits are kept"
    with seeded(0):
        views = [view(picture) for _ in range(300)]
    assert all(torch.isfinite(x).all() for x in views)


def test_draws_are_those_of_the_key_and_leave_nothing_behind():
    before, python = draws(), random.getstate()
    with seeded(1, 2):
        first = random.random(), *draws()
    after = random.getstate()
    with seeded(1, 2):
        again = random.random(), *draws()
    with seeded(1, 3):
        other = random.random(), *draws()
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))
    assert draws() == before
    assert after == python


def test_mixing_is_that_of_one_draw_and_its_targets_add_up():
    x, y = torch.rand(6, 3, 16, 16), torch.arange(6)
    with seeded(3):
        images, targets = mixed(x.clone(), y, 6, 0.8, 0.0, 0.0)
    share = targets[0, 0]  # the image's own part, the rest is its mirror place's
    assert 0 < share < 1
    torch.testing.assert_close(images, share * x + (1 - share) * x.flip(0))
    torch.testing.assert_close(targets.sum(1), torch.ones(6))
    images, targets = mixed(x.clone(), y, 6, 0.0, 0.0, 0.1)
    assert torch.equal(images, x)
    torch.testing.assert_close(targets[0], torch.tensor([0.9 + 0.1 / 6] + [0.1 / 6] * 5))


# --- the recipes


RECIPES = {  # epochs, rate, batch, layer decay, repeats, erasing; iBOT's run.sh and README
    "cifar10": (1000, 7.5e-6 * 1.5, 768, 1.0, 3, 0.25),
    "cifar100": (1000, 7.5e-6 * 1.5, 768, 1.0, 3, 0.25),
    "flowers": (1000, 7.5e-6 * 1.5, 768, 1.0, 3, 0.25),
    "cars": (1000, 7.5e-5 * 1.5, 768, 1.0, 3, 0.25),
    "inat18": (360, 5e-5 * 1.5, 768, 1.0, 3, 0.1),
    "imagenet1k": (200, 4e-3, 1024, 0.75, 1, 0.25),
}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_those_of_the_original(name):
    cfg = composed([f"eval=[finetune_{name}]", "device=cpu", "num_workers=0"])
    evaluation = build_evaluation({**cfg.eval[f"finetune_{name}"], "num_workers": 0, "device": "cpu"})
    e = evaluation
    assert (e.epochs, e.lr, e.train_batch_size, e.layer_decay, e.repeats, e.erasing) == pytest.approx(RECIPES[name])
    assert (e.weight_decay, e.drop_path, e.mixup, e.cutmix, e.label_smoothing) == (0.05, 0.1, 0.8, 1.0, 0.1)
    assert (e.size, e.resize, e.rand_augment, e.budget) == (224, 256, "rand-m9-mstd0.5-inc1", "full")
    assert e.protocol == f"finetune-{name}-{e.epochs}ep-v1"
    assert e.layout == {"imagenet1k": "imagefolder"}.get(name, name)
    (line, *_) = e.check()
    assert "under the data root" in line or "LONGTAKE_DATA" in line


def test_the_registry_knows_it_and_mini_needs_no_data():
    assert DOWNSTREAM["finetune"] is finetune.Finetune
    cfg = composed(["eval=[finetune_mini]", "device=cpu"])
    evaluation = build_evaluation({**cfg.eval.finetune_mini, "num_workers": 0, "device": "cpu"})
    assert evaluation.check() == []
    assert (evaluation.train_split, evaluation.test_split) == ("train", "test")
