"""The plan of a run for people."""

from rich.table import Table

from longtake.engine.plan import Plan


def description(plan: Plan, recipe: str) -> Table:
    """The plan for people; `recipe` says what a recipe has set."""
    config = plan.config
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    if plan.duration is not None:
        steps = f"{config['epochs']} epochs of {plan.duration.steps_per_epoch} steps of {config['batch_size']} clips"
        table.add_row(
            "train",
            f"{config['method']['name']} on {config['backbone']['name']}: {steps}, T = {config['method']['num_frames']}",
        )
        if recipe:
            table.add_row("recipe", recipe)
        table.add_row("data", plan.data)
        table.add_row(
            "on",
            f"{config['device']}, {config['trainer']['precision']}, {config['num_workers']} data worker(s), seed {config['seed']}",
        )
    elif config["checkpoint"] is not None:
        table.add_row("encoder", str(config["checkpoint"]))
    else:
        table.add_row("encoder", f"{config['backbone']['name']}, randomly initialised, seed {config['seed']}")
    table.add_row("evaluate", ", ".join(plan.runnable) or "nothing")
    for name, lacks in plan.missing.items():
        table.add_row("cannot", f"{name}: {' '.join(lacks)}")
    return table
