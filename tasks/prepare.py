"""`run task=prepare pretrain=NAME`: fetch what is missing, look at what is there, build the frame store, sum it up."""

from longtake.datasets.prepare import prepare, print_store
from longtake.datasets.sources.base import build_source
from longtake.engine.identity import Config
from longtake.tasks import TASKS


@TASKS.named("prepare")
def prepare_data(config: Config) -> None:
    """Raises `ValueError` for what cannot be fetched, read or built, with the remedy."""
    print_store(prepare(build_source(config["pretrain"])))
