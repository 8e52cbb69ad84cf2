"""`run`: say what will be done, then train, evaluate and record."""

from hydra.core.hydra_config import HydraConfig

from longtake.console import console
from longtake.engine import session
from longtake.engine.description import description
from longtake.engine.identity import Config
from longtake.engine.plan import make_plan
from longtake.engine.recipe import recipe_of, recipe_said
from longtake.tasks import TASKS


@TASKS.named("run")
def run(config: Config) -> None:
    """Raises `ValueError` for whatever is wrong with the configuration or the data, before anything is computed."""
    try:
        plan = make_plan(config)
        console.print(description(plan, recipe_said(config) if plan.source else "", picked()))
        if config["dry_run"]:
            return
        session.start_others(plan)
        clips = session.open_clips(plan)
    except ValueError as error:  # whoever raised it: it is about what the user gave
        raise ValueError(str(error)) from error
    session.run(plan, recipe_of(config), clips)


def picked() -> list[str]:
    """The words that a budget has added to the command line (engine/budget.py): they follow its own."""
    words = list(HydraConfig.get().overrides.task)
    last = max((i for i, word in enumerate(words) if word.startswith("budget=")), default=len(words))
    return words[last:]
