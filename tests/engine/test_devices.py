"""`device` and `trainer.devices` as what a machine has: counts, lists, one GPU by name; the GPUs are made up here."""

from typing import Any

import pytest
import torch

from longtake.engine.config import plainly
from longtake.engine.devices import accelerator, num_processes, per_machine, resolve_devices
from longtake.engine.plan import Plan
from longtake.engine.session import start_others


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)


def resolved(*words: str) -> dict[str, Any]:
    config = plainly(["eval=[]", *words])
    before = num_processes(config)
    resolve_devices(config)
    assert num_processes(config) == before, "the number is known before the machine is asked"
    return config


@pytest.mark.parametrize(
    ("words", "device", "devices", "count"),
    [
        ([], "cuda", 1, 1),
        (["trainer.devices=auto"], "cuda", 4, 4),
        (["trainer.devices=-1", "trainer.num_nodes=2"], "cuda", 4, 8),
        (["trainer.devices=[1,3]"], "cuda", [1, 3], 2),
        (["trainer.devices=[2]"], "cuda:2", [2], 1),
        (["device=cuda:1"], "cuda:1", [1], 1),
        (["device=cpu", "trainer.devices=auto"], "cpu", 1, 1),
        (["device=cpu", "trainer.devices=2"], "cpu", 2, 2),
    ],
)
@pytest.mark.usefixtures("gpus")
def test_devices_become_numbers_or_gpus(words: list[str], device: str, devices: Any, count: int):
    config = resolved(*words)
    assert (config["device"], config["trainer"]["devices"], num_processes(config)) == (device, devices, count)
    assert per_machine(config) == count // config["trainer"]["num_nodes"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trainer.devices=5"], r"trainer.devices=5: this machine has 4 GPU\(s\), from 0 to 3"),
        (["trainer.devices=[0,4]"], r"trainer.devices=\[0, 4\]: this machine has 4"),
        (["trainer.devices=[0,0]"], r"trainer.devices=\[0, 0\]: this machine has 4"),
        (["trainer.devices=[]"], r"trainer.devices=\[\]: this machine"),
        (["device=cuda:4"], r"device=cuda:4: this machine has 4"),
        (["device=cuda:1", "trainer.devices=2"], "trainer.devices=2: device=cuda:1 is one"),
        (["device=cpu", "trainer.devices=[0,1]"], r"trainer.devices=\[0, 1\]: a list names GPUs, and device=cpu"),
        (["device=cpu", "trainer.precision=16-mixed"], "trainer.precision=16-mixed: not on a CPU; use bf16-mixed"),
        (["device=mps"], "device=mps: this machine has no Apple GPU"),
    ],
)
@pytest.mark.usefixtures("gpus")
def test_what_there_is_not_is_refused(words: list[str], message: str):
    with pytest.raises(ValueError, match=message):
        resolve_devices(plainly(["eval=[]", *words]))


@pytest.mark.usefixtures("gpus")
def test_evaluations_alone_take_a_number_of_devices(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    started: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda _, words: started.append(words))
    for word in ("trainer.devices=auto", "trainer.devices=[2]"):
        start_others(Plan(resolved("method=none", word), None, "", None, {}, {}, None))
    assert [words[words.index("--nproc-per-node") + 1] for words in started] == ["4"]
    with pytest.raises(ValueError, match=r"trainer.devices=\[0, 1\]: evaluations alone and sweeps take a number"):
        start_others(Plan(resolved("method=none", "trainer.devices=[0,1]"), None, "", None, {}, {}, None))


def test_mps_is_lightnings_accelerator_where_it_is_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolved("device=mps", "trainer.devices=auto")["trainer"]["devices"] == 1
    with pytest.raises(ValueError, match="device=mps is one device"):
        resolve_devices(plainly(["eval=[]", "device=mps", "trainer.devices=2"]))
    assert [accelerator(name) for name in ("cpu", "cuda", "cuda:1", "mps")] == ["cpu", "gpu", "gpu", "mps"]
