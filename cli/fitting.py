"""A request made to fit into so much memory, and what is said of it."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from .output import Output
from .wording import size

if TYPE_CHECKING:
    from clora_ext.runs.fit_memory import Fitted
    from clora_ext.runs.request import Request

__all__ = ["fitted_to"]


def fitted_to(memory: float | None, request: "Request", given: Collection[str], output: Output) -> "Request":
    """The request as it fits; each way to take less is told.

    Args:
        memory: GB of a card; None: the request stays as it is.
        request: of pictures.
        given: names of settings that the user has chosen, which stay.
        output: told.
    """
    if memory is None:
        return request
    from clora_ext.runs.fit_memory import fit_memory

    found = fit_memory(request, memory, given)
    for line in _lines(memory, found):
        output.show(line)
    return found.request


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
