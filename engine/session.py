"""One run, from a checked plan to rows: train or load an encoder, evaluate it and random init, say where everything is."""

import os
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from longtake.backbones.vit import ViT
from longtake.backbones.weights import architecture_of, is_ours, load_encoder, read_header, weights_hash
from longtake.console import console
from longtake.datasets.clips import Clips
from longtake.engine.code_hash import UNKNOWN_TRAINING, training_hash
from longtake.engine.devices import num_processes, per_machine
from longtake.engine.encoders import COST, ENCODER_FIELDS, open_checkpoint
from longtake.engine.folders import ENCODER, held, run_folder, run_name
from longtake.engine.identity import Config, config_hash, protocol_suffix, variant
from longtake.engine.launch import INHERITED, launched
from longtake.engine.plan import Plan, build_backbone
from longtake.engine.pretraining import train
from longtake.engine.processes import in_sight, leave_at_exit, shared
from longtake.engine.recipe import experiment
from longtake.engine.record import Leaderboard, evaluate, known, print_row
from longtake.engine.signals import spare_workers
from longtake.engine.sweep import in_sweep
from longtake.engine.workers import end_with_lost_batches
from longtake.leaderboards.schema import RANDOM_INIT, Key, Row
from longtake.parallel import agreed, collected, is_first


def start_others(plan: Plan) -> None:
    """Evaluations alone on several devices, or a sweep: this program again in as many processes (a training starts its own).

    Does not return when it does something. Raises `ValueError` for several machines, of which this is one, and for GPUs by number,
    which `torchrun` does not take.
    """
    trainer = plan.config["trainer"]
    if num_processes(plan.config) == 1 or launched() is not None or INHERITED in os.environ:
        return
    if trainer["num_nodes"] > 1:
        raise ValueError(
            f"trainer.num_nodes={trainer['num_nodes']}: only this machine was started; use launcher=slurm, srun or torchrun"
        )
    if plan.source is not None and not in_sweep():
        return  # Lightning starts them, and passes signals on
    if isinstance(trainer["devices"], list):
        raise ValueError(
            f"trainer.devices={trainer['devices']}: evaluations alone and sweeps take a number; CUDA_VISIBLE_DEVICES picks GPUs"
        )
    count = str(per_machine(plan.config))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", count, "-m", "longtake.run"]
    os.execv(sys.executable, [sys.executable, *launcher, *sys.argv[1:]])


def run(plan: Plan, recipe: Config, clips: Clips | None) -> Path:
    """Do what the plan says; returns the run's folder. `recipe` is the same choice of method, data and tasks with no value changed.

    Several processes (those of a training, or of `torchrun`) share the evaluations that can be shared; the first one does the
    others and adds the rows.
    """
    spare_workers()
    end_with_lost_batches()
    changed = "" if clips is None else variant(plan.config, recipe)
    folder = agreed(new_folder(plan, changed) if is_first() else None)
    shared(folder)
    with held(folder) if is_first() and INHERITED not in os.environ else nullcontext():
        try:
            train_and_evaluate(plan, recipe, clips, folder, changed)
        except ValueError as error:
            error.computed = True  # type: ignore[attr-defined]  # exit code 1, not 2
            raise
        collected([None])  # nobody leaves while another one still speaks to it
        leave_at_exit()
    return folder


def train_and_evaluate(plan: Plan, recipe: Config, clips: Clips | None, folder: Path, changed: str) -> None:
    """Do it in the run's folder."""
    if clips is not None:
        train(plan, clips, folder, changed)
        agreed(None)  # the first process has written the encoder
        in_sight(folder / ENCODER)
    resumed = agreed(plan.resumed) is not None  # by now the processes have met that Lightning has started, too
    boards = Path(plan.config["output"]) / "leaderboards"
    encoder, header = subject(plan, folder)
    for name, task in plan.runnable.items():
        if not (is_first() or task.shared):
            continue
        console.rule(name, align="left")
        content = plan.contents[name]
        protocol = task.protocol + protocol_suffix(plan.config["eval"][name], recipe["eval"][name], content)
        board = Leaderboard(boards, name, task, protocol, content)
        row = done_before(board, encoder, header) if resumed else None
        row = row or add_row(board, encoder, header, folder / "eval" / name)
        baseline = None
        if plan.config["baseline"] and header["method"] != RANDOM_INIT:
            baseline = random_init_row(board, encoder, header, folder / "eval_random_init" / name)
        if row is not None:
            print_row(board, row, baseline)
    console.print(f"\nthis run: {folder}\nits rows: {boards}", soft_wrap=True)


def new_folder(plan: Plan, changed: str = "") -> Path:
    """The folder of this run, named by what is trained on what, or by what is evaluated; `changed` is the variant."""
    config, seed, label = plan.config, f"seed{plan.config['seed']}", plan.config["label"]
    if plan.source is not None:
        parts = [config["method"]["name"], plan.source.name, experiment(), seed]
    elif config["checkpoint"] is None:
        parts = [config["method"]["name"], "eval", seed]
    else:
        parts = ["eval", *([label] if label else named_by(Path(config["checkpoint"])))]
    return run_folder(config, run_name(parts, changed), plan.resumed, plan.learnt_from)


def named_by(checkpoint: Path) -> list[str]:
    """An encoder's method, data and seed where its file has them, else the file's name."""
    if not is_ours(checkpoint):
        return [checkpoint.stem]
    header = read_header(checkpoint)[1]
    return [str(header.get("method", "")), str(header.get("pretrain", "")), f"seed{header.get('seed')}"]


def subject(plan: Plan, folder: Path) -> tuple[ViT, dict[str, Any]]:
    """The encoder to evaluate and its header: the one just trained, the checkpoint, or random init."""
    if plan.source is None and plan.config["checkpoint"] is None:
        config = plan.config
        header = {"backbone": config["backbone"]["name"], "seed": config["seed"], "config_hash": config_hash(config)}
        return random_init(build_backbone(config), header)
    if plan.source is not None:
        return load_encoder(folder / ENCODER), read_header(folder / ENCODER)[1]
    encoder, header, how = open_checkpoint(plan.config)
    console.print(how, soft_wrap=True)
    return encoder, header


def random_init(encoder: ViT, header: Mapping[str, Any]) -> tuple[ViT, dict[str, Any]]:
    """The same architecture and seed before training: what every method has to beat."""
    seed = header["seed"] or 0  # another code's encoder has none that is known
    torch.manual_seed(seed)
    untrained = ViT(**architecture_of(encoder)).eval()
    cost = {"frames_seen": 0, "hours": 0.0, "peak_memory_gb": 0.0, "device": "none"}
    header = {**header, "code_hash": training_hash(RANDOM_INIT, "none", header["backbone"])}
    return untrained, {
        **header,
        "method": RANDOM_INIT,
        "variant": "",
        "pretrain": "none",
        "epochs": 0,
        "seed": seed,
        **cost,
    }


def add_row(board: Leaderboard, encoder: ViT, header: Mapping[str, Any], workdir: Path) -> Row | None:
    """Evaluate an encoder whose header says what it is. None in the processes that only help."""
    cost = {field: header[field] for field in COST}
    return evaluate(board, encoder, _key(header, board.protocol), cost, _trained_by(header), workdir)


def done_before(board: Leaderboard, encoder: ViT, header: Mapping[str, Any]) -> Row | None:
    """The row of exactly these weights, when the same code has added it: a continued run does not evaluate twice."""
    row = known(board, _key(header, board.protocol), _trained_by(header), weights_hash(encoder))
    return agreed(row) if board.task.shared else row


def random_init_row(board: Leaderboard, trained: ViT, header: Mapping[str, Any], workdir: Path) -> Row | None:
    """Random init of the encoder's architecture and seed, evaluated unless the same code has done it before."""
    encoder, header = random_init(trained, header)
    return done_before(board, encoder, header) or add_row(board, encoder, header, workdir)


def _key(header: Mapping[str, Any], protocol: str) -> Key:
    return Key(**{field: header[field] for field in ENCODER_FIELDS}, protocol=protocol, source="run")


def _trained_by(header: Mapping[str, Any]) -> str:
    return header.get("code_hash", UNKNOWN_TRAINING)
