"""Runs as processes of their own, one after the other or, where a launcher queues them, all at once."""

import signal
import sys
from collections.abc import Mapping, Sequence
from subprocess import Popen
from types import FrameType

from longtake.console import console
from longtake.engine.config import flag_words
from longtake.engine.signals import NAMES, numbers

STOPPING = numbers(NAMES)
STOPPED = [code for number in STOPPING for code in (128 + number, -number)]  # exit codes of runs that one has ended


def command(words: Sequence[str]) -> list[str]:
    """The command of a run in a process of its own, with this command's flags."""
    return [sys.executable, "-m", "longtake.run", *flag_words(), *words]


def run_all(commands: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Run the commands by name, those that submit jobs all at once. Returns the exit codes of those that failed.

    What is to stop this process stops the runs, which save, and then this process.
    """
    queued = any("launcher=slurm" in line for line in commands.values())
    codes = dict(zip(commands, exit_codes([*commands.values()]), strict=True)) if queued else _in_turn(commands)
    if any(code in STOPPED for code in codes.values()):  # and so are we
        raise SystemExit("stopped; to go on, give the same command again")
    return {name: code for name, code in codes.items() if code}


def well(failed: Mapping[str, int]) -> bool:
    """Whether none has failed; else they are named, and that the same command goes on."""
    for name, code in failed.items():
        console.print(f"[bold]failed[/]: {name} (exit code {code})", soft_wrap=True)
    if failed:
        console.print("the same command goes on with what is missing")
    return not failed


def _in_turn(commands: Mapping[str, Sequence[str]]) -> dict[str, int]:
    codes = {}
    for number, (name, line) in enumerate(commands.items(), 1):
        console.rule(f"{number} of {len(commands)}: {name}", align="left")
        (codes[name],) = exit_codes([line])
        if codes[name] in STOPPED:
            break
    return codes


def exit_codes(lines: Sequence[Sequence[str]]) -> list[int]:
    """Run processes side by side, to their end whatever signal comes: Ctrl-C they get from the terminal, others from here."""
    processes: list[Popen] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        for process in processes if number != signal.SIGINT else ():
            process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in STOPPING}
    try:
        for line in lines:
            processes.append(Popen(line))
        return [process.wait() for process in processes]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
