"""The checker of annotations during the tests: an int is a float, as PEP 484 has it (yaml writes 1 for 1.0)."""

from beartype import BeartypeConf, beartype

typechecked = beartype(conf=BeartypeConf(is_pep484_tower=True))
