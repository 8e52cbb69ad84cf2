"""What is learnt from: `pretrain=x` is a class of this folder and a yaml of its keys (base.py says how)."""
