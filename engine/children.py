"""Runs as processes of their own, one after the other or, where a launcher queues them, all at once."""

import subprocess
import sys
from collections.abc import Mapping, Sequence

from longtake.console import console

STOPPED = (128 + 2, 128 + 15)  # exit codes of a run that ended in order after a signal


def command(words: Sequence[str]) -> list[str]:
    """The command of a run in a process of its own."""
    return [sys.executable, "-m", "longtake.run", *words]


def run_all(commands: Mapping[str, Sequence[str]], launcher: Sequence[str] = ()) -> bool:
    """Run the commands by name; whether all ended well. Those that failed are named, and that the same command goes on."""
    codes = _at_once(commands) if "launcher=slurm" in launcher else _in_turn(commands)
    failed = [name for name, code in codes.items() if code]
    for name in failed:
        console.print(f"[bold]failed[/]: {name} (exit code {codes[name]})")
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
