"""How the learning rate goes, as training files ask for it and as they are written."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from clora_ext.config.settings import Settings
from clora_ext.formats.text import quoted

from .finding import Finding
from .judge import Given
from .typed_value import above_zero

__all__ = [
    "RATE_ASKS",
    "check_scheduler",
    "scheduler_arguments",
    "scheduler_cycles",
    "scheduler_name",
]

_Given = Mapping[str, Given]
_Answer = tuple[Any, Given] | None

_CONSTANT = "constant"
_WITH_WARMUP = "constant_with_warmup"
# Of these sd-scripts halves the number of cycles, so that one of them is half a wave.
_HALVED = frozenset({"cosine_with_min_lr", "warmup_stable_decay"})
_READ: Mapping[str, frozenset[str]] = {
    "lr_scheduler_num_cycles": _HALVED | {"cosine_with_restarts"},
    "lr_scheduler_power": frozenset({"polynomial"}),
    "lr_scheduler_timescale": frozenset({"inverse_sqrt"}),
    "lr_scheduler_min_lr_ratio": _HALVED,
    "lr_decay_steps": frozenset({"warmup_stable_decay"}),
}
"""Which schedulers an option matters to."""
_ARGUMENTS: Mapping[str, tuple[str, str]] = {
    "cosine": ("num_cycles", "lr_cycles"),
    "polynomial": ("lr_end", "lr_end"),
    "piecewise_constant": ("step_rules", "lr_step_rules"),
}
"""The argument of a scheduler that only lr_scheduler_args can give, and clora's name for it."""


def check_scheduler(given: _Given) -> Iterator[Finding]:
    """What is wrong with a scheduler's options, or to be told about them."""
    name = _scheduler(given)
    if name == "adafactor":
        message = "not built yet: the schedule of another optimiser than AdamW"
        yield given["lr_scheduler"].finding("refuse", message)
    yield from _check_warmup(given, name)
    for option, schedulers in _READ.items():
        if option in given and name not in schedulers:
            yield given[option].finding("note", f"changes nothing with lr_scheduler = {quoted(name)}")
    if "lr_scheduler_args" in given:
        yield from _check_arguments(given["lr_scheduler_args"], name)


def _check_warmup(given: _Given, name: str) -> Iterator[Finding]:
    warmup = given.get("lr_warmup_steps")
    if warmup is None:
        return
    if name == _CONSTANT:
        message = "sd-scripts stops at a warm-up with the schedule constant, once everything is loaded"
        yield warmup.finding("error", message, f'write lr_scheduler = "{_WITH_WARMUP}"')
    if name == "piecewise_constant":
        yield warmup.finding("note", 'changes nothing with lr_scheduler = "piecewise_constant"')


def _check_arguments(arguments: Given, name: str) -> Iterator[Finding]:
    known, _ = _ARGUMENTS.get(name, ("", ""))
    for argument, value in arguments.value.items():
        if argument != known:
            fix = f"{known} is built" if known else ""
            yield arguments.finding(
                "refuse", f"not built yet: {quoted(argument)} of the scheduler {name}", fix
            )
        elif argument != "step_rules" and above_zero(value) is None:
            yield arguments.finding("error", f"{argument} = {quoted(value)} is no number above 0")


def _scheduler(given: _Given) -> str:
    """Its name in sd-scripts."""
    return str(given["lr_scheduler"].value) if "lr_scheduler" in given else _CONSTANT


def _lr_scheduler(given: _Given) -> _Answer:
    if "lr_scheduler" not in given:
        return None
    name = _scheduler(given)
    return _CONSTANT if name == _WITH_WARMUP else name, given["lr_scheduler"]


def _steps(option: str, *, share: bool) -> Callable[[_Given], _Answer]:
    """A number of steps, or a share of all."""

    def ask(given: _Given) -> _Answer:
        if option not in given or isinstance(given[option].value, float) != share:
            return None
        return given[option].value, given[option]

    return ask


def _when_read(option: str) -> Callable[[_Given], _Answer]:
    """An option's value, where the scheduler takes any notice of it."""

    def ask(given: _Given) -> _Answer:
        if option not in given or _scheduler(given) not in _READ[option]:
            return None
        return given[option].value, given[option]

    return ask


def _lr_cycles(given: _Given) -> _Answer:
    counted = _when_read("lr_scheduler_num_cycles")(given)
    if counted is None:
        return _argument("cosine")(given)
    count, origin = counted
    return (count / 2 if _scheduler(given) in _HALVED else float(count)), origin


def _argument(scheduler: str) -> Callable[[_Given], _Answer]:
    """What lr_scheduler_args says of a scheduler."""
    argument, _ = _ARGUMENTS[scheduler]

    def ask(given: _Given) -> _Answer:
        arguments = given.get("lr_scheduler_args")
        if arguments is None or _scheduler(given) != scheduler or argument not in arguments.value:
            return None
        value = arguments.value[argument]
        return (value.strip("\"'") if argument == "step_rules" else above_zero(value)), arguments

    return ask


RATE_ASKS: Mapping[str, Callable[[_Given], _Answer]] = {
    "lr_scheduler": _lr_scheduler,
    "warmup_steps": _steps("lr_warmup_steps", share=False),
    "warmup_share": _steps("lr_warmup_steps", share=True),
    "lr_decay_steps": _steps("lr_decay_steps", share=False),
    "lr_decay_share": _steps("lr_decay_steps", share=True),
    "lr_cycles": _lr_cycles,
    "lr_power": _when_read("lr_scheduler_power"),
    "lr_timescale": _when_read("lr_scheduler_timescale"),
    "lr_min_ratio": _when_read("lr_scheduler_min_lr_ratio"),
    "lr_end": _argument("polynomial"),
    "lr_step_rules": _argument("piecewise_constant"),
}
"""What becomes clora's settings of the learning rate, by their names."""


def scheduler_name(settings: Settings) -> str:
    """As sd-scripts calls it: a constant rate has a name of its own where it has a warm-up."""
    name = settings.rate.lr_scheduler
    warms_up = settings.rate.warmup_share or settings.schedule.warmup_steps
    return _WITH_WARMUP if name == _CONSTANT and warms_up else name


def scheduler_arguments(settings: Settings) -> list[str] | None:
    """lr_scheduler_args; None: there is nothing to say."""
    argument, name = _ARGUMENTS.get(settings.rate.lr_scheduler, ("", ""))
    value = getattr(settings.rate, name) if name else None
    return None if value is None else [f"{argument}={value!r}"]


def scheduler_cycles(settings: Settings) -> int | None:
    """lr_scheduler_num_cycles; None: there is nothing to say, or sd-scripts cannot count it."""
    name, cycles = settings.rate.lr_scheduler, settings.rate.lr_cycles
    if cycles is None or name not in _READ["lr_scheduler_num_cycles"]:
        return None
    count = 2 * cycles if name in _HALVED else cycles
    return int(count) if count == int(count) else None
