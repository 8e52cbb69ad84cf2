"""`run task=visualize checkpoint=... pretrain=...`: what an encoder attends to and tracks in a few clips; pictures and numbers.

For every clip: `<clip>_tracks.png` (frames, maps T of equation 3 and T' of equation 6, and the masked frames that DoRA's student
would see), `<clip>_heads.png` (the class token's attention in each head), `<clip>.gif`; and `numbers.csv` for all of them.
"""

import csv
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from longtake.backbones.vit import Tokens, ViT, cls_attention
from longtake.console import console
from longtake.datasets.clips import Clips
from longtake.datasets.pictures import normalize
from longtake.datasets.sources.base import Truth, build_source
from longtake.engine.encoders import open_checkpoint
from longtake.engine.folders import in_file_name, new_folder_in
from longtake.engine.identity import Config
from longtake.engine.plan import build_backbone
from longtake.methods.tracking import Tracker, masked_frames, weights_of
from longtake.tasks.visualize.pictures import animation, overlay, strip
from longtake.tasks.visualize.tracks import InstanceBoxes, against_truth, resized, sharpness_of_maps


def visualize(config: Config) -> Path:
    """Draw `visualize.num_clips` clips; returns the folder. Raises `ValueError` for what cannot be loaded or drawn."""
    options = config["visualize"]
    encoder, name = subject(config)
    source = build_source(config["pretrain"])
    source.check(options["num_frames"])
    clips = Clips(source.open(), options["num_frames"], source.stride_seconds, seed=config["seed"])
    tracker = tracker_of(config["method"], options["num_objects"], encoder)
    truth = source.truth()
    folder = new_folder_in(Path(config["output"]), f"visualize_{in_file_name(source.name)}")
    rows = []
    for number in range(options["num_clips"]):
        clip = clips[number]
        start = clips.epoch_starts(0)[number]
        frames = resized(clip.frames, options["short_side"] or encoder.image_size, encoder.patch_size)
        boxes = None if truth is None else [boxes_at(truth, clips, int(i)) for i in clips.frames_of(start)]
        title = f"{name}, {source.label}, from {clips.store.seconds[start]:.1f} s"
        torch.manual_seed(config["seed"])
        rows.append(
            {"clip": number, **draw(encoder, frames, tracker, config["method"], boxes, folder / f"clip{number}", title)}
        )
    write_numbers(rows, folder)
    return folder


def subject(config: Config) -> tuple[ViT, str]:
    """The encoder of `checkpoint`, or the backbone at random."""
    if config["checkpoint"] is None:
        return build_backbone(config).eval(), "random init"
    encoder, header, _ = open_checkpoint(config)
    method, pretrain, epochs = (header.get(key) or "unknown" for key in ("method", "pretrain", "epochs"))
    return encoder, f"{method} on {pretrain}, {epochs} epochs"


def tracker_of(method: Mapping[str, Any], num_objects: int, encoder: ViT) -> Tracker:
    """DoRA's switches where the method is DoRA, the paper's otherwise."""
    if num_objects > encoder.last_heads:
        raise ValueError(
            f"visualize.num_objects={num_objects}: the encoder has {encoder.last_heads} heads, one for each object"
        )
    switches = {field.name: method[field.name] for field in fields(Tracker) if field.name in method}
    return Tracker(**{**switches, "num_objects": num_objects})


@torch.no_grad()
def draw(
    encoder: ViT,
    frames: torch.Tensor,
    tracker: Tracker,
    method: Mapping[str, Any],
    boxes: list[InstanceBoxes] | None,
    path: Path,
    title: str,
) -> dict[str, float]:
    """The pictures of one clip; returns its numbers, those of T with a `plain_` before them."""
    t, grid = len(frames), encoder.grid_of(frames)
    images = normalize(frames)
    tokens: Tokens = encoder(images)
    state = torch.get_rng_state()
    refined = tracker(tokens, t, grid)[0]  # (t, k, n)
    torch.set_rng_state(state)  # the same heads
    plain = replace(tracker, sinkhorn=False)(tokens, t, grid)[0]
    weights = weights_of(refined[None], method.get("mask_kind", "soft"), method.get("mask_norm", "max"))
    masked = masked_frames(frames[None], weights, grid, method.get("mask_upsampling", "bilinear"))[:, 0]
    overlays = {"T (eq. 3)": overlay(frames, plain, grid), "T' (eq. 6)": overlay(frames, refined, grid)}
    seen = {f"student's view of object {i + 1}": view for i, view in enumerate(masked)}
    strip({"frames": frames, **overlays, **seen}, path.with_name(f"{path.name}_tracks.png"), title)
    attention = cls_attention(tokens.q, tokens.k)  # (t, h, n)
    heads = {f"head {i + 1}": overlay(frames, attention[:, [i]], grid) for i in range(attention.shape[1])}
    strip(
        {"frames": frames, **heads}, path.with_name(f"{path.name}_heads.png"), f"{title}: attention of the class token"
    )
    animation({"frames": frames, **overlays}, path.with_suffix(".gif"))
    numbers: dict[str, float] = {}
    for prefix, maps in (("plain_", plain), ("", refined)):
        found = sharpness_of_maps(maps) | ({} if boxes is None else against_truth(maps, boxes, grid))
        numbers |= {prefix + key: value for key, value in found.items()}
    return numbers


def boxes_at(truth: Truth, clips: Clips, frame: int) -> InstanceBoxes:
    """The visible instances of a stored frame."""
    rows = truth.frame == round(float(clips.store.seconds[frame]) * truth.fps)
    return {int(i): tuple(map(float, box)) for i, box in zip(truth.instance[rows], truth.box[rows], strict=True)}  # type: ignore[misc]


def write_numbers(rows: list[dict[str, float]], folder: Path) -> None:
    """`numbers.csv`, and the mean over clips on the console."""
    with (folder / "numbers.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    table = Table("mean of the clips", "T (eq. 3)", "T' (eq. 6)", box=None)
    for key in [key for key in rows[0] if f"plain_{key}" in rows[0]]:
        table.add_row(key, *(f"{sum(row[name] for row in rows) / len(rows):.3f}" for name in (f"plain_{key}", key)))
    console.print(table)
    console.print(f"pictures: {folder}", soft_wrap=True)
