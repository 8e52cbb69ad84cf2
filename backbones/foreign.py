"""Encoders that other codes have saved: their key styles recognised, every tensor accounted for.

Read are `.pth`, `.pt`, `.ckpt`, `.bin` (tensors and `argparse.Namespace` only: a pickle that would run code is refused) and
`.safetensors`, as written by DINO, iBOT, AttMask and DoRA (`teacher` and `student` side by side), iBOT's extracted backbones,
solo-learn, lightly, timm, torchvision, mmpretrain and mmsegmentation. A tensor of the backbone that is missing, has another
shape, or that this ViT would not use (registers, layer scale, ...) is an error.
"""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch
from safetensors.torch import load_file
from torch import Tensor

from longtake.backbones.vit import SIZES, PosMode, ViT
from longtake.backbones.weights import fill

# Where in a file the tensors lie, the evaluated copy first: teachers, then whatever there is.
CONTAINERS = ("teacher", "model_ema", "state_dict_ema", "state_dict", "model", "student", "module")
# Prefixes of the evaluated copy, in the order of preference (solo-learn and lightly keep a momentum copy beside the student).
PREFERRED = ("teacher", "momentum", "ema")
# What a backbone may have beside its own tensors: mask tokens of pretraining, classifiers.
UNUSED = re.compile(r"^(mask_token|masked_embed|head|heads|fc|classifier|head_drop)(\.|$)")

# Names of mmpretrain, mmsegmentation and torchvision, rewritten to timm's.
RENAMED = (
    (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
    (r"^encoder\.ln\.", "norm."),
    (r"^encoder\.pos_embedding$", "pos_embed"),
    (r"^class_token$", "cls_token"),
    (r"^conv_proj\.", "patch_embed.proj."),
    (r"^layers\.(\d+)\.", r"blocks.\1."),
    (r"^patch_embed\.projection\.", "patch_embed.proj."),
    (r"^ln1\.", "norm."),
    (r"\.ln_?([12])\.", r".norm\1."),
    (r"\.ffn\.layers\.0\.0\.", ".mlp.fc1."),
    (r"\.ffn\.layers\.1\.", ".mlp.fc2."),
    (r"\.mlp\.linear_1\.", ".mlp.fc1."),
    (r"\.mlp\.linear_2\.", ".mlp.fc2."),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.3\.", ".mlp.fc2."),
    (r"\.(?:attn\.attn|self_attention)\.in_proj_", ".attn.qkv."),
    (r"\.(?:attn\.attn|self_attention)\.out_proj\.", ".attn.proj."),
)
# How each code interpolates its table of positions (modes of backbones/vit.py): the same weights get the same mode, alone or in a
# training's checkpoint.
POSITIONS: dict[str, PosMode] = {
    "DINO, iBOT, AttMask and DoRA": "dino_offset",  # vision_transformer.py, interpolate_pos_encoding
    "MAE": "size",  # util/pos_embed.py, interpolate_pos_embed
    "timm": "antialias",  # layers/pos_embed.py, resample_abs_pos_embed
    "torchvision": "align_corners",  # models/vision_transformer.py, interpolate_embeddings
    "mmpretrain": "size",  # models/utils/embed.py, resize_pos_embed
    "mmsegmentation": "size",  # models/backbones/vit.py, resize_pos_embed
}
# What torch.compile, FSDP and activation checkpointing put between names.
WRAPPED = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
PATCHES = re.compile(r"^(.*?)(patch_embed\.proj|patch_embed\.projection|conv_proj)\.weight$")


class Loaded(NamedTuple):
    """An encoder from elsewhere, and a line on how it was read."""

    encoder: ViT
    report: str


def load_foreign(path: Path, key: str | None = None, pos_mode: str | None = None) -> Loaded:
    """The encoder in a file of another code, in evaluation mode.

    `key` names the entry to read (`teacher`, `student`, ...); None takes the evaluated copy. `pos_mode` None is that of the code
    that wrote it (`_code`); the report says which. Raises `ValueError` with what is missing, does not fit, is not finite, or would
    be ignored.
    """
    container, tensors = _container(path, read_tensors(path), key)
    prefix, tensors = _backbone(path, tensors, key)
    style, tensors = _timm_names(tensors)
    code, mode = _code(container, prefix, style, tensors)
    encoder = _encoder_for(path, tensors, pos_mode or mode)
    wanted = {name for name in encoder.state_dict() if name != "mask_token"}
    unused = sorted(name for name in tensors if name not in wanted)
    if missing := sorted(wanted - tensors.keys()):
        raise ValueError(
            f"checkpoint {path}: {len(missing)} tensors of the backbone are missing: {', '.join(missing[:4])}"
        )
    if strange := [name for name in unused if not UNUSED.match(name)]:
        raise ValueError(
            f"checkpoint {path}: {len(strange)} tensors would be ignored, so that this is another architecture: "
            f"{', '.join(strange[:4])}"
        )
    fill(encoder, {name: tensors[name] for name in wanted}, path)
    place = " ".join(part for part in (container, prefix.strip(".")) if part) or "the file's top"
    ignored = (
        f", {len(unused)} beside it left out ({', '.join(sorted({u.split('.')[0] for u in unused}))})" if unused else ""
    )
    report = f"{path.name}: {len(wanted)} of {len(wanted)} tensors from {place}, names of {style}{ignored}"
    why = (
        "as asked for"
        if pos_mode
        else f"as in {code}; another code's: checkpoint_pos_mode={' or '.join(_others(mode))}"
    )
    shape = f"{encoder.arch}/{encoder.patch_size}"
    return Loaded(encoder.eval(), f"{report}; {shape}, positions by {encoder.pos_mode} ({why})")


def read_tensors(path: Path) -> Mapping[Any, Any]:
    """Read the tensors of a file. Raises `ValueError` for a file that is missing or broken, or a pickle with other things in it."""
    if not path.is_file():
        raise ValueError(f"checkpoint {path}: there is no such file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle's, zip's, torch's: it depends on which byte is wrong
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"checkpoint {path}: cannot be read safely ({reason[:200]}); save its state_dict alone, as tensors"
        ) from error
    if not isinstance(content, Mapping):
        raise ValueError(f"checkpoint {path}: got a {type(content).__name__}, expected a dictionary of tensors")
    return content


def _container(path: Path, content: Mapping[Any, Any], key: str | None) -> tuple[str, dict[str, Tensor]]:
    """Find the entry that holds the tensors, and return both; the tensors may also lie at the file's top level."""
    entries = {name: value for name, value in content.items() if isinstance(value, Mapping)}
    holding = [name for name in entries if any(isinstance(v, Tensor) for v in entries[name].values())]
    if key is not None and key in holding:
        return key, _tensors(entries[key])
    direct = _tensors(content)
    if direct:
        return "", direct
    name = next((name for name in CONTAINERS if name in holding), None)
    if name is None or (key is not None and not any(key in n for n in _tensors(entries[name]))):
        there = ", ".join(sorted(map(str, content))) or "none"
        raise ValueError(f"checkpoint {path}: no tensors under {key or ' or '.join(CONTAINERS)}; there are: {there}")
    return name, _tensors(entries[name])


def _tensors(entries: Mapping[Any, Any]) -> dict[str, Tensor]:
    found = {name: value for name, value in entries.items() if isinstance(name, str) and isinstance(value, Tensor)}
    return {WRAPPED.sub("", name): value for name, value in found.items()}


def _backbone(path: Path, tensors: dict[str, Tensor], key: str | None) -> tuple[str, dict[str, Tensor]]:
    """The tensors of the one ViT that is meant, without what stands before their names."""
    prefixes = sorted({match.group(1) for name in tensors if (match := PATCHES.match(name))})
    if not prefixes:
        raise ValueError(
            f"checkpoint {path}: no ViT in it (no patch_embed.proj.weight); there are: {', '.join(sorted(tensors)[:4])}, ..."
        )
    words = (key,) if key else PREFERRED
    named = [prefix for prefix in prefixes if any(word in prefix for word in words)]
    prefix = min(named or prefixes, key=len)
    return prefix, {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _timm_names(tensors: dict[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    style = "timm"
    if any(name.startswith("encoder.layers.") for name in tensors):
        style = "torchvision"
    elif any(name.startswith("layers.") for name in tensors):
        style = "mmsegmentation" if any(".attn.attn." in name for name in tensors) else "mmpretrain"
    if style == "timm":
        return style, tensors
    renamed = {}
    for name, value in tensors.items():
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    return style, renamed


def _code(container: str, prefix: str, style: str, tensors: Mapping[str, Tensor]) -> tuple[str, PosMode]:
    """Which code a file is of, as far as its style tells, and how that code interpolates positions.

    timm's names without a classifier are those of backbones that DINO, iBOT, AttMask and DoRA have saved, alone or in a training's
    checkpoint; MAE's lie under `model`. What keeps them under other prefixes (solo-learn, lightly, MoCo v3) builds on timm's ViT.
    """
    code = style
    if style == "timm" and not any(name in tensors for name in ("head.weight", "fc.weight", "classifier.weight")):
        around = {"module", "backbone", "teacher", "student"} if container == "" else {"module"}
        plain = container in ("", "state_dict") and set(prefix.split(".")[:-1]) <= around
        if plain or container in ("teacher", "student"):
            code = "DINO, iBOT, AttMask and DoRA"
        elif container == "model":
            code = "MAE"
    return code, POSITIONS[code]


def _others(mode: PosMode) -> list[str]:
    return [each for each in get_args(PosMode) if each != mode]


def _encoder_for(path: Path, tensors: Mapping[str, Tensor], pos_mode: str) -> ViT:
    """An encoder of the shape that the tensors have."""
    if "pos_embed" not in tensors or "patch_embed.proj.weight" not in tensors:
        raise ValueError(f"checkpoint {path}: its position table or patch embedding is missing")
    shape, table = tensors["patch_embed.proj.weight"].shape, tensors["pos_embed"].shape
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
        raise ValueError(
            f"checkpoint {path}: a patch embedding of {list(shape)}, expected [width, 3 colours, side, side]"
        )
    if len(table) != 3 or table[1] < 2:
        raise ValueError(f"checkpoint {path}: a position table of {list(table)}, expected [1, 1 + patches, width]")
    width, patch = shape[0], shape[2]
    blocks = {int(match.group(1)) for name in tensors if (match := re.match(r"blocks\.(\d+)\.", name))}
    depth, positions = len(blocks), table[1] - 1
    arch = next((name for name, size in SIZES.items() if size[:2] == (width, depth)), None)
    side = round(positions**0.5)
    if arch is None:
        known = ", ".join(f"{name} ({w} x {d})" for name, (w, d, _) in SIZES.items())
        raise ValueError(f"checkpoint {path}: a ViT of width {width} and {depth} blocks; there are: {known}")
    if side * side != positions:
        raise ValueError(f"checkpoint {path}: {positions} positions are no square grid")
    return ViT(arch, patch, side * patch, pos_mode=pos_mode)  # type: ignore[arg-type]
