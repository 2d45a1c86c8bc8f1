"""A request made to fit into so much memory, and what is said of it."""

from collections.abc import Collection
from math import inf
from typing import TYPE_CHECKING

from clora_ext.errors import UsageError

from .output import Output
from .wording import size

if TYPE_CHECKING:
    from clora_ext.runs.fit_memory import Fitted
    from clora_ext.runs.request import Request

__all__ = ["fitted_to"]

_AUTO = "auto"
_GIB = 1 << 30


def fitted_to(memory: str | None, request: "Request", given: Collection[str], output: Output) -> "Request":
    """The request as it fits; each way to take less is told.

    Args:
        memory: GB of a card, or "auto": as much as this machine's has; None: the request stays as it is.
        request: of pictures.
        given: names of settings that the user has chosen, which stay.
        output: told.

    Raises:
        UsageError: that is no number of at least 1.
    """
    if memory is None:
        return request
    from clora_ext.runs.fit_memory import fit_memory

    gibibytes = _gibibytes(memory)
    found = fit_memory(request, gibibytes, given)
    for line in _lines(gibibytes, found):
        output.show(line)
    return found.request


def _gibibytes(text: str) -> float:
    """How much is meant."""
    if text.strip().lower() == _AUTO:
        from clora_ext.config.memory import total_memory
        from clora_ext.config.precision import pick_precision

        return round(total_memory(pick_precision().device) / _GIB, 1)
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 1 <= found < inf:
        raise UsageError(f"--memory {text!r} is no number of GB", fix=f"give one from 1 on, or {_AUTO}")
    return found


def _lines(memory: float, found: "Fitted") -> list[str]:
    card = f"{memory:g} GB ({size(found.bytes_usable)} of it usable)"
    if found.bytes_needed is None and found.changes:
        return []  # they are learned already
    if found.bytes_needed is None:
        return [f"for {card}: nobody can tell what this model takes; the settings stay"]
    takes = f"takes {size(found.bytes_needed)}"
    if not found.fits:
        what = "with all that clora can change" if found.changes else "and nothing is left to change"
        note = f"note: it {takes}, more than {card} have, {what}; a lower --resolution takes less"
        return [*[f"for {card}: {change}" for change in found.changes], note]
    if not found.changes:
        return [f"for {card}: the settings stay, the run {takes}"]
    return [*[f"for {card}: {change}" for change in found.changes], f"the run {takes}"]
