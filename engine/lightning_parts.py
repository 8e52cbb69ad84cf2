"""Lightning's own parts as keys of `trainer`: strategy, loggers, callbacks, profiler. What cannot be had is said before a run.

A class is `package.module:Class`, or Hydra's `{_target_: package.module.Class, keyword: value}`.
"""

import difflib
import inspect
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from longtake.engine.devices import accelerator, num_processes
from longtake.engine.identity import Config

CSV, PROJECT = "csv", "longtake"
LOGGERS = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}  # and the package that each needs
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false")
EXACT = "ddp_find_unused_parameters_true"
PROFILERS = {"simple": "SimpleProfiler", "advanced": "AdvancedProfiler", "pytorch": "PyTorchProfiler"}


def check_parts(trainer: Config) -> None:
    """Raise `ValueError` for a word or a class that there is not, and for one that cannot be made of what is given."""
    for logger in _listed(trainer["logger"]):
        if not _is_class(logger) and logger != CSV:
            _check_logger(logger)
    strategy = trainer["strategy"]
    if not _is_class(strategy) and strategy not in STRATEGIES:
        _refuse_strategy(strategy)
    if trainer["precision"].startswith("transformer-engine") and find_spec("transformer_engine") is None:
        raise ValueError(f"trainer.precision={trainer['precision']}: not installed, pip install transformer-engine")
    if trainer["precision"] == "16-true":
        raise ValueError(
            "trainer.precision=16-true: weights of float16 do not train (gradients below 6e-8 are lost, and AdamW's epsilon "
            "is 0 there: 0 / 0); expected 16-mixed, bf16-mixed or bf16-true"
        )
    given = {"logger": _listed(trainer["logger"]), "strategy": [strategy], "callbacks": trainer["callbacks"]}
    for key, parts in given.items():
        for part in parts:
            if _is_class(part) or key == "callbacks":
                _check_class(f"trainer.{key}", part)


@contextmanager
def trainer_parts(config: Config, folder: Path) -> Iterator[dict[str, Any]]:
    """Keyword arguments of `fit`: what `lightning.Trainer` takes, and the loggers beside the CSV; these end with the block."""
    trainer = config["trainer"]
    parts = {
        "accelerator": accelerator(config["device"]),
        "devices": trainer["devices"],
        "strategy": _strategy(config),
        "profiler": _profiler(trainer["profiler"], folder),
        "callbacks": [_made(callback) for callback in trainer["callbacks"]],
        "loggers": [_logger(logger, config, folder) for logger in _listed(trainer["logger"]) if logger != CSV],
    }
    try:
        yield parts
    finally:
        if "wandb" in _listed(trainer["logger"]):
            import wandb

            wandb.finish()  # else the next run of this program would go on with this one's curves


def _listed(loggers: Any) -> list[Any]:
    return [] if loggers is None else loggers if isinstance(loggers, list) else [loggers]


def _is_class(part: Any) -> bool:
    return isinstance(part, Mapping) or ":" in part


def _check_logger(word: str) -> None:
    if word not in LOGGERS:
        near = difflib.get_close_matches(word, LOGGERS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ValueError(
            f"trainer.logger: got {word!r}, expected csv, {', '.join(LOGGERS)} or package.module:Class.{hint}"
        )
    if find_spec(LOGGERS[word]) is None:
        raise ValueError(f"trainer.logger={word}: not installed, pip install {LOGGERS[word]}")


def _refuse_strategy(word: str) -> None:
    from lightning.pytorch.strategies import (
        StrategyRegistry,
    )  # imported here, as all of Lightning: a plan without needs none

    if word in StrategyRegistry.available_strategies():
        raise ValueError(
            f"trainer.strategy={word}: the encoder is saved from whole weights, and all processes evaluate; expected "
            f"{', '.join(STRATEGIES)} or package.module:Class"
        )
    near = difflib.get_close_matches(word, STRATEGIES, n=1)
    raise ValueError(
        f"trainer.strategy: got {word!r}, expected {', '.join(STRATEGIES)} or package.module:Class."
        f"{f' Did you mean {near[0]}?' if near else ''}"
    )


def _check_class(key: str, part: Any) -> None:
    """Raise `ValueError` unless the class is there and takes these keywords."""
    keywords = {name: value for name, value in _as_dict(key, part).items() if not name.startswith("_")}
    path = _as_dict(key, part)["_target_"]
    module, _, name = path.rpartition(".")
    try:
        cls = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{key}: {path}: {error}") from error
    from lightning.pytorch.callbacks import Callback, Checkpoint

    if key == "trainer.callbacks" and isinstance(cls, type) and issubclass(cls, Checkpoint):
        raise ValueError(f"{key}: {path}: a run keeps last.ckpt by itself, every trainer.checkpoint_minutes")
    if key == "trainer.callbacks" and isinstance(cls, type) and not issubclass(cls, Callback):
        raise ValueError(f"{key}: {path} is no lightning.pytorch.callbacks.Callback")
    try:
        inspect.signature(cls).bind(**keywords)
    except TypeError as error:
        raise ValueError(f"{key}: {path}: {error}") from error


def _as_dict(key: str, part: Any) -> dict[str, Any]:
    """A class as Hydra's `instantiate` takes it."""
    if isinstance(part, Mapping) and isinstance(part.get("_target_"), str) and "." in part["_target_"]:
        return {**part, "_target_": part["_target_"].replace(":", ".")}
    if isinstance(part, str) and all(part.partition(":")[::2]):
        return {"_target_": part.replace(":", ".")}
    raise ValueError(f"{key}: got {part!r}, expected package.module:Class or {{_target_: package.module.Class, ...}}")


def _made(part: Any) -> Any:
    """An object of a class; any other word is Lightning's."""
    if not _is_class(part):
        return part
    from hydra.utils import instantiate

    return instantiate(_as_dict("trainer", part))


def _strategy(config: Config) -> Any:
    """Lightning's, of a word or a class; `auto` with several processes is DDP that keeps gradients where they are.

    DDP as it is moves them to other places of its buckets after its first step, and sums of more than two processes then round
    differently: a continued run would not be exact.
    """
    word = config["trainer"]["strategy"]
    return EXACT if word == "auto" and num_processes(config) > 1 else _made(word)


def _profiler(word: str | None, folder: Path) -> Any:
    """A profiler that writes `profile...` beside the logs."""
    if word is None:
        return None
    from lightning.pytorch import profilers

    return getattr(profilers, PROFILERS[word])(dirpath=folder / "logs", filename="profile")


def _logger(word: Any, config: Config, folder: Path) -> Any:
    """A logger of this run; those of a service know the configuration, and find the run again when it goes on.

    Raises `ValueError` for a service that cannot be had.
    """
    if _is_class(word):
        return _made(word)
    from lightning.pytorch import loggers

    if word == "tensorboard":
        return loggers.TensorBoardLogger(folder, name="logs", version="tensorboard")
    try:
        return _wandb(loggers, config, folder) if word == "wandb" else _mlflow(loggers, config, folder)
    except Exception as error:  # of a service that is not there, say
        raise ValueError(f"trainer.logger={word}: {' '.join(str(error).split())}") from error


def _wandb(loggers: Any, config: Config, folder: Path) -> Any:
    name = folder.name
    found = loggers.WandbLogger(name, (folder / "logs").absolute(), id=name, project=PROJECT, resume="allow")
    found.log_hyperparams(config)
    return found


def _mlflow(loggers: Any, config: Config, folder: Path) -> Any:
    """MLflow's, of `MLFLOW_TRACKING_URI` or of a file beside the runs; the run's number is kept for when it goes on."""
    number = folder / "logs" / "mlflow_run"
    place = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(folder.parent / 'mlflow.db').absolute()}"
    known = number.read_text() if number.is_file() else None
    found = loggers.MLFlowLogger(PROJECT, folder.name, tracking_uri=place, run_id=known)
    if known is None:  # whose settings MLflow lets nobody change
        found.log_hyperparams(config)
    if isinstance(found.run_id, str):  # in the first process
        number.parent.mkdir(exist_ok=True)
        number.write_text(found.run_id)
    return found
