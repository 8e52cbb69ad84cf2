"""The training of a run: its clips, what is there already, how it is stopped, what its encoder says of itself."""

import os
from pathlib import Path
from typing import Any

from longtake.backbones.weights import read_header
from longtake.console import console
from longtake.datasets.clips import Clips
from longtake.engine.checkpoints import restore, saved_in
from longtake.engine.code_hash import UNKNOWN_TRAINING, training_hash
from longtake.engine.config import choices
from longtake.engine.folders import ENCODER
from longtake.engine.identity import config_hash
from longtake.engine.launch import INHERITED, launched, starting_others
from longtake.engine.lightning_parts import trainer_parts
from longtake.engine.plan import Plan, build_method, build_views, duration_of
from longtake.engine.processes import machines
from longtake.engine.signals import hand_on
from longtake.engine.trouble import trouble
from longtake.engine.workers import check_room, end_with_lost_batches
from longtake.parallel import agreed, is_first


def open_clips(plan: Plan) -> Clips | None:
    """The clips to train on, decoded or rendered where they are not there yet. Raises `ValueError` for data of no use."""
    if plan.source is None:
        return None
    views = build_views(plan.config)
    clips = Clips(
        plan.source.open(),
        num_frames=plan.config["method"]["num_frames"],
        stride_seconds=plan.source.stride_seconds,
        clips_per_epoch=plan.source.clips_per_epoch,
        seed=plan.config["seed"],
        views=views,
        late_views=plan.config["trainer"]["augment"] == "device",
        cross_cuts=plan.source.cross_cuts,
        skip_short=plan.source.collection,
        min_gap_seconds=plan.source.min_gap_seconds,
        batch_size=plan.config["batch_size"],
    )
    if clips.late_views:
        steps = duration_of(plan.config, clips.clips_per_epoch).num_steps
        check_room(plan.config, views, steps, clips.store.read([0]).shape[1:])
    return clips


def train(plan: Plan, clips: Clips, folder: Path, changed: str) -> None:
    """Pretrain to the end, unless that is done; a signal ends the program in order and says how to go on."""
    duration = duration_of(plan.config, clips.clips_per_epoch)
    if steps_of(folder / ENCODER) == duration.num_steps:
        console.print(f"pretrained already: {folder / ENCODER}", soft_wrap=True)
        return
    if launched() is not None:
        devices, nodes = machines()
        plan.config["trainer"].update(devices=devices, num_nodes=nodes)
    if plan.resumed and is_first() and INHERITED not in os.environ:
        restore(folder)
    agreed(None)
    from longtake.engine.fit import Interrupted  # Lightning, which no plan needs, takes seconds to import
    from longtake.engine.progress import draw_curves, health_line

    try:
        with starting_others(folder):
            pretrain(plan, clips, folder, changed)
    except Interrupted as stop:
        console.print(
            f"\nstopped in order; nothing is lost: {folder}\nto go on, give the same command with resume=true"
        )
        hand_on(stop.args[0])
        raise SystemExit(128 + stop.args[0]) from None
    except FloatingPointError as error:
        raise SystemExit(f"error: {str(error).rstrip('.')}; {saved_in(folder)}") from error
    except Exception as error:
        if line := trouble(error):
            raise SystemExit(f"error: {line}; {saved_in(folder)}") from error
        raise
    draw_curves(folder)
    console.print(health_line(folder), soft_wrap=True)


def steps_of(encoder: Path) -> int | None:
    """The steps that an encoder file has seen; None where there is none, or a damaged one, which is said."""
    if not encoder.is_file():
        return None
    try:
        return read_header(encoder)[1].get("steps")
    except ValueError as error:
        console.print(f"{error}: the training writes it anew", soft_wrap=True)
        return None


def pretrain(plan: Plan, clips: Clips, folder: Path, changed: str) -> None:
    """Train what the plan says into `folder`. Raises what `fit` raises."""
    from longtake.engine.fit import fit

    end_with_lost_batches()
    config = plan.config
    duration = duration_of(config, clips.clips_per_epoch)
    with trainer_parts(config, folder) as parts:
        fit(build_method(config, duration), clips, folder, identity_of(plan, changed), config, **parts)


def identity_of(plan: Plan, changed: str) -> dict[str, Any]:
    """What a row's key and its provenance say of a training; a method without a yaml has no recipe that a hash could cover."""
    config = plan.config
    assert plan.source is not None
    method, label, backbone = config["method"]["name"], plan.source.title, config["backbone"]["name"]
    return {
        "method": method,
        "variant": changed,
        "pretrain": label,
        "backbone": backbone,
        "epochs": config["epochs"],
        "seed": config["seed"],
        "config_hash": config_hash(config),
        "code_hash": training_hash(method, label, backbone, changed)
        if method in choices("method")
        else UNKNOWN_TRAINING,
    }
