"""The state of a training in a file: there whole or not at all, and read only by the training that wrote it.

Every process reads it and the first one writes it; what it holds has to be the same in all of them.
"""

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from longtake.backbones.weights import weights_hash
from longtake.datasets.content import Content
from longtake.downstream.base import HARMLESS
from longtake.files import check_archive, whole
from longtake.parallel import collected, is_first

FREE = {*HARMLESS, "root"}  # settings that may differ between a training and its continuation


def identity_of(settings: Mapping[str, Any], items: Any, encoder: nn.Module, content: Content | None = None) -> str:
    """Return what must agree to continue a training: settings that move the numbers, items (what JSON takes), the encoder, and
    what is in the data, wherever they lie now."""
    kept = {key: value for key, value in settings.items() if key not in FREE}
    facts = [kept, items, weights_hash(encoder), content and content.digest]
    return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()


def write_state(path: Path, identity: str, state: dict[str, Any]) -> None:
    """The first process writes; renamed when complete, so that an interruption leaves the state before."""
    if is_first():
        with whole(path) as part:
            torch.save({"identity": identity, **state}, part)


def read_state(path: Path, identity: str) -> dict[str, Any] | None:
    """The state (on the CPU) when there is one of this identity. Raises `ValueError` where only some processes can see it."""
    saved = loaded(path) if path.is_file() else None
    found = saved if saved is not None and saved["identity"] == identity else None
    there = collected([found is not None])
    if any(there) != all(there):
        raise ValueError(
            f"{path}: read by {sum(there)} of {len(there)} processes; expected a folder that all of them share"
        )
    return found


def loaded(path: Path) -> dict[str, Any] | None:
    """What is in the file; None, and a warning, where it is damaged: the training begins anew."""
    try:
        check_archive(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, KeyError, UnpicklingError) as error:
        warnings.warn(f"{path} is damaged ({' '.join(str(error).split())[:80]}): starting at step 0", stacklevel=2)
        return None
