"""Answer for one tree: its hashes and settings, the fixtures' numbers and executed lines. A script, run in either tree.

    python probe.py JOB.json        # PYTHONPATH leads to the tree; the job says where the answer goes

It asks the package through the command line, whose words outlive refactorings, and imports nothing of the tree that has written it
but the two files beside this one.
"""

import contextlib
import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import coverage
import torch
from probe_settings import about_if_there, module  # type: ignore[import-not-found]  # beside this script
from probe_watch import left_behind, poisoning, stopping_after, watched  # type: ignore[import-not-found]

STOPPED = (128 + signal.SIGTERM, 128 + signal.SIGINT)  # exit codes of a command that was stopped


def answers(job: dict[str, Any], tree: Path) -> dict[str, Any]:
    """Return hash, settings and start files by `what`; the digest of the numbers by fixture; executed lines by file."""
    if not job["fixtures"]:
        return {"abouts": {what: about_if_there(what) for what in job["whats"]}, "digests": {}, "executed": {}}
    seen = coverage.Coverage(data_file=None, source=[str(tree)], omit=["*/.venv/*", "*/tests/*"])
    seen.start()
    make_small(job["world"])
    alone = [fixture for fixture in job["fixtures"] if fixture["processes"] == 1]
    digests = {fixture["name"]: numbers_of(fixture, Path(job["out"])) for fixture in alone}
    ask_for_nothing()
    seen.stop()
    lines = [executed(seen, tree)]
    if shared := [fixture for fixture in job["fixtures"] if fixture["processes"] > 1]:
        found = together(shared, job)
        digests |= found[0]["digests"]
        lines += [answer["executed"] for answer in found]
    return {"abouts": {}, "digests": digests, "executed": merged(lines)}


def ask_for_nothing() -> None:
    """Names that no registry has, and data that are not there: what is answered then belongs to what is executed."""
    registries = [import_module("longtake.methods.base").METHODS, import_module("longtake.downstream.base").DOWNSTREAM]
    asking: list[Any] = [registry.__getitem__ for registry in registries]
    with contextlib.suppress(ModuleNotFoundError):  # an older tree has no registry of sources
        sources = import_module("longtake.datasets.sources.base")
        asking.append(lambda name: sources.source_class({"source": name}))
        absent = sources.build_source({"source": "frames", "name": "frames"})
        assert absent.truth() is None, "nobody knows what is in pictures"
        assert absent.expected_frames() > 0
    for ask in asking:
        with contextlib.suppress(ValueError):
            ask("none such")


def make_small(world: dict[str, Any]) -> None:
    """A world of seconds and few pictures; listings of folders are kept from the first picture on, fine-tunings by the epoch."""
    worlds = module("longtake.datasets.mini.worlds", "longtake.datasets.mini")
    worlds.WORLDS["small"] = worlds.World("small", **world)
    images: Any = import_module("longtake.datasets.images")
    images.CACHE_FROM = 1
    finetune: Any = import_module("longtake.downstream.finetune")
    finetune.SAVE_SECONDS = 0


def together(fixtures: list[dict[str, Any]], job: dict[str, Any]) -> list[dict[str, Any]]:
    """The answers of processes that run these fixtures together, one after the other; each is a probe, started as torchrun does."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    count = max(fixture["processes"] for fixture in fixtures)
    started, paths = [], []
    for rank in range(count):
        folder = Path(job["out"]) / "ranks" / str(rank)
        folder.mkdir(parents=True)
        own = {"fixtures": [{**fixture, "processes": 1} for fixture in fixtures], "answer": str(folder / "answer.json")}
        (folder / "job.json").write_text(json.dumps({**job, **own}))
        places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
        environment = {**os.environ, "MASTER_ADDR": "localhost", **{key: str(value) for key, value in places.items()}}
        command = [sys.executable, "-W", "ignore", __file__, str(folder / "job.json")]
        started.append(subprocess.Popen(command, env=environment))
        paths.append(folder / "answer.json")
    codes = [process.wait() for process in started]
    assert not any(codes), f"processes that run fixtures together ended with {codes}"
    return [json.loads(path.read_text()) for path in paths]


def merged(parts: list[dict[str, list[int]]]) -> dict[str, list[int]]:
    """Executed lines of several processes as those of one."""
    files = {file for part in parts for file in part}
    return {file: sorted({line for part in parts for line in part.get(file, [])}) for file in sorted(files)}


def numbers_of(fixture: dict[str, Any], out: Path) -> str:
    """Run the command (twice where it is to be stopped in between); the digest of its numbers, or why there is none."""
    began = time.perf_counter()
    folder = out / fixture["name"].replace(" ", "_")
    words = [*fixture["words"], f"output={folder}"]
    printed, found = io.StringIO(), hashlib.sha256()
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        watched(found),
        poisoning(fixture["poisoned"]),
    ):
        if fixture.get("stop_after"):
            with stopping_after(fixture["stop_after"]):
                code = command(words)
            if code not in STOPPED:
                return f"failed: {fixture['name']} was not stopped (exit code {code}): {printed.getvalue()[-2000:]}"
            words.append("resume=true")
        code = command(words)
    if code:
        return f"failed: {fixture['name']} ended with exit code {code}: {printed.getvalue()[-2000:]}"
    left_behind(folder, found)
    print(f"{fixture['name']}: {time.perf_counter() - began:.1f} s", flush=True)
    return found.hexdigest()[:16]


def command(words: Sequence[str]) -> int:
    """Call `run` with these words in this process; return its exit code."""
    run = import_module("longtake.run")
    before, sys.argv = sys.argv, ["run", *words]
    try:
        run.main()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception as error:  # a bug of the tree: an answer, too
        print(f"{type(error).__name__}: {error}")
        return 1
    finally:
        sys.argv = before
    return 0


def executed(seen: coverage.Coverage, tree: Path) -> dict[str, list[int]]:
    """Line numbers by file."""
    data = seen.get_data()
    return {Path(file).resolve().relative_to(tree).as_posix(): data.lines(file) or [] for file in data.measured_files()}


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    os.environ["LONGTAKE_DATA"] = job["data"]
    torch.set_num_threads(1)  # sums have one order
    # An editable installation offers the folders that this tree does not have, from another one.
    sys.meta_path[:] = [
        finder for finder in sys.meta_path if not str(getattr(finder, "__module__", "")).startswith("__editable__")
    ]
    tree = Path(find_spec("longtake").origin or "").resolve().parent  # type: ignore[union-attr]
    answer = answers(job, tree)
    ours = [m for name, m in sys.modules.items() if name.split(".")[0] == "longtake" and getattr(m, "__file__", None)]
    assert all(Path(str(m.__file__)).resolve().is_relative_to(tree) for m in ours), "modules of another tree"
    Path(job["answer"]).write_text(json.dumps(answer, default=str))
    sys.stdout.flush()
    os._exit(0)  # gloo's threads abort now and then when the interpreter ends


if __name__ == "__main__":
    main()
