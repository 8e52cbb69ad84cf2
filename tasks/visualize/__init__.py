"""`run task=visualize checkpoint=...`: what an encoder attends to and tracks, in pictures and numbers."""

from longtake.engine.identity import Config
from longtake.tasks import TASKS
from longtake.tasks.visualize.draw import visualize


@TASKS.named("visualize")
def draw_clips(config: Config) -> None:
    """Raises `ValueError` for what cannot be loaded or drawn."""
    visualize(config)
