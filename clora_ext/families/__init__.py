"""Kinds of models: found from a checkpoint's header alone. Looking one up imports no torch.

A family is a module with ``FAMILY`` and, beside it, a JSON file of the same name: what shapes cannot tell.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from clora_ext.errors import CheckpointError
from clora_ext.formats.header import Header
from clora_ext.formats.text import one_line

from .refused import refuse_known

if TYPE_CHECKING:
    from .base import Family

__all__ = ["detect", "is_known_refusal", "load", "names", "recognise"]


def names() -> tuple[str, ...]:
    """Every family's name, sorted.

    >>> names()
    ('anima', 'flux2_klein_4b', 'flux2_klein_9b', 'krea2', 'sd1', 'sdxl', 'z_image')
    """
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.json")))


def load(name: str) -> "Family":
    """The family ``name``."""
    family: Family = import_module(f"{__name__}.{name}").FAMILY
    return family


def detect(header: Header, where: Path) -> "Family":
    """The one family whose checkpoint this is.

    Raises:
        CheckpointError: none or several fit, or the checkpoint misses a part; says what was found.
    """
    refuse_known(header, where)
    fitting = recognise(header)
    if fitting is None:
        first = sorted({name.split(".", maxsplit=1)[0] for name in header.tensors})[:8]
        found = ", ".join(one_line(name, 40) for name in first) or "no tensors"
        message = f"{where} is not a model that clora knows (it holds: {found})"
        raise CheckpointError(message, fix=f"use a checkpoint of one of: {', '.join(names())}")
    fitting.check(header, where)
    return fitting


def recognise(header: Header) -> "Family | None":
    """The one family that this looks like, whether or not such a checkpoint can be taught."""
    fitting = [family for family in map(load, names()) if family.matches(header)]
    return fitting[0] if len(fitting) == 1 else None


def is_known_refusal(header: Header) -> bool:
    """Whether this is something that is known by its name and not taught."""
    try:
        refuse_known(header, Path())
    except CheckpointError:
        return True
    return False
