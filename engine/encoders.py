"""`checkpoint=FILE label=NAME`: the encoder in a file, and what its rows are called."""

import re
from pathlib import Path
from typing import Any

from longtake.backbones.checkpoints import FOREIGN, open_encoder
from longtake.backbones.vit import ViT
from longtake.backbones.weights import weights_hash
from longtake.engine.identity import Config
from longtake.leaderboards.schema import RANDOM_INIT
from longtake.methods.base import METHODS

LABEL = re.compile(r"[A-Za-z][\w.+-]{0,63}", re.ASCII)


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
    words = [weights_hash(encoder)[:8], f"method={header['method']}", header["variant"]]
    return {**header, "method": label, "variant": " ".join(filter(None, words)), "code_hash": FOREIGN}
