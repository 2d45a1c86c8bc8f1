"""Programs that a model can be exported to, by name: one file each. Looking up names imports no torch."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from clora_ext.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from .base import Destination

__all__ = ["load", "names"]

_NOT_A_DESTINATION = {"__init__", "base", "webui"}


def names() -> tuple[str, ...]:
    """Every destination's name, sorted.

    >>> names()
    ('a1111', 'comfyui', 'diffusers', 'forge')
    """
    here = Path(__file__).parent
    return tuple(sorted(path.stem for path in here.glob("*.py") if path.stem not in _NOT_A_DESTINATION))


def load(name: str) -> "Destination":
    """The destination ``name``.

    Raises:
        UsageError: there is none of that name; the remedy is the nearest.
    """
    if name not in names():
        raise UsageError(f"unknown destination {name!r}", fix=did_you_mean(name, names()))
    destination: Destination = import_module(f"{__name__}.{name}").DESTINATION
    return destination
