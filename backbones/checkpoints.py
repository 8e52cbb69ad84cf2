"""`checkpoint=FILE`: an encoder of ours, or of another code, with what is known about it."""

import re
from pathlib import Path
from typing import Any

from longtake.backbones.foreign import load_foreign
from longtake.backbones.vit import ViT
from longtake.backbones.weights import is_ours, load_encoder, read_header, weights_hash

FOREIGN = "foreign"  # instead of a hash of the code that trained an encoder


def open_encoder(
    path: str | Path, key: str | None = None, pos_mode: str | None = None
) -> tuple[ViT, dict[str, Any], str]:
    """The encoder, its header and a line on how it was read; the header's fields are those of a leaderboard row.

    `key` (teacher, student, ...) and `pos_mode` are for files of other codes, see `foreign.load_foreign`. Raises `ValueError`
    for whatever cannot be read whole.
    """
    path = Path(path)
    if is_ours(path):
        if key is not None:
            raise ValueError(
                f"checkpoint {path}: checkpoint_key={key} is for files of other codes; this one has one encoder"
            )
        encoder = load_encoder(path)
        if pos_mode is not None:
            encoder.pos_mode = pos_mode  # type: ignore[assignment]  # checked when it is used
        return encoder, read_header(path)[1], f"{path.name}: an encoder of longtake"
    encoder, report = load_foreign(path, key, pos_mode)
    header = {
        "method": name_of(path),
        "variant": " ".join([weights_hash(encoder)[:8], *([f"key={key}"] if key else [])]),
        "pretrain": "unknown",
        "backbone": f"vit_{encoder.arch}_{encoder.patch_size}",
        "epochs": None,
        "seed": None,
        "config_hash": "",
        "code_hash": FOREIGN,
        "frames_seen": None,
        "hours": None,
        "peak_memory_gb": None,
        "device": "",
    }
    return encoder, header, report


def name_of(path: Path) -> str:
    """What the rows of another code's file are called. Files of one name are told apart by the hash of their weights, beside it."""
    return re.sub(r"[^\w.+-]+", "-", path.stem)
