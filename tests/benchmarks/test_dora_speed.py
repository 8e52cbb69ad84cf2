"""DoRA's step against the baseline of dora_step.py, in one run on two cores: pytest -m slow -s tests/benchmarks (minutes).

Each is measured in a process of its own, in turns, for their peak memory; ratios are printed and bounded.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("dora_step.py")
# 48 masked and 48 local views through ViT-S and head, forward and backward (three times a forward); 16 teacher frames, forward.
# Per image of n + 1 tokens and 12 blocks: (n + 1) 12 d^2 + 2 (n + 1)^2 d for a block, n 3 p^2 d for the patches.
D, BLOCKS = 384, 12
HEAD = 384 * 2048 + 2048 * 2048 + 2048 * 256 + 256 * 65536


def image_macs(n: int) -> float:
    return BLOCKS * ((n + 1) * 12 * D * D + 2 * (n + 1) ** 2 * D) + n * 768 * D


def analytic_flops() -> float:
    student = 48 * image_macs(196) + 48 * image_macs(36) + 96 * HEAD
    return 2 * (3 * student + 16 * (image_macs(196) + HEAD))


def run(*words: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_dora_step_beats_the_baseline_and_uses_the_cores():
    ours, baseline, again = run("ours", "3"), run("baseline", "2"), run("ours", "3")
    rate = run("matmul")["rate"]
    seconds = min(ours["seconds"], again["seconds"])
    speed, memory = baseline["seconds"] / seconds, ours["peak_gb"] / baseline["peak_gb"]
    share = analytic_flops() / seconds / rate
    print(
        f"\nDoRA step: {speed:.2f}x the baseline's speed, {memory:.2f}x its peak memory, {share:.0%} of a matmul's rate"
    )
    print(
        f"{seconds:.1f} s, {ours['peak_gb']:.2f} GB; matmul {rate / 1e9:.0f} GFLOP/s; step {analytic_flops() / 1e12:.2f} TFLOP"
    )
    assert baseline["loss"] == pytest.approx(ours["loss"], rel=0.02)  # after a step or two, the same numbers
    assert analytic_flops() == pytest.approx(ours["flops"], rel=0.03)
    assert speed >= 1.15
    assert memory <= 0.85
    assert share >= 0.5
