"""Encoders on disk: safetensors with timm's ViT key names and, in the header, what is needed to rebuild and to trust them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from longtake.backbones.finite import check_weights
from longtake.backbones.vit import ViT
from longtake.files import whole

FORMAT = "longtake-encoder-1"


def architecture_of(encoder: ViT) -> dict[str, Any]:
    """The arguments of `ViT` that make an encoder of the same shape."""
    return {key: getattr(encoder, key) for key in ("arch", "patch_size", "image_size", "pos_mode", "last_heads")}


def save_encoder(encoder: ViT, path: str | Path, provenance: Mapping[str, object]) -> Path:
    """Write an encoder so that `load_encoder` and timm read it. The file appears whole or not at all."""
    path = Path(path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in encoder.state_dict().items()}
    tensors.pop("mask_token", None)  # pretraining's, not the encoder's
    header = {
        "format": FORMAT,
        "architecture": json.dumps(architecture_of(encoder)),
        "provenance": json.dumps(dict(provenance), default=str),
        "tensors": hash_of(tensors),
    }
    with whole(path) as part:  # safetensors' own files are for their owner alone
        part.write_bytes(save(tensors, metadata={**header, "header": sum_of(header)}))
    return path


def read_header(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Architecture and provenance of an encoder file. Raises `ValueError` for anything that is not one of ours."""
    if not path.is_file():
        raise ValueError(f"checkpoint {path}: there is no such file")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"checkpoint {path}: not a safetensors file ({error})") from error
    if header.get("format") != FORMAT:
        raise ValueError(
            f"checkpoint {path}: expected an encoder written by longtake ({FORMAT}), got {header.get('format', 'another header')}"
        )
    return parts_of(path, header)


def parts_of(path: Path, header: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Architecture and provenance in the header of a file of ours; an old one has no sum.

    Raises `ValueError` for a header that is not what was written.
    """
    if header.get("header") not in (None, sum_of(header)):
        raise damaged(path, "the header")
    try:
        architecture, provenance = json.loads(header["architecture"]), json.loads(header["provenance"])
    except (KeyError, ValueError, RecursionError) as error:
        raise damaged(path, "the header") from error
    if not (isinstance(architecture, dict) and isinstance(provenance, dict)):
        raise damaged(path, "the header")
    return architecture, provenance


def sum_of(header: Mapping[str, str]) -> str:
    """SHA-256 of everything else in a header, whatever its order."""
    others = sorted((key, value) for key, value in header.items() if key != "header")
    return hashlib.sha256(json.dumps(others).encode()).hexdigest()


def damaged(path: Path, what: str) -> ValueError:
    return ValueError(
        f"checkpoint {path}: damaged: {what} is not what was written; copy the file again, or train again"
    )


def is_ours(path: Path) -> bool:
    """Whether a file was written by `save_encoder`, in whatever state it is."""
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            return header.get("format") == FORMAT or not {"architecture", "provenance"}.isdisjoint(header)
    except SafetensorError:
        return False


def load_encoder(path: str | Path) -> ViT:
    """The encoder in a file of `save_encoder`, in evaluation mode; `ValueError` as `fill` raises it."""
    path = Path(path)
    architecture, _ = read_header(path)
    encoder = encoder_of(path, architecture)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        known = (file.metadata() or {}).get("tensors")
    fill(encoder, tensors, path)
    if known not in (None, hash_of(tensors)):  # an old file does not know it
        raise damaged(path, "a tensor")
    return encoder.eval()


def encoder_of(path: Path, architecture: Mapping[str, Any]) -> ViT:
    """A new encoder of the architecture in a header. Raises `ValueError` where that is none."""
    try:
        return ViT(**architecture)
    except (TypeError, ValueError, KeyError, ZeroDivisionError, RuntimeError) as error:
        raise ValueError(
            f"checkpoint {path}: no encoder has the architecture {dict(architecture)} ({error})"
        ) from error


def fill(encoder: ViT, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Give an encoder the tensors of a file, in the encoder's precision.

    Raises `ValueError` for one that is missing, does not fit, has no real numbers, or one that is not finite.
    """
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ValueError(f"checkpoint {path}: tensor {name} is of {kind}, expected floating-point numbers")
    try:
        encoder.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise ValueError(f"checkpoint {path}: {' '.join(str(error).split())}") from error
    check_weights(encoder.state_dict(), f"checkpoint {path}")


def hash_of(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of tensors: their names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def weights_hash(encoder: torch.nn.Module) -> str:
    """Sixteen hex digits of the SHA-256 of all tensors, names included: the same weights give the same hash, whatever the file."""
    digest = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
