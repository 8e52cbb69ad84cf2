"""`run` without a command line: a training and an evaluation as functions of plain arguments, for scripts and notebooks.

They compose the configuration that the same words would give on the command line and do what `run` does with it.
"""

import signal
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf
from torch import nn

from longtake.backbones.finite import check_weights
from longtake.backbones.vit import ViT
from longtake.backbones.weights import load_encoder
from longtake.console import console
from longtake.datasets.sources.base import SOURCES, Source
from longtake.datasets.views import Crop, MultiCrop, Precrop
from longtake.downstream.base import Downstream, Encoder
from longtake.engine.budget import picks
from longtake.engine.config import choices, composed, plain
from longtake.engine.description import description
from longtake.engine.folders import ENCODER
from longtake.engine.identity import variant
from longtake.engine.keywords import plain_value
from longtake.engine.machine import resolve_machine
from longtake.engine.plan import build_evaluation, make_plan
from longtake.engine.pretraining import open_clips
from longtake.engine.pretraining import pretrain as trained_in
from longtake.engine.recipe import recipe_of, recipe_said
from longtake.engine.session import new_folder
from longtake.engine.words import word_of
from longtake.leaderboards.schema import RANDOM_INIT
from longtake.methods.base import Method
from longtake.parallel import join
from longtake.registry import unknown

Files = str | Path | Sequence[str | Path]


class Pretrained(NamedTuple):
    """An encoder in evaluation mode, and its file."""

    encoder: ViT
    file: Path

    @property
    def folder(self) -> Path:
        """The run's, with the log of the training and `last.ckpt`."""
        return self.file.parent


def pretrain(
    *,
    method: str | type[Method] = "dora",
    source: Files | Source,
    backbone: str | Mapping[str, Any] | None = None,
    views: MultiCrop | None = None,
    num_frames: int | None = None,
    epochs: int | None = None,
    frames: int | str | None = None,
    budget: str | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    output: str | Path = "outputs",
    device: str = "auto",
    precision: str = "auto",
    num_workers: int | None = None,
    **arguments: Any,
) -> Pretrained:
    """Train an encoder as `run method=... pretrain=...` does, and print the plan and how it goes; what is None is as there.

    `source` is a word of `pretrain=` ("mini", "wt_venice"), video files (a path, a folder, a pattern, several), or a `Source`.
    `backbone` is a word of `backbone=` or the keywords of `ViT`, `arguments` are keywords of the method. A method given as a
    class has the class's defaults instead of a yaml's, and needs `views`. `frames` ("20M") is a length instead of epochs, and
    `budget` ("15min") fits what is not given to this machine; None is the recipe's length, for a video of one's own, too.

    Raises `ValueError` for whatever is wrong, before anything is computed, and `KeyboardInterrupt` when it was stopped, with what
    was done until then in the run's folder.
    """
    if method == RANDOM_INIT:
        raise ValueError("method='none' trains nothing; longtake.ViT() is an encoder at random")
    words = _words(method, source, backbone)
    given: dict[str, Any] = {
        "frames": frames, "epochs": epochs, "batch_size": batch_size, "seed": seed, "output": str(output), "device": device,
        "num_workers": num_workers, "trainer.precision": precision, "method.num_frames": num_frames,
    }  # fmt: skip
    given |= {"++method.views": None if views is None else keys_of(views)}
    given = {key: value for key, value in given.items() if value is not None}
    given |= {f"method.{key}": plain_value(value) for key, value in arguments.items()}
    picked = {} if budget is None else _picked(method, source, backbone, {**given, "budget": budget})
    words += [f"{key}={picked.pop(key)}" for key in ("backbone", "recipe") if key in picked]
    config = _composed(words, method, source, backbone)
    for key, value in {**given, "budget": None, **picked, "eval": {}}.items():
        OmegaConf.update(config, key.lstrip("+"), value, merge=False, force_add=True)
    plan = make_plan(plain(config))
    chosen = composed(words, hydra=True).hydra.runtime.choices
    console.print(description(plan, recipe_said(plan.config, chosen)))
    clips = open_clips(plan)
    assert clips is not None
    changed = variant(plan.config, recipe_of(plan.config, chosen))
    folder = new_folder(plan, changed)
    from longtake.engine.fit import Interrupted  # Lightning: what is wrong is said without it

    try:
        trained_in(plan, clips, folder, changed)
    except Interrupted as stop:
        raise KeyboardInterrupt(
            f"{signal.Signals(stop.args[0]).name}; the encoder so far: {folder / ENCODER}"
        ) from None
    return Pretrained(load_encoder(folder / ENCODER), folder / ENCODER)


def _picked(
    method: str | type[Method],
    source: Files | Source,
    backbone: str | Mapping[str, Any] | None,
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """What a budget adds. Raises `ValueError` for a method or a backbone that no word stands for."""
    if not isinstance(method, str) or isinstance(backbone, Mapping):
        raise ValueError("budget: expected a method and a backbone by their names; give frames or epochs for others")
    keys = {} if _is_word(source) else _keys_of_source(source)
    words = [f"method={method}", f"pretrain={keys.get('source', source)}", "eval=[]"]
    words += [] if backbone is None else [f"backbone={backbone}"]
    own = {key: value for key, value in keys.items() if key not in ("source", "name") and value is not None}
    words += [word_of(f"pretrain.{key}", value) for key, value in own.items()]
    found = (word.split("=") for word in picks([*words, *(word_of(key, value) for key, value in given.items())]))
    return {key: int(value) if value.isdigit() else value for key, value in found}


def _words(method: str | type[Method], source: Files | Source, backbone: str | Mapping[str, Any] | None) -> list[str]:
    """What of these arguments a command line could say; `none` and `video` stand for what it could not."""
    words = [f"method={_word('method', method) if isinstance(method, str) else 'none'}"]
    words += [f"pretrain={source if _is_word(source) else 'video'}"]
    return [*words, f"backbone={_word('backbone', backbone)}"] if isinstance(backbone, str) else words


def _is_word(source: Files | Source) -> bool:
    return isinstance(source, str) and source in choices("pretrain")


def _composed(
    words: list[str],
    method: str | type[Method],
    source: Files | Source,
    backbone: str | Mapping[str, Any] | None,
) -> DictConfig:
    """The configuration of the words, and in it what is no word."""
    config = composed(words)
    OmegaConf.set_struct(config, False)
    if not isinstance(method, str):
        config.method = {"name": method.name, "num_frames": 1}
    if not _is_word(source):
        config.pretrain = _keys_of_source(source)
    if isinstance(backbone, Mapping):
        named = {"name": f"vit_{backbone.get('arch', 'small')}_{backbone.get('patch_size', 16)}", "image_size": 224}
        config.backbone = {**named, **backbone}
    return config


def _word(group: str, name: str) -> str:
    """The name. Raises `ValueError`, with the nearest right one, where no yaml has it."""
    if name not in choices(group):
        raise ValueError(unknown(group, name, choices(group)))
    return name


def _keys_of_source(source: Files | Source) -> dict[str, Any]:
    """A source as its yaml would have it."""
    if isinstance(source, Source):
        word = next((name for name in SOURCES.all_names() if SOURCES[name] is type(source)), None)
        if word is None:
            kind = type(source).__name__
            raise ValueError(f"source: {kind} has no name; expected class {kind}(Source, name=...)")
        return {"source": word, **{field.name: plain_value(getattr(source, field.name)) for field in fields(source)}}
    paths = [str(source)] if isinstance(source, str | Path) else [str(path) for path in source]
    return {"source": "video", "name": "video", "path": paths[0] if len(paths) == 1 else paths}


def keys_of(views: MultiCrop) -> dict[str, Any]:
    """Views as a method's yaml would have them: what is not by default."""
    kinds = {"globals": views.globals, "locals": views.locals}
    found: dict[str, Any] = {kind: [_changed(crop) for crop in crops] for kind, crops in kinds.items()}
    return {**found, "precrop": None if views.precrop is None else _changed(views.precrop)}


def _changed(crop: Crop | Precrop) -> dict[str, Any]:
    values = {field.name: (getattr(crop, field.name), field.default) for field in fields(crop)}
    return {name: plain_value(value) for name, (value, default) in values.items() if value != default}


def evaluate(encoder: nn.Module, evaluation: str | Downstream, folder: str | Path, **settings: Any) -> dict[str, float]:
    """The metrics of an evaluation, in per cent; what it keeps, every item's outcome at least, goes into `folder`.

    `evaluation` is a word of `eval=` whose yaml `settings` change ("knn_imagenet1k", root="pictures"), or an evaluation. The
    encoder is whatever has what `longtake.Encoder` lists. Processes of a script that `torchrun` has started share the work.

    Raises `ValueError` for an encoder that has not, or whose numbers are not finite, for settings that are wrong and for data that
    are missing.
    """
    if lacks := [name for name in ("embed_dim", "patch_size", "depth", "intermediate") if not hasattr(encoder, name)]:
        raise ValueError(
            f"encoder: {type(encoder).__name__} has no {', '.join(lacks)}, expected what longtake.Encoder lists"
        )
    assert isinstance(encoder, Encoder)
    task = evaluation if isinstance(evaluation, Downstream) else _built(evaluation, settings)
    if missing := task.check():
        raise ValueError(" ".join(missing))
    task.check_encoder(encoder)
    if task.shared:
        join()
    check_weights(encoder.state_dict(), "encoder")
    return task.evaluate(encoder, Path(folder))


def _built(name: str, settings: Mapping[str, Any]) -> Downstream:
    config = composed([f"eval=[{_word('eval', name)}]"])
    for key, value in settings.items():
        OmegaConf.update(config, f"eval.{name}.{key}", plain_value(value), merge=False, force_add=True)
    checked = plain(config)
    resolve_machine(checked)
    return build_evaluation(checked["eval"][name])
