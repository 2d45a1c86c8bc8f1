"""Further arguments of the LoRA, as training files give them and as they are written."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clora_ext.config.settings import Settings
from clora_ext.formats.text import quoted

from .finding import Finding
from .judge import Given
from .lycoris import LYCORIS, PLAIN_DORA, asks_for_dora, is_plain_dora
from .typed_value import above_zero

__all__ = ["NETWORK_ARGUMENTS", "NETWORK_ASKS", "check_network_args", "network_args"]

_Given = Mapping[str, Given]
_Answer = tuple[Any, Given] | None


@dataclass(frozen=True, slots=True)
class _Argument:
    """One of them.

    Attributes:
        group: of clora's settings.
        knob: in that group.
        read: its value of a text; None: it is none.
        needed: what a value has to be, in words.
    """

    group: str
    knob: str
    read: Callable[[str], Any]
    needed: str


def _whole(text: str) -> int | None:
    return int(text) if text.isdecimal() and int(text) > 0 else None


def _share(text: str) -> float | None:
    """None and 0 alike leave nothing out."""
    if text in {"None", "0"}:
        return 0.0
    value = above_zero(text)
    return value if value is not None and value < 1 else None


_RATIO, _SHARE = "number above 0", "share from 0 to less than 1"
_ARGUMENTS = {
    "conv_dim": _Argument("network", "conv_rank", _whole, "whole number above 0"),
    "conv_alpha": _Argument("network", "conv_alpha", above_zero, _RATIO),
    "rank_dropout": _Argument("network", "rank_dropout", _share, _SHARE),
    "module_dropout": _Argument("network", "module_dropout", _share, _SHARE),
    "loraplus_lr_ratio": _Argument("algorithm", "loraplus_ratio", above_zero, _RATIO),
    "loraplus_unet_lr_ratio": _Argument("algorithm", "loraplus_unet_ratio", above_zero, _RATIO),
    "loraplus_text_encoder_lr_ratio": _Argument("algorithm", "loraplus_text_ratio", above_zero, _RATIO),
}
"""By sd-scripts' names."""

_CONVOLUTIONS = frozenset({"conv_dim", "conv_alpha"})
_CONV_ALPHA = 1.0
"""sd-scripts' where a file gives conv_dim alone."""

NETWORK_ARGUMENTS = frozenset(one.knob for one in _ARGUMENTS.values())
"""Knobs that stand among them."""


def check_network_args(given: _Given) -> Iterator[Finding]:
    """Those that clora does not build, and values that are none."""
    arguments, module = given["network_args"], given.get("network_module")
    if module is not None and module.value == LYCORIS:
        yield from _check_values(arguments)
        return
    for name in arguments.value:
        if name == "dora_wd":
            message = "sd-scripts' own LoRA does not read dora_wd: it would train without"
            how = ", ".join(f"{one}={value}" for one, value in PLAIN_DORA.items())
            yield arguments.finding(
                "refuse", message, f'write network_module = "{LYCORIS}", with {how} as network_args'
            )
        elif name not in _ARGUMENTS:
            fix = f"{', '.join(_ARGUMENTS)} are built"
            yield arguments.finding("refuse", f"not built: {quoted(name)}", fix)
    yield from _check_values(arguments)
    if "conv_alpha" in arguments.value and "conv_dim" not in arguments.value:
        yield arguments.finding("note", "conv_alpha changes nothing without conv_dim")


def _check_values(arguments: Given) -> Iterator[Finding]:
    """Those that are none."""
    for name, value in arguments.value.items():
        if name in _ARGUMENTS and _ARGUMENTS[name].read(value) is None:
            yield arguments.finding("error", f"{name} = {quoted(value)} is no {_ARGUMENTS[name].needed}")


def _asked(name: str, argument: _Argument) -> Callable[[_Given], _Answer]:
    def ask(given: _Given) -> _Answer:
        arguments = given.get("network_args")
        if arguments is None or name not in arguments.value:
            return None
        if name in _CONVOLUTIONS and asks_for_dora(given):
            return None
        return argument.read(arguments.value[name]), arguments

    return ask


def _conv_alpha(given: _Given) -> _Answer:
    arguments = given.get("network_args")
    if arguments is None or "conv_dim" not in arguments.value or asks_for_dora(given):
        return None
    return float(arguments.value.get("conv_alpha", _CONV_ALPHA)), arguments


def _dora(given: _Given) -> _Answer:
    return (True, given["network_args"]) if asks_for_dora(given) else None


def _rslora(given: _Given) -> _Answer:
    """LyCORIS' argument; alpha is divided by the root of the rank there as here."""
    if not asks_for_dora(given) or given["network_args"].value.get("rs_lora", "").lower() != "true":
        return None
    return True, given["network_args"]


NETWORK_ASKS: Mapping[str, Callable[[_Given], _Answer]] = {
    **{argument.knob: _asked(name, argument) for name, argument in _ARGUMENTS.items()},
    "conv_alpha": _conv_alpha,
    "dora": _dora,
    "rslora": _rslora,
}
"""What becomes clora's settings, by their names."""


def network_args(settings: Settings) -> list[str] | None:
    """The key of that name; None: there is nothing to say."""
    values = {
        name: getattr(getattr(settings, argument.group), argument.knob)
        for name, argument in _ARGUMENTS.items()
    }
    rank = values["conv_dim"]
    if rank is not None:
        values["conv_alpha"] = (values["conv_alpha"] or float(rank)) * settings.network.alpha_factor(rank)
    asked = [f"{name}={value}" for name, value in PLAIN_DORA.items()] if is_plain_dora(settings) else []
    asked += [f"{name}={value!r}" for name, value in values.items() if value]
    return asked or None
