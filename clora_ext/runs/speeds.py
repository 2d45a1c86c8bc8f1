"""How fast runs were on this machine, remembered from one to the next: what the time left is estimated by."""

import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from math import isfinite
from statistics import median

from clora_ext.events import Event, Sink, TrainStep
from clora_ext.formats.user_cache import read_cached, write_cached

from .plan import Plan

__all__ = ["Speed", "Timed", "known_speed", "speed_key"]

_FILE = "speeds.json"
_VERSION = 1
_MOST = 64  # kinds of run remembered
_FIRST = 10  # steps that are timed
_WARMING_UP = 2  # of those, slower than all others
_LONGEST = 1e7  # seconds: nothing is believed that takes months


@dataclass(frozen=True, slots=True)
class Speed:
    """What a run took.

    Attributes:
        step: seconds of a training step.
        rest: seconds of all that is no training; None: the run was stopped before its end.
    """

    step: float
    rest: float | None = None


def speed_key(plan: Plan) -> str:
    """What runs must have in common to be equally fast."""
    from clora_ext.config.precision import pick_precision

    device = pick_precision().device.type
    settings, context = plan.settings, plan.context
    adapter, sampling = settings.adapter, settings.sampling.of_sheet
    return "|".join(
        map(
            str,
            (
                *(platform.node(), device, context.family.name, len(context.header.tensors)),
                *(plan.resolution, settings.data.batch_size, adapter.targets, settings.teaches_text),
                *(settings.compute.recomputes, settings.compute.torch_compile, settings.compute.fp8_base),
                *(["offloaded"] if settings.compute.offload_base else []),
                *(["shared out"] if settings.compute.shard else []),
                *(settings.strategy, len(plan.targets)),
                *(sampling.sample_count if sampling.has_sheet else 0, sampling.sample_steps),
                *([plan.processes] if plan.processes > 1 else []),
            ),
        )
    )


def known_speed(key: str) -> Speed | None:
    """Of the last run of this kind; None: there was none that is remembered."""
    return _stored().get(key)


@dataclass(slots=True)
class Timed:
    """A sink that passes everything on, and remembers how fast the run is.

    Attributes:
        key: kind of the run, see :func:`speed_key`.
        sink: told what happens.
    """

    key: str
    sink: Sink
    _seconds: list[float] = field(default_factory=list)
    _training: float = 0.0

    def __call__(self, event: Event) -> None:
        """Look at the event, then pass it on; whatever the sink raises goes on."""
        if isinstance(event, TrainStep):
            self._training += event.seconds
            self._seconds = [*self._seconds, event.seconds][:_FIRST]
            if len(self._seconds) == _FIRST and event.step % _FIRST == 0:
                self._remember(None)
        self.sink(event)

    def finished(self, seconds: float) -> None:
        """The whole run, training included, took so many seconds."""
        self._remember(seconds - self._training)

    def _remember(self, rest: float | None) -> None:
        timed = self._seconds[_WARMING_UP:] or self._seconds
        if timed:
            before = known_speed(self.key)
            known_rest = rest if rest is not None or before is None else before.rest
            _remember(self.key, Speed(median(timed), known_rest))


def _remember(key: str, speed: Speed) -> None:
    others = {other: kept for other, kept in _stored().items() if other != key}
    newest = [*others.items(), (key, speed)][-_MOST:]
    runs = {name: asdict(kept) for name, kept in newest}
    write_cached(_FILE, {"version": _VERSION, "runs": runs})


def _stored() -> dict[str, Speed]:
    """What the cache file says; what is no speed in it is passed over."""
    content = read_cached(_FILE)
    if not isinstance(content, dict) or content.get("version") != _VERSION:
        return {}
    return dict(_valid(content.get("runs")))


def _valid(runs: object) -> Iterator[tuple[str, Speed]]:
    for key, entry in runs.items() if isinstance(runs, dict) else ():
        match entry:
            case {"step": float(step), "rest": float() | None as rest} if _believable(step, rest):
                yield key, Speed(step, rest)


def _believable(*seconds: float | None) -> bool:
    return all(one is None or (isfinite(one) and 0 <= one < _LONGEST) for one in seconds)
