"""Sources are what an encoder learns from: `pretrain=x` is a class of this folder and a yaml of its keys (see base.py)."""
