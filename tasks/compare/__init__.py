"""`run task=compare method=[dora,dino] pretrain=video pretrain.path=walk.mp4`: train each, evaluate each, say who is above whom."""

from hydra.core.hydra_config import HydraConfig

from longtake.engine.command_line import launcher_words
from longtake.engine.identity import Config
from longtake.engine.words import as_given
from longtake.tasks import TASKS
from longtake.tasks.compare.session import compare_all


@TASKS.named("compare")
def compare(config: Config) -> None:
    """Exit code 1 where a run has failed. Raises `ValueError` for what cannot be compared, before anything is computed."""
    if not compare_all(config, as_given(HydraConfig.get().overrides.task), launcher_words()).well:
        raise SystemExit(1)
