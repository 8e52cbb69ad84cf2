"""Runs as processes of their own, one after the other or, where a launcher queues them, all at once."""

import subprocess
import sys
from collections.abc import Mapping, Sequence

from longtake.console import console

STOPPED = tuple(
    128 + number for number in (2, 1, 10, 12, 15)
)  # exit codes of runs that INT, HUP, USR1, USR2 or TERM has ended


def command(words: Sequence[str]) -> list[str]:
    """The command of a run in a process of its own."""
    return [sys.executable, "-m", "longtake.run", *words]


def run_all(commands: Mapping[str, Sequence[str]], launcher: Sequence[str] = ()) -> dict[str, int]:
    """Run the commands by name. Returns the exit codes of those that failed."""
    codes = _at_once(commands) if "launcher=slurm" in launcher else _in_turn(commands)
    return {name: code for name, code in codes.items() if code}


def well(failed: Mapping[str, int]) -> bool:
    """Whether none has failed; else they are named, and that the same command goes on."""
    for name, code in failed.items():
        console.print(f"[bold]failed[/]: {name} (exit code {code})", soft_wrap=True)
    if failed:
        console.print("the same command goes on with what is missing")
    return not failed


def _at_once(commands: Mapping[str, Sequence[str]]) -> dict[str, int]:
    processes = {name: subprocess.Popen(line) for name, line in commands.items()}
    return {name: process.wait() for name, process in processes.items()}


def _in_turn(commands: Mapping[str, Sequence[str]]) -> dict[str, int]:
    codes = {}
    for number, (name, line) in enumerate(commands.items(), 1):
        console.rule(f"{number} of {len(commands)}: {name}", align="left")
        try:
            codes[name] = subprocess.run(line).returncode
        except KeyboardInterrupt:
            codes[name] = STOPPED[0]
        if codes[name] in STOPPED:  # and so are we
            raise SystemExit("stopped; to go on, give the same command again")
    return codes
