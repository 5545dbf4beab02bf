"""The settings stand in pyproject.toml; cffi_modules for the C extension go here with csrc."""

from setuptools import setup

setup()
