"""`run task=table table=5`: which cells of a table there are and what the others cost; run what can be run; show the table."""

from longtake.engine.command_line import launcher_words
from longtake.engine.identity import Config
from longtake.tasks import TASKS
from longtake.tasks.table.fill import fill_table


@TASKS.named("table")
def table(config: Config) -> None:
    """Exit code 1 where a run has failed. Raises `ValueError` for a table or a seed that does not exist."""
    if not fill_table(config, launcher_words()):
        raise SystemExit(1)
