"""What `run task=x` does is `tasks/x.py`: a function of the configuration, registered by its word."""

from collections.abc import Callable
from typing import Any

from longtake.registry import Registry

TASKS: "Registry[Callable[[dict[str, Any]], None]]" = Registry("task", "longtake.tasks")
