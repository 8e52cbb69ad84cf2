"""A small image folder, a small encoder and a tiny data set of each evaluation, shared by the evaluations' tests."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from eval_cases import case_of
from tiny import TinyEncoder, pictures


@pytest.fixture
def encoder() -> TinyEncoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TinyEncoder()


@pytest.fixture(scope="session")
def image_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six classes of 16-pixel pictures, 12 of each to train on and 7 to test."""
    return pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of an evaluation's tiny data set."""
    return cache(lambda name: case_of(name).data(tmp_path_factory.mktemp(name) / name))


@pytest.fixture
def stores_of_tests_alone(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Frame stores, which some evaluations read; many tests share them."""
    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path_factory.getbasetemp() / "stores"))
