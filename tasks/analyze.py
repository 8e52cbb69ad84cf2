"""`run task=analyze pretrain=NAME`: an x-ray of a video as a page: lightness, objects, shots, motion."""

from pathlib import Path

from longtake.datasets.analyze import analyze
from longtake.datasets.sources.base import build_source
from longtake.engine.identity import Config
from longtake.tasks import TASKS


@TASKS.named("analyze")
def analyze_data(config: Config) -> None:
    """Raises `ValueError` for data that cannot be read and for a detector that there is not."""
    options, folder = config["analyze"], Path(config["output"]) / "xray"
    page = analyze(build_source(config["pretrain"]), options["detector"], options["interval"], folder)
    print(f"x-ray: {page}")
