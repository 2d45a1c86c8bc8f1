"""The version of clora that is installed."""

from importlib.metadata import version

__all__ = ["VERSION"]

VERSION = version("clora")
