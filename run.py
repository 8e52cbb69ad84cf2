"""The command `run`: compose, plan, build, fit, evaluate, record."""

import linecache
import sys
import traceback
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from longtake.command import CONFIG_MODULE, CONFIG_NAME, check_overrides, composed, outside_overrides, plain, quoted


def main() -> None:
    """Entry point. Bad input ends with one line and exit code 2, before any compute."""
    sys.argv = quoted(sys.argv)
    overrides = [word for word in sys.argv[1:] if not word.startswith("-")]
    alone = "task=table" not in overrides  # a table's runs are jobs, the table is none
    if "launcher=slurm" in overrides and alone and not {"-m", "--multirun"} & set(sys.argv):
        sys.argv.append("--multirun")  # Hydra's launchers belong to its sweeps
    try:
        check_overrides(overrides)
    except ValueError as error:
        fail(error)
    sys.argv += outside_overrides()
    hydra.main(config_path=f"pkg://{CONFIG_MODULE}", config_name=CONFIG_NAME, version_base="1.3")(job)()


def fail(error: Exception) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(2)


def is_stated(error: Exception) -> bool:
    """Whether a `raise` of this package made the error: its words are for the user. Any other is a bug, to be shown whole."""
    frame, line = list(traceback.walk_tb(error.__traceback__))[-1]
    ours = frame.f_globals.get("__name__", "").split(".")[0] == "longtake"
    return ours and linecache.getline(frame.f_code.co_filename, line).strip().startswith("raise ")


def job(cfg: DictConfig) -> None:
    """One configuration: the task it names."""
    from longtake import runs  # torch, Lightning and the rest take seconds
    from longtake.boards import TRACKED, write_ledger
    from longtake.check import check
    from longtake.check_data import check_data
    from longtake.console import console
    from longtake.datasets.analyze import analyze
    from longtake.datasets.images import UnreadableImage
    from longtake.datasets.prepare import prepare, print_store
    from longtake.datasets.sources import Source
    from longtake.export import export
    from longtake.fill_table import fill_table
    from longtake.freshness import verify
    from longtake.leaderboards.diff import diff
    from longtake.leaderboards.publish import publish
    from longtake.plan import description, make_plan
    from longtake.report import leaderboard, write_readme
    from longtake.submit_result import GOT10K_BOARD, submit_result
    from longtake.visualize import visualize

    boards = Path(cfg.output) / "leaderboards"
    try:
        if cfg.task == "table":
            if not fill_table(plain(cfg), _launcher()):
                raise SystemExit(1)
            return None
        if cfg.task == "leaderboard" and cfg.diff:
            changes = diff(TRACKED, str(cfg.diff))
            return print("\n".join([*map(str, changes), f"{len(changes)} rows differ"]))
        if cfg.task == "leaderboard" and cfg.verify:
            if not verify([folder for folder in (TRACKED, boards) if folder.is_dir()]):
                raise SystemExit(1)
            return None
        if cfg.task == "leaderboard":
            if cfg.readme:
                write_readme()
            return leaderboard(boards, _named(cfg))
        if cfg.task == "publish":
            print(publish(boards, TRACKED))
            write_ledger(TRACKED)
            write_readme()
            return None
        if cfg.task == "submit_result":
            row = submit_result(plain(cfg), boards)
            return print(f"{row.key}: added to {boards / GOT10K_BOARD}.csv")
        if cfg.task == "visualize":
            visualize(plain(cfg))
            return None
        if cfg.task == "export":
            return print(f"exported: {export(plain(cfg))}")
        if cfg.task == "check_data":
            return check_data(plain(cfg))
        if cfg.task == "prepare":
            return print_store(prepare(Source(**plain(cfg)["pretrain"])))
        if cfg.task == "analyze":
            page = analyze(
                Source(**plain(cfg)["pretrain"]), cfg.analyze.detector, cfg.analyze.interval, Path(cfg.output) / "xray"
            )
            return print(f"x-ray: {page}")
        if cfg.task not in ("run", "check"):
            raise ValueError(
                f"task: got {cfg.task!r}, expected run, prepare, analyze, check, check_data, visualize, export, "
                "submit_result, table, leaderboard or publish"
            )
        plan = make_plan(plain(cfg))
        if cfg.task == "check":
            return check(plan)
        console.print(description(plan))
        if cfg.dry_run:
            return None
        runs.start_others(plan)
        clips = runs.open_clips(plan)
    except ValueError as error:
        fail(error)
    chosen = HydraConfig.get().runtime.choices
    same = [f"{group}={chosen[group]}" for group in ("method", "backbone", "pretrain")]
    if "fidelity" in cfg.method:
        same.append(f"method.fidelity={cfg.method.fidelity}")
    recipe = composed([*same, f"eval=[{','.join(cfg.eval)}]"])
    try:
        runs.run(plan, plain(recipe), clips)
    except (UnreadableImage, FloatingPointError) as error:
        fail(error)
    except (ValueError, ImportError) as error:
        if not is_stated(error):
            raise
        fail(error)


def _named(cfg: DictConfig) -> list[str] | None:
    """The evaluations that the command line asks for; None where it names none and all are meant."""
    words = HydraConfig.get().overrides.task
    return list(cfg.eval) if any(word.startswith(("suite=", "eval=")) for word in words) else None


def _launcher() -> list[str]:
    """What the command line says of how runs are started."""
    words = HydraConfig.get().overrides
    return [word for word in [*words.task, *words.hydra] if word.startswith(("launcher=", "hydra.launcher."))]


if __name__ == "__main__":
    main()
