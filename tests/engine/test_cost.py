"""What a training has cost, on every system: Windows does not tell, macOS counts in bytes, Linux in kibibytes."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from longtake.engine.cost import peak_bytes, peak_memory_gb


@pytest.mark.parametrize(("system", "size"), [("linux", 2048), ("darwin", 2)])
def test_units(system: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda _: SimpleNamespace(ru_maxrss=2))
    monkeypatch.setitem(sys.modules, "resource", usage)
    monkeypatch.setattr(sys, "platform", system)
    assert peak_bytes() == size
    assert peak_memory_gb("cpu") == size / 1e9


def test_this_process() -> None:
    held = peak_memory_gb("cpu")
    assert held is not None
    assert 0.1 < held < 1000  # PyTorch alone takes more than the first


def test_without_the_module_a_training_begins(tmp_path) -> None:
    code = """import sys
sys.modules["resource"] = None  # as on Windows
import longtake.engine.fit
from longtake.engine.cost import peak_memory_gb
print(peak_memory_gb("cpu"))"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "None\n", done.stderr
