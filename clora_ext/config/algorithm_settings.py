"""Which optimiser learns, with which of its own arguments. Needs no torch."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le

from clora_ext.errors import did_you_mean

from .knob import Knob

__all__ = ["OPTIMIZERS", "AlgorithmSettings", "OptimizerKind", "algorithm_problems", "optimizer_arguments"]

OptimizerName = Literal[
    "AdamW",
    "AdamW8bit",
    "PagedAdamW",
    "PagedAdamW8bit",
    "PagedAdamW32bit",
    "Lion",
    "Lion8bit",
    "PagedLion8bit",
    "Adafactor",
    "Prodigy",
    "AdamWScheduleFree",
    "RAdamScheduleFree",
    "ProdigyPlusScheduleFree",
    "CAME",
]
"""By sd-scripts' names, and CAME's own."""


@dataclass(frozen=True, slots=True)
class OptimizerKind:
    """An optimiser that another library brings.

    Attributes:
        module: that has it.
        name: of its class.
        package: what pip calls the library; empty: it is always there.
        own_rate: whether it finds the rate itself, from a learning rate of 1; then it is the same for all
            that is trained.
        averages: whether what it has learned is an average, and not what it trains with.
        weight_decay: that it has by itself.
    """

    module: str
    name: str
    package: str = ""
    own_rate: bool = False
    averages: bool = False
    weight_decay: float = 0.0


def _of_bitsandbytes(name: str) -> OptimizerKind:
    return OptimizerKind(
        "bitsandbytes.optim", name, "bitsandbytes", weight_decay=0.01 if "Adam" in name else 0
    )


OPTIMIZERS: Mapping[str, OptimizerKind] = {
    "AdamW": OptimizerKind("torch.optim", "AdamW", weight_decay=0.01),
    **{
        name: _of_bitsandbytes(name)
        for name in (
            *("AdamW8bit", "PagedAdamW", "PagedAdamW8bit", "PagedAdamW32bit"),
            *("Lion8bit", "PagedLion8bit"),
        )
    },
    "Lion": OptimizerKind("lion_pytorch", "Lion", "lion-pytorch"),
    "Adafactor": OptimizerKind("transformers.optimization", "Adafactor"),
    "Prodigy": OptimizerKind("prodigyopt", "Prodigy", "prodigyopt", own_rate=True),
    "AdamWScheduleFree": OptimizerKind("schedulefree", "AdamWScheduleFree", "schedulefree", averages=True),
    "RAdamScheduleFree": OptimizerKind("schedulefree", "RAdamScheduleFree", "schedulefree", averages=True),
    "ProdigyPlusScheduleFree": OptimizerKind(
        "prodigyplus", "ProdigyPlusScheduleFree", "prodigy-plus-schedule-free", own_rate=True, averages=True
    ),
    "CAME": OptimizerKind("pytorch_optimizer", "CAME", "pytorch-optimizer"),
}
"""By their names in settings."""


@dataclass(frozen=True, slots=True)
class AlgorithmSettings:
    """How steps are made of gradients."""

    optimizer_type: Annotated[
        OptimizerName,
        Knob(
            "Optimiser. All but AdamW and Adafactor come with libraries of their own (pip install "
            '"clora[train]"); Prodigy and ProdigyPlusScheduleFree find their rate from a learning rate of 1.'
        ),
    ] = "AdamW"
    optimizer_args: Annotated[
        str | None,
        Knob('Its own arguments, such as "betas=0.9,0.99 d_coef=2".', default_text="its own"),
    ] = None
    text_encoder_lr: Annotated[
        float | None,
        Gt(0),
        Knob("Learning rate of the text encoders.", default_text="that of the UNet", step=0.00001),
    ] = None
    loraplus_ratio: Annotated[
        float | None,
        Gt(0),
        Knob("The up parts of the LoRA learn so many times faster (LoRA+).", default_text="1"),
    ] = None
    loraplus_unet_ratio: Annotated[
        float | None, Gt(0), Knob("The same in the UNet alone.", default_text="as of all")
    ] = None
    loraplus_text_ratio: Annotated[
        float | None, Gt(0), Knob("The same in the text encoders alone.", default_text="as of all")
    ] = None
    gradient_accumulation_steps: Annotated[
        int, Ge(1), Le(1024), Knob("Batches whose gradients make one step together.")
    ] = 1


def optimizer_arguments(text: str | None) -> dict[str, Any]:
    """The arguments as Python literals; what is none is text.

    >>> optimizer_arguments("betas=0.9,0.99 relative_step=False decay=cautious")
    {'betas': (0.9, 0.99), 'relative_step': False, 'decay': 'cautious'}

    Raises:
        ValueError: one is no ``name=value``, or is given twice; the message says which.
    """
    found: dict[str, Any] = {}
    for part in (text or "").split():
        name, mark, value = part.partition("=")
        if not mark or not name.isidentifier() or not value:
            message = f"{part!r:.80} is no name=value"
            raise ValueError(message)
        if name in found:
            message = f"{name!r:.80} is given twice"
            raise ValueError(message)
        found[name] = _literal(value)
    return found


def _literal(text: str) -> Any:  # noqa: ANN401 - whatever it says
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def algorithm_problems(algorithm: AlgorithmSettings) -> list[str]:
    """What is wrong with the choice here, in words; asks libraries only where arguments are given."""
    kind = OPTIMIZERS[algorithm.optimizer_type]
    if kind.package and find_spec(kind.module.partition(".")[0]) is None:
        return [f"{algorithm.optimizer_type} needs another library: pip install {kind.package}"]
    try:
        given = optimizer_arguments(algorithm.optimizer_args)
    except ValueError as error:
        return [f"--optimizer-args: {error}"]
    known = _parameters(algorithm.optimizer_type) if given else ()
    return [
        f"--optimizer-args: {algorithm.optimizer_type} has no {name!r:.80}; {did_you_mean(name, known)}"
        for name in given
        if name not in known
    ]


@cache
def _parameters(name: str) -> tuple[str, ...]:
    """What the optimiser's class takes, the rate and what clora sets itself aside."""
    import inspect
    from importlib import import_module

    kind = OPTIMIZERS[name]
    found = inspect.signature(getattr(import_module(kind.module), kind.name).__init__).parameters
    ours = {"self", "params", "lr", "args", "kwargs", "fused", "foreach", "capturable", "differentiable"}
    return tuple(one for one in found if one not in ours)
