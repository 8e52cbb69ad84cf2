"""Configurations as plain dictionaries."""

from longtake.engine.config import plainly


def test_a_plain_configuration_is_the_callers_own() -> None:
    plainly(["method=dora"])["method"]["name"] = "changed"
    assert plainly(["method=dora"])["method"]["name"] == "dora"
