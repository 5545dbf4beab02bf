"""Kernels in C, compiled when fastconv was installed: nothing is compiled at run time."""
