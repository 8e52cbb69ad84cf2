"""`checkpoint=FILE label=NAME`: the encoder in a file, and what its rows are called."""

import re
from pathlib import Path
from typing import Any

from longtake.backbones.checkpoints import FOREIGN, open_encoder
from longtake.backbones.vit import ViT
from longtake.backbones.weights import weights_hash
from longtake.engine.identity import Config
from longtake.leaderboards.schema import INTEGERS, RANDOM_INIT, TEXTS, explained, text_of
from longtake.methods.base import METHODS

LABEL = re.compile(r"[A-Za-z][\w.+-]{0,63}", re.ASCII)
# Fields of a row's key and of its provenance that an encoder file carries in its header.
ENCODER_FIELDS = ("method", "variant", "pretrain", "backbone", "epochs", "seed")
COST = ("config_hash", "frames_seen", "hours", "peak_memory_gb", "device")
SEEDS = range(-(1 << 63), 1 << 64)  # torch.manual_seed's


def open_checkpoint(config: Config) -> tuple[ViT, dict[str, Any], str]:
    """The encoder of `checkpoint=`, the header that its rows are made of, and a line on how it was read.

    Raises `ValueError` for a file that cannot be read whole, and for a label that is no name of its own.
    """
    path, label = Path(config["checkpoint"]), config["label"]
    check_label(label)
    encoder, header, how = open_encoder(path, config["checkpoint_key"], config["checkpoint_pos_mode"])
    if label is None and header.get("code_hash") == FOREIGN and header["method"] in ours():
        header["method"] = path.name  # `dora.pth` of another code is not our DoRA
    return encoder, header if label is None else labelled(header, str(label), encoder), how


def check_label(label: object) -> None:
    """Raise `ValueError` unless rows can be called so."""
    if label is None:
        return
    if not isinstance(label, str) or not LABEL.fullmatch(label):
        raise ValueError(f"label: got {label!r}, expected a letter, then up to 63 letters, digits, and any of _ . + -")
    if label in ours():
        raise ValueError(f"label: got {label!r}, expected a name that is no method's of ours")


def ours() -> set[str]:
    """The names that rows of our own trainings have."""
    return {RANDOM_INIT, *METHODS.all_names()}


def labelled(header: dict[str, Any], label: str, encoder: ViT) -> dict[str, Any]:
    """A header under a user's name, which claims nothing of the code that trained it; the weights tell files of one label apart."""
    if header.get("code_hash") == FOREIGN:
        return {**header, "method": label}
    words = [weights_hash(encoder)[:8], f"method={header.get('method')}", header.get("variant")]
    return {**header, "method": label, "variant": " ".join(map(str, filter(None, words))), "code_hash": FOREIGN}


def check_header(header: dict[str, Any], path: str | Path) -> None:
    """Raise `ValueError` unless rows can be made of what the header of a file says: anybody can write one (`save_encoder`)."""
    place = f"checkpoint {path}: its header"
    if lacking := [field for field in (*ENCODER_FIELDS, *COST) if field not in header]:
        raise ValueError(f"{place} has no {', '.join(lacking)}: no row can be made of it")
    for field in (*ENCODER_FIELDS, *COST, "code_hash"):
        value = header.get(field, "")
        if not isinstance(value, str if field in TEXTS else int | None if field in INTEGERS else float | int | None):
            raise ValueError(
                f"{place}, {field}: got {value!r}, expected a {'text' if field in TEXTS else 'number or null'}"
            )
        explained(place, field, text_of(value))
    if header["seed"] is not None and header["seed"] not in SEEDS:
        raise ValueError(f"{place}, seed: got {header['seed']}, expected an integer of 64 bits")
