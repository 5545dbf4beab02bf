"""Layers on a GPU against cuDNN through PyTorch: `make gpu` on a machine that has one."""
