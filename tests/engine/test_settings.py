"""Values are held against their types before anything is computed, those of keys without a class too; no key is ignored."""

import re
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from omegaconf import OmegaConf

import longtake.configs
from longtake.engine.command_line import check_overrides
from longtake.engine.config import plainly
from longtake.engine.settings import GROUPS, OWN, Precision, Root

CONFIGS = Path(longtake.configs.__file__).parent


def test_every_key_of_the_yamls_has_a_type_and_the_other_way_round():
    run: dict[str, Any] = OmegaConf.to_container(OmegaConf.load(CONFIGS / "run.yaml"))  # type: ignore[assignment]
    trainer: dict[str, Any] = OmegaConf.to_container(OmegaConf.load(CONFIGS / "trainer" / "default.yaml"))  # type: ignore[assignment]
    known = run.keys() - {"defaults", "hydra"} - OWN - GROUPS.keys()
    assert known == get_type_hints(Root).keys()
    for group, types in GROUPS.items():
        assert {**run, "trainer": trainer}[group].keys() == get_type_hints(types).keys()


def test_precisions_are_lightnings():
    from lightning.fabric.plugins.precision.precision import _PRECISION_INPUT_STR

    assert {*get_args(Precision)} == {"auto", *get_args(_PRECISION_INPUT_STR)}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("epochs=abc", "epochs: got 'abc', expected an integer of at least 1"),
        ("epochs=0", "epochs: got 0, expected an integer of at least 1"),
        ("epochs=2.5", "epochs: got 2.5, expected an integer of at least 1"),
        ("seed=[0,1]", "seed: got [0, 1], expected an integer from 0 to 4294967295; for several runs: -m seed=0,1"),
        ("seed=-1", "seed: got -1, expected an integer from 0 to 4294967295"),
        ("num_workers=-1", "num_workers: got -1, expected an integer of at least 0 or null"),
        ("num_workers=abc", "num_workers: got 'abc', expected an integer of at least 0 or null"),
        ("batch_size=0", "batch_size: got 0, expected an integer of at least 1"),
        ("trainer.precision=fp16", "trainer.precision: got 'fp16', expected auto or 32-true or"),
        ("trainer.precision=bf16", "Did you mean bf16-true or bf16-mixed?"),
        ("trainer.precision=16", "Did you mean 16-true"),
        ("trainer.precision=nonsense", "trainer.precision: got 'nonsense', expected auto or"),
        ("trainer.devices=0", "trainer.devices: got 0, expected auto or -1 or an integer of at least 1 or a list of"),
        ("trainer.devices=all", "trainer.devices: got 'all', expected auto"),
        ("trainer.num_nodes=0", "trainer.num_nodes: got 0, expected an integer of at least 1"),
        ("trainer.augment=gpu", "trainer.augment: got 'gpu', expected worker or device"),
        ("trainer.profiler=simpel", "Did you mean simple?"),
        ("trainer.callbacks=early", "trainer.callbacks: got 'early', expected a list"),
        ("device=gpu", "device: got 'gpu', expected auto, cpu, cuda, cuda:1 (the second GPU) or mps"),
        ("device=tpu", "device: got 'tpu'"),
        ("eval.knn_mini.device=gpu", "eval.knn_mini.device: got 'gpu', expected auto, cpu"),
        ("trainer.checkpoint_minutes=abc", "trainer.checkpoint_minutes: got 'abc', expected a number of at least 0"),
        ("trainer.checkpoint_minutes=-1", "trainer.checkpoint_minutes: got -1, expected a number of at least 0"),
        ("dry_run=maybe", "dry_run: got 'maybe', expected true or false"),
        ("resume=maybe", "resume: got 'maybe'"),
        ("checkpoint=", "checkpoint: got '', expected a path or null"),
        ("output=null", "output: got null, expected a path"),
        ("analyze.interval=0", "analyze.interval: got 0, expected a number above 0"),
        ("visualize.num_clips=many", "visualize.num_clips: got 'many', expected an integer of at least 1"),
        ("submit_result.mao=good", "submit_result.mao: got 'good', expected a number or null"),
        ("seeds=some", "seeds: got 'some', expected an integer"),
        ("+logger=wandb", "unknown key 'logger'. Did you mean trainer.logger?"),
        ("+strategy=ddp", "unknown key 'strategy'. Did you mean trainer.strategy?"),
        ("+trainer.strategy=ddp", "+trainer.strategy: this key is there already; leave out the +"),
        ("+anything=1", "unknown key 'anything'."),
        ("+epoch=3", "unknown key 'epoch'. Did you mean epochs?"),
        ("+trainer.max_epochs=1", "unknown key of trainer: 'max_epochs'."),
        ("+analyze.detectors=1", "unknown key of analyze: 'detectors'. Did you mean detector?"),
        (
            "pretrain.path=foo.mp4",
            "pretrain=mini has no such key, expected pretrain=video or pretrain=frames pretrain.path=foo.mp4",
        ),
        ("pretrain.images=photos", "pretrain=mini has no such key, expected pretrain=images pretrain.images=photos"),
        ("pretrain.pathh=foo.mp4", "unknown key of source world: 'pathh'."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(word: str, message: str):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        check_overrides([word])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "word",
    [
        "trainer.devices=auto", "trainer.devices=-1", "trainer.devices=[0,1]", "trainer.precision=16-mixed", "device=cuda:1",
        "trainer.strategy=ddp", "trainer.logger=wandb", "trainer.logger=null", "trainer.checkpoint_minutes=0.5", "seeds=[0,1]",
        "table=5", "table=2a", "trainer.callbacks=[{_target_: a.B, x: 1}]", "num_workers=null",
    ],
)  # fmt: skip
def test_what_is_right_passes(word: str):
    plainly([word])


def test_a_sweep_needs_its_flag():
    with pytest.raises(ValueError, match=r"^seed=0,1: several values are several runs, run -m seed=0,1; a list is"):
        check_overrides(["method=dino", "seed=0,1"], sweep=False)
    check_overrides(["method=dino", "seed=0,1"], sweep=True)
