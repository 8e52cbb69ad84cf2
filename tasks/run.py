"""`run`: say what will be done, then train, evaluate and record."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from longtake.backbones.weights import load_encoder
from longtake.console import console
from longtake.engine import session
from longtake.engine.description import description
from longtake.engine.folders import ENCODER
from longtake.engine.identity import Config
from longtake.engine.plan import Plan, make_plan
from longtake.engine.pretraining import open_clips
from longtake.engine.processes import in_turn, join, together
from longtake.engine.recipe import recipe_of, recipe_said
from longtake.parallel import is_first, world_size
from longtake.tasks import TASKS


@TASKS.named("run")
def run(config: Config) -> None:
    """Raises `ValueError` for whatever is wrong with the configuration or the data, before anything is computed."""
    try:
        if not config["dry_run"]:
            join(config["device"])
        plan = together(lambda: make_plan(config))
        console.print(description(plan, recipe_said(config) if plan.source else "", picked()))
        if config["dry_run"]:
            return
        session.start_others(plan)
        clips = in_turn(lambda: open_clips(plan))
    except ValueError as error:  # whoever raised it: it is about what the user gave
        raise ValueError(str(error)) from error
    try:
        folder = session.run(plan, recipe_of(config), clips)
    except ValueError as error:
        if world_size() > 1:  # the others may not know of it, and have to be ended by whoever started them
            raise SystemExit(f"error: {error}") from error
        raise
    if plan.source is not None and is_first():
        show_attention(plan, folder)


def show_attention(plan: Plan, folder: Path) -> None:
    """Draw what attention found in the data; a picture that fails is said, and ends nothing."""
    from longtake.tasks.visualize.found import draw_found  # matplotlib, which no plan needs

    assert plan.source is not None
    try:
        drawn = draw_found(load_encoder(folder / ENCODER), plan.config, plan.source, folder)
    except Exception as error:  # whatever it is: the run is done and has its rows
        console.print(f"no picture of attention: {type(error).__name__}: {error}", soft_wrap=True)
    else:
        console.print(f"attention: {drawn}", soft_wrap=True)


def picked() -> list[str]:
    """The words that a budget has added to the command line (engine/budget.py): they follow its own."""
    words = list(HydraConfig.get().overrides.task)
    last = max((i for i, word in enumerate(words) if word.startswith("budget=")), default=len(words))
    return words[last:]
