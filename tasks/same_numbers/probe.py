"""Answer for one tree: its hashes and settings, the fixtures' numbers and executed lines. A script, run in either tree.

    python probe.py JOB.json        # PYTHONPATH leads to the tree; the job says where the answer goes

It asks the package through the command line, whose words outlive refactorings, and imports nothing of the tree that has written it.
"""

import contextlib
import csv
import dataclasses
import hashlib
import inspect
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import coverage
import numpy as np
import torch
from safetensors.torch import load_file
from torch.optim.optimizer import register_optimizer_step_post_hook

BESIDE = (
    ("engine", "probe.py"),
    ("engine", "forecast.py"),
    ("visualize", "found.py"),
)  # files whose calls are not watched
STOPPED = (128 + signal.SIGTERM, 128 + signal.SIGINT)  # exit codes of a command that was stopped


def module(*names: str) -> Any:
    """The first module of these names that the tree has: it may be older than the last move of files."""
    for name in names:
        with contextlib.suppress(ModuleNotFoundError):
            return import_module(name)
    raise ModuleNotFoundError(f"none of {', '.join(names)}")


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


def about_if_there(what: str) -> dict[str, Any] | None:
    """None for what this tree does not have."""
    try:
        return about(what)
    except ValueError:
        return None


def about(what: str) -> dict[str, Any]:
    """Hash, settings with the class's defaults filled in, and the files that the hash starts from."""
    freshness = module("longtake.engine.code_hash", "longtake.freshness")
    kind, *names = what.split()
    if kind == "training":
        method, *_ = names
        pretrain = "mini" if names[1] == "none" else names[1]
        settings = freshness.recipe(method, pretrain, names[2])
        if method == "none":
            settings = {key: value for key, value in settings.items() if key.startswith("backbone")}
            starts = [find_spec("longtake.backbones.vit").origin]  # type: ignore[union-attr]
        else:
            cls = import_module("longtake.methods.base").METHODS[method]
            settings = {**{f"method.{key}": value for key, value in defaults(cls).items()}, **settings}
            fit = str(
                getattr(freshness, "TRAINING_LOOP", None) or module("longtake.engine.fit", "longtake.fit").__file__
            )
            starts = [inspect.getfile(cls), fit, *source_files(settings)]
        return {"hash": freshness.training_hash(*names), "settings": with_worlds(settings), "starts": starts}
    (name,) = names
    cls = module("longtake.engine.boards", "longtake.boards").task_of(name)
    config = module("longtake.engine.config", "longtake.command").plainly([f"eval=[{name}]"])
    settings = {**defaults(cls), **config["eval"][name], "version": cls.version}
    return {
        "hash": freshness.evaluation_hash(name),
        "settings": with_worlds(settings),
        "starts": [inspect.getfile(cls)],
    }


def with_worlds(settings: dict[str, Any]) -> dict[str, Any]:
    """Add what the mini world is that they name: other versions are other data, which no fixture has."""
    worlds = module("longtake.datasets.mini.worlds", "longtake.datasets.mini").WORLDS
    version = module("longtake.datasets.mini.worlds", "longtake.datasets.mini_formats").FORMATS_VERSION
    named = sorted({value for value in settings.values() if isinstance(value, str) and value in worlds})
    return {**settings, "worlds": [f"{name} {worlds[name].hash} v{version}" for name in named]}


def source_files(settings: dict[str, Any]) -> list[str]:
    """Return the file of the source's class; in a tree without a registry of sources, trainings did not depend on it."""
    if "pretrain.source" not in settings:
        return []
    return [inspect.getfile(import_module("longtake.datasets.sources.base").SOURCES[settings["pretrain.source"]])]


def defaults(cls: type) -> dict[str, Any]:
    """Return the default of every keyword of a class and of the classes it extends."""
    if dataclasses.is_dataclass(cls):
        return {
            field.name: field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
            for field in dataclasses.fields(cls)
            if (field.default, field.default_factory) != (dataclasses.MISSING, dataclasses.MISSING)
        }
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if "__init__" in vars(base) and (base.__module__.startswith("longtake.") or base is cls):
            parameters = inspect.signature(vars(base)["__init__"]).parameters
            found |= {name: p.default for name, p in parameters.items() if p.default is not p.empty}
    return found


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


def beside() -> bool:
    """Whether what runs is no part of a number: a plan's trial of the machine, the picture at the end of a training."""
    frame = inspect.currentframe()
    while frame is not None:
        if Path(frame.f_code.co_filename).parts[-2:] in BESIDE:
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def watched(found: Any) -> Iterator[None]:
    """Add what the encoder sees and answers, and what each step of an optimiser makes of the weights: accuracies are coarse."""
    vit, names = import_module("longtake.backbones.vit").ViT, ("forward", "intermediate")
    plain = {name: getattr(vit, name) for name in names}

    def add(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            found.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        elif isinstance(value, list | tuple):
            for part in value:
                add(part)

    def wrapped(name: str) -> Any:
        def call(self: Any, x: torch.Tensor, *arguments: Any, **keywords: Any) -> Any:
            answer = plain[name](self, x, *arguments, **keywords)
            if not beside():
                add((x, answer))
            return answer

        return call

    def stepped(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        add([parameter for group in optimizer.param_groups for parameter in group["params"]])

    handle = register_optimizer_step_post_hook(stepped)
    for name in names:
        setattr(vit, name, wrapped(name))
    try:
        yield
    finally:
        handle.remove()
        for name in names:
            setattr(vit, name, plain[name])


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


@contextlib.contextmanager
def stopping_after(steps: int) -> Iterator[None]:
    """SIGTERM comes in the middle of a training, as from a cluster, and Ctrl-C in the middle of an evaluation that trains."""
    method = import_module("longtake.methods.base").Method
    step, pretraining = method.training_step, iter(range(1, 10**9))
    tuning = iter(range(1, 10**9))

    def counted(self: Any, *arguments: Any, **keywords: Any) -> Any:
        if next(pretraining) == steps:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *arguments, **keywords)

    def stepped(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if next(tuning) == steps and next(pretraining) == 1:  # nothing is pretrained
            raise KeyboardInterrupt

    method.training_step = counted
    handle = register_optimizer_step_post_hook(stepped)
    try:
        yield
    finally:
        method.training_step = step
        handle.remove()


@contextlib.contextmanager
def poisoning(wanted: bool) -> Iterator[None]:
    """The loss of the third step is not a number, nor is a gradient of the fifth."""
    method = import_module("longtake.methods.base").Method
    step, count = method.training_step, iter(range(1, 10**9))

    def poisoned(self: Any, *arguments: Any, **keywords: Any) -> Any:
        number = next(count)
        if number == 3:
            losses = self.losses
            self.losses = lambda views: {name: value * float("nan") for name, value in losses(views).items()}
            try:
                return step(self, *arguments, **keywords)
            finally:
                del self.losses
        loss = step(self, *arguments, **keywords)
        if number == 5:
            loss.register_hook(lambda gradient: gradient * float("inf"))
        return loss

    if wanted:
        method.training_step = poisoned
    try:
        yield
    finally:
        method.training_step = step


def left_behind(folder: Path, found: Any) -> None:
    """Add the encoder and the losses of a training, the outcomes of an evaluation: bytes, not names of files."""
    for path in sorted(p for p in folder.glob("*/encoder.safetensors") if not p.parent.is_symlink()):  # not `latest`
        for name, tensor in sorted(load_file(path).items()):
            found.update(name.encode() + tensor.contiguous().view(torch.uint8).numpy().tobytes())
        for log in sorted(path.parent.glob("logs/*/metrics.csv")):
            found.update(logged_losses(log))
    for path in sorted(p for p in folder.glob("*/eval/*/outcomes.npz") if not p.parents[2].is_symlink()):
        with np.load(path) as arrays:
            for name in sorted(arrays.files):
                found.update(name.encode() + str(arrays[name].shape).encode() + arrays[name].tobytes())


def logged_losses(log: Path) -> bytes:
    """Step and loss terms of a log, in the order of their names."""
    with log.open() as file:
        rows = [{k: v for k, v in row.items() if k == "step" or k.startswith("loss")} for row in csv.DictReader(file)]
    return json.dumps([sorted(row.items()) for row in rows if any(v for k, v in row.items() if k != "step")]).encode()


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
