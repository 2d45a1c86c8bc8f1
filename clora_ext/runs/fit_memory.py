"""Settings with which a training fits into so much memory, changed as little as that takes."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from clora_ext.config.settings import Settings
from clora_ext.data import Dataset
from clora_ext.errors import TaughtOtherwise

from .estimate import estimate
from .make_plan import make_plan
from .request import Request

__all__ = ["Fitted", "fit_memory", "usable_bytes"]

_GIB = 1 << 30
_USABLE = 7 / 8


@dataclass(frozen=True, slots=True)
class Fitted:
    """A request that fits.

    Attributes:
        request: with settings of its own.
        changes: what they are beyond those that were asked for, in words, each with what it saves.
        bytes_needed: at the most; None: the model's configuration does not tell.
        bytes_usable: of what there is.
    """

    request: Request
    changes: tuple[str, ...]
    bytes_needed: int | None
    bytes_usable: int

    @property
    def fits(self) -> bool:
        """Whether it does, as far as is known."""
        return self.bytes_needed is None or self.bytes_needed <= self.bytes_usable


def usable_bytes(gibibytes: float) -> int:
    """Of a card that is sold with so much: an eighth is the driver's, the screen's, and lost in gaps."""
    return int(gibibytes * _GIB * _USABLE)


def fit_memory(request: Request, gibibytes: float, given: Collection[str] = ()) -> Fitted:
    """The request with as few of the ways to take less memory as it needs.

    They are, in this order: activations are computed twice; fewer pictures at once, of which several batches
    make a step; 8-bit weights; weights in the machine's memory. It asks for estimates alone, so that equal
    requests give equal settings whatever else is in the device's memory: a run that was stopped goes on.

    Args:
        request: of pictures.
        gibibytes: of the card, or of the machine's own.
        given: names of settings that the user has chosen, which stay.

    Raises:
        CloraError: as :func:`make_plan` raises it.
    """
    usable = usable_bytes(gibibytes)
    try:
        plan = make_plan(request)
    except TaughtOtherwise:
        learned = _as_it_was_taught(request, usable, given)
        if learned is None:
            raise
        return learned
    needed = estimate(plan, usable).memory
    changed: dict[str, Any] = {}
    told: list[str] = []
    if isinstance(plan.material, Dataset):
        own = plan.settings.with_values(batch_size=plan.own_batch_size)
        for values, words in _ways(own, given):
            if needed is None or needed <= usable:
                break
            everywhere = own.with_values(**{**changed, **values})
            batch = everywhere.data.batch_size * plan.processes
            tried = replace(plan, settings=everywhere.with_values(batch_size=batch))
            less = estimate(tried, usable).memory
            if less is not None and less < needed:
                told.append(f"{words} ({(needed - less) / 1e9:.1f} GB less)")
                changed, needed = {**changed, **values}, less
    asked = request.settings or plan.settings
    return Fitted(replace(request, settings=asked.with_values(**changed)), tuple(told), needed, usable)


def _as_it_was_taught(request: Request, usable: int, given: Collection[str]) -> Fitted | None:
    """What made the request fit when its pictures were learned; None: they were taught otherwise."""
    changed: dict[str, Any] = {}
    told: list[str] = []
    settings = request.settings or Settings()
    for values, words in _ways(settings, given):
        changed |= values
        told.append(words)
        tried = replace(request, settings=settings.with_values(**changed))
        try:
            make_plan(tried)
        except TaughtOtherwise:
            continue
        return Fitted(tried, tuple(told), None, usable)
    return None


def _ways(settings: Settings, given: Collection[str]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """What to change next, and in words; what is changed already stays so."""
    if not settings.compute.recomputes and "gradient_checkpointing" not in given:
        yield {"gradient_checkpointing": True}, "gradient checkpointing"
    size, batches = settings.data.batch_size, settings.algorithm.gradient_accumulation_steps
    if not {"batch_size", "gradient_accumulation_steps"} & {*given}:
        while size % 2 == 0:
            size, batches = size // 2, batches * 2
            yield {"batch_size": size, "gradient_accumulation_steps": batches}, f"{batches} batches of {size}"
    if not settings.compute.fp8_base and not settings.network.dora and "fp8_base" not in given:
        yield {"fp8_base": True}, "the UNet's weights in 8 bits"
    may_wait = not (settings.compute.offload_base or settings.compute.shard or settings.network.dora)
    if may_wait and "offload_base" not in given:
        yield {"offload_base": True}, "the UNet's weights in the machine's memory"
