"""The plan of a run, worked out and checked before anything is computed."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from longtake.backbones.vit import ViT
from longtake.datasets.content import Content
from longtake.datasets.sources.base import Source, build_source
from longtake.datasets.views import Crop, MultiCrop, Precrop
from longtake.downstream.base import DOWNSTREAM, Downstream
from longtake.engine.config import NOT_ARGUMENTS
from longtake.engine.devices import num_processes
from longtake.engine.encoders import check_header, open_checkpoint
from longtake.engine.identity import Config
from longtake.engine.keys import check_views
from longtake.engine.lightning_parts import check_parts
from longtake.engine.machine import resolve_machine, writable
from longtake.engine.resuming import resumed_run
from longtake.engine.workers import check_room, check_room_of
from longtake.methods.base import METHODS, Batch, Duration, Method


@dataclass(frozen=True)
class Plan:
    """A checked configuration: what is trained on what, and how it is judged."""

    config: Config
    source: Source | None  # None: nothing is trained
    data: str  # the source in words
    duration: Duration | None  # about, until the frame store is there
    evaluations: dict[str, Downstream]
    missing: dict[str, list[str]]  # evaluations that cannot run: what is missing and how to get it
    resumed: Path | None  # the run folder to go on in

    @property
    def runnable(self) -> dict[str, Downstream]:
        return {name: task for name, task in self.evaluations.items() if name not in self.missing}

    @cached_property
    def learnt_from(self) -> str:
        """The source's title; "" where nothing is trained."""
        return "" if self.source is None else self.source.title

    @cached_property
    def contents(self) -> dict[str, Content | None]:
        """What is in the data of the evaluations that can run."""
        return {name: task.data() for name, task in self.runnable.items()}


def make_plan(config: Config) -> Plan:
    """Check everything that can be checked without computing. Raises `ValueError` for whatever is wrong."""
    resolve_machine(config)
    check_parts(config["trainer"])
    writable(Path(config["output"]))
    evaluations = {name: build_evaluation(keys) for name, keys in config["eval"].items()}
    missing = {name: lacks for name, task in evaluations.items() if (lacks := task.check())}
    source, data, duration = None, "", None
    if config["label"] is not None and config["checkpoint"] is None:
        raise ValueError(f"label={config['label']}: it names the encoder of a file; give checkpoint=FILE")
    if config["checkpoint"] is not None:
        encoder, header, _ = open_checkpoint(config)
        check_header(header, config["checkpoint"])
    else:
        with torch.device("meta"):
            encoder = build_backbone(config)
    if config["checkpoint"] is None and config["method"]["name"] != "none":
        source = build_source(config["pretrain"])
        data = source.check(config["method"]["num_frames"])
        duration = duration_of(config, source.clips_per_epoch or source.stored_frames())
        views = build_views(config)
        with torch.device("meta"):
            build_method(config, duration).check_batch(batch_of(config, views))
        if config["trainer"]["augment"] == "worker":  # else it depends on the frames: `pretraining.open_clips`
            check_room(config, views, duration.num_steps)
    check_tasks({name: task for name, task in evaluations.items() if name not in missing}, encoder, config)
    if source is None and len(missing) == len(evaluations):
        reasons = "; ".join(f"{name}: {' '.join(lacks)}" for name, lacks in missing.items())
        raise ValueError(f"nothing to do: {reasons or 'no evaluation was asked for'}")
    return Plan(
        config, source, data, duration, evaluations, missing, resumed_run(config, source.title if source else "")
    )


def check_tasks(tasks: Mapping[str, Downstream], encoder: ViT, config: Config) -> None:
    """Raise `ValueError` for an evaluation that cannot work with the encoder or with as many processes as there will be."""
    count = num_processes(config)
    for name, task in tasks.items():
        try:
            task.check_encoder(encoder)
            if task.shared:
                task.check_processes(count)
        except ValueError as error:
            raise ValueError(f"eval.{name}: {error}") from error
        check_room_of(name, task)


def duration_of(config: Config, clips_per_epoch: int) -> Duration:
    """Epochs in steps of whole batches."""
    epochs, batch = config["epochs"], config["batch_size"]
    world_size = num_processes(config)
    if epochs < 1 or batch < 1 or batch % world_size:
        raise ValueError(
            f"epochs={epochs} batch_size={batch}: expected at least 1, the batch divisible by {world_size} device(s)"
        )
    if clips_per_epoch < batch:
        raise ValueError(
            f"batch_size={batch} is larger than an epoch of {clips_per_epoch} clips; "
            "use a smaller batch_size, a longer video, or repeat clips with pretrain.clips_per_epoch"
        )
    return Duration(epochs, clips_per_epoch // batch, batch)


def build_backbone(config: Config) -> ViT:
    """The encoder, initialised from the seed."""
    torch.manual_seed(config["seed"])
    return ViT(**{key: value for key, value in config["backbone"].items() if key != "name"})


def build_views(config: Config) -> MultiCrop:
    """The method's views. Raises `ValueError` for a key they do not have, and when a size does not fit the patch."""
    if "views" not in config["method"]:
        raise ValueError(f"method.views: method {config['method']['name']} has no yaml that gives them; give views")
    views, patch = config["method"]["views"], config["backbone"]["patch_size"]
    check_views(views)
    for crop in (*views["globals"], *views["locals"]):
        if crop["size"] % patch:
            raise ValueError(f"method.views: image size {crop['size']} is not divisible by the patch size {patch}")
    first, rest = ([Crop(**_tuples(crop)) for crop in views[kind]] for kind in ("globals", "locals"))
    precrop = views.get("precrop") or {}
    return MultiCrop(first, rest, Precrop(**_tuples(precrop)) if precrop else None)


def batch_of(config: Config, views: MultiCrop) -> Batch:
    """Return the batch that a step brings to the method."""
    num_globals, num_locals = (sum(crop.num for crop in crops) for crops in (views.globals, views.locals))
    return Batch(config["batch_size"], config["method"]["num_frames"], num_globals, num_locals)


def build_method(config: Config, duration: Duration) -> Method:
    """The method with its arguments."""
    arguments = {key: value for key, value in config["method"].items() if key not in NOT_ARGUMENTS}
    return METHODS[config["method"]["name"]](build_backbone(config), duration, seed=config["seed"], **arguments)


def build_evaluation(keys: Mapping[str, Any]) -> Downstream:
    """An evaluation from its yaml: `task` names the class, the rest are its fields."""
    cls = DOWNSTREAM[keys["task"]]
    arguments: dict[str, Any] = {key: value for key, value in keys.items() if key != "task"}
    for field in fields(cls):
        if str(field.type).startswith("tuple") and field.name in arguments:  # a yaml has lists alone
            arguments[field.name] = tuple(arguments[field.name])
    return cls(**arguments)


def _tuples(keys: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in keys.items()}
