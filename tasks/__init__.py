"""`run task=x` calls a function of `tasks/x.py` with the configuration; the function is registered by its word."""

from collections.abc import Callable
from typing import Any

from longtake.registry import Registry

TASKS: "Registry[Callable[[dict[str, Any]], None]]" = Registry("task", "longtake.tasks")
