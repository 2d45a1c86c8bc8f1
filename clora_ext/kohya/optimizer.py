"""The optimiser, as training files ask for it and as it is written."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from clora_ext.config.algorithm_settings import OPTIMIZERS, optimizer_arguments
from clora_ext.config.settings import Settings
from clora_ext.errors import did_you_mean
from clora_ext.formats.text import quoted

from .finding import Finding
from .judge import Given

__all__ = ["OPTIMIZER_ASKS", "check_optimizer", "optimizer_args"]

_Given = Mapping[str, Given]
_Answer = tuple[Any, Given] | None

_DECAY = "weight_decay"
_USUAL = "AdamW"
_BY_NAME = {name.casefold(): name for name in OPTIMIZERS}
# What files call them by where sd-scripts knows no other name, or is told to import them.
_BY_PATH = {
    f"{kind.module}.{kind.name}".casefold(): name for name, kind in OPTIMIZERS.items() if kind.package
} | {"torch.optim.adamw": "AdamW", "transformers.optimization.adafactor": "Adafactor"}
_NOT_BUILT = frozenset(
    "sgdnesterov sgdnesterov8bit dadaptation dadaptadam dadaptadagrad dadaptadan dadaptadanip dadaptlion "
    "dadaptsgd dadaptadampreprint sgdschedulefree".split()
)
"""Of sd-scripts and of the files that people have, in lower case."""
_SWITCHES = {"use_8bit_adam": "AdamW8bit", "use_lion_optimizer": "Lion"}


def check_optimizer(given: _Given) -> Iterator[Finding]:
    """What is wrong with the optimiser, or to be told about it."""
    chosen = given.get("optimizer_type")
    switches = [given[name] for name in _SWITCHES if name in given and given[name].value]
    for switch in switches:
        if chosen is not None or len(switches) > 1:
            yield switch.finding("error", "stands beside another optimiser", "write optimizer_type alone")
    if chosen is not None and _named(chosen.value) is None:
        yield _unknown(chosen)
    arguments = given.get("optimizer_args")
    if arguments is None:
        return
    try:
        found = optimizer_arguments(_written(arguments.value))
    except ValueError as error:
        yield arguments.finding("error", str(error))
        return
    decay = found.get(_DECAY, 0.0)
    if isinstance(decay, bool) or not isinstance(decay, int | float) or decay < 0:
        yield arguments.finding("error", f"{_DECAY} = {quoted(str(decay))} is no number from 0")


def _unknown(chosen: Given) -> Finding:
    shown, name = quoted(chosen.value), chosen.value.casefold().rsplit(".", 1)[-1]
    if name in _NOT_BUILT:
        return chosen.finding("refuse", f"not built: {shown}", f"choose one of {', '.join(OPTIMIZERS)}")
    message = f"{shown} is no optimiser that clora knows, and it imports nothing that a file names"
    return chosen.finding("refuse", message, did_you_mean(chosen.value, tuple(OPTIMIZERS)))


def _named(written: str) -> str | None:
    """clora's name; None: it knows none."""
    return _BY_NAME.get(written.casefold()) or _BY_PATH.get(written.casefold())


def _chosen(given: _Given) -> str:
    """clora's name of what the file asks for."""
    if "optimizer_type" in given:
        return _named(given["optimizer_type"].value) or _USUAL
    return next((name for key, name in _SWITCHES.items() if key in given and given[key].value), _USUAL)


def _written(pairs: Mapping[str, str]) -> str:
    """Arguments as clora's setting has them: parted by blanks, so that none is in them."""
    return " ".join(f"{name}={''.join(value.split())}" for name, value in pairs.items())


def _optimizer(given: _Given) -> _Answer:
    named = next((given[key] for key in ("optimizer_type", *_SWITCHES) if key in given), None)
    return None if named is None else (_chosen(given), named)


def _weight_decay(given: _Given) -> _Answer:
    """The file's, else the optimiser's own."""
    arguments = given.get("optimizer_args")
    if arguments is not None and _DECAY in arguments.value:
        return float(arguments.value[_DECAY]), arguments
    named = _optimizer(given)
    return None if named is None else (OPTIMIZERS[named[0]].weight_decay, named[1])


def _optimizer_args(given: _Given) -> _Answer:
    arguments = given.get("optimizer_args")
    if arguments is None:
        return None
    others = {name: value for name, value in arguments.value.items() if name != _DECAY}
    return (_written(others), arguments) if others else None


OPTIMIZER_ASKS: Mapping[str, Callable[[_Given], _Answer]] = {
    "optimizer_type": _optimizer,
    "optimizer_args": _optimizer_args,
    "weight_decay": _weight_decay,
}
"""What becomes clora's settings of the optimiser, by their names."""


def optimizer_args(settings: Settings) -> list[str]:
    """The key of that name, with everything that is not the optimiser's default."""
    return [
        f"{_DECAY}={settings.optimizer.weight_decay!r}",
        *(settings.algorithm.optimizer_args or "").split(),
    ]
