"""`run task=check_data eval=[NAME]`: every file of an evaluation's data, looked at before any compute is spent on it."""

from rich.text import Text

from longtake.console import console
from longtake.datasets.findings import Wrong
from longtake.engine.identity import Config
from longtake.engine.machine import resolve_machine
from longtake.engine.plan import build_evaluation
from longtake.tasks import TASKS


@TASKS.named("check_data")
def check_data(config: Config) -> None:
    """Print what is missing, wrong or odd, one line each. Raises `ValueError` when an evaluation would not run to its end."""
    resolve_machine(config)
    if not config["eval"]:
        raise ValueError("task=check_data needs evaluations: eval=[lost_voc2012,davis2017]")
    broken = []
    for name, keys in config["eval"].items():
        task = build_evaluation(keys)
        try:
            missing = task.check()
            found = [] if missing else task.validate()
        except ValueError as error:
            missing, found = [str(error)], []
        wrong = missing + [line for line in found if isinstance(line, Wrong)]
        odd = [line for line in found if not isinstance(line, Wrong)]
        verdict = ("cannot run", "red") if wrong else ("odd", "yellow") if odd else ("sound", "green")
        console.print(Text.assemble(f"{name}: ", verdict), soft_wrap=True)
        for line in wrong:
            console.print(f"  {line}", style="red" if odd else None, soft_wrap=True)
        for line in odd:
            console.print(f"  {line}", soft_wrap=True)
        broken += [name] if wrong else []
    if broken:
        raise ValueError(f"the data of {', '.join(broken)} cannot be used as they are")
