"""What a model's layers read, measured where a strategy asks for it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from clora_ext.adapters.sites import Target
from clora_ext.events import Sink, Stage

if TYPE_CHECKING:
    from clora_ext.adapters.moments import Moment
    from clora_ext.families.model import Model

__all__ = ["measured_inputs"]


def measured_inputs(
    model: "Model",
    layers: Sequence[Target],
    prompts: Sequence[str],
    sample: Callable[[str], object],
    sink: Sink,
    *,
    rounded: bool,
) -> "dict[str, Moment]":
    """See :func:`clora_ext.training.statistics.input_moments`; ``sink`` is told if it begins."""
    from clora_ext.training.statistics import input_moments

    if prompts and layers:
        sink(Stage("measure", "what the layers read"))
    return input_moments(model, layers, prompts, sample, rounded=rounded)
