"""How the learning rate goes over a training."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt

from .knob import Knob

__all__ = ["RateSettings", "Scheduler", "rate_problems"]

Scheduler = Literal[
    "constant",
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "inverse_sqrt",
    "cosine_with_min_lr",
    "warmup_stable_decay",
    "piecewise_constant",
]
"""By the names that transformers, diffusers and sd-scripts share."""


@dataclass(frozen=True, slots=True)
class RateSettings:
    """How the learning rate goes on after its warm-up.

    A plan turns shares into steps: its settings have the numbers of steps.
    """

    lr_scheduler: Annotated[
        Scheduler,
        Knob(
            "How the learning rate goes after the warm-up: it stays (constant) or falls, by the curves of "
            "transformers. piecewise_constant has no warm-up."
        ),
    ] = "constant"
    warmup_share: Annotated[
        float, Ge(0), Lt(1), Knob("Warm-up as a share of all steps, in the place of warm-up steps; 0: none.")
    ] = 0.0
    lr_decay_steps: Annotated[int, Ge(0), Knob("Last steps, in which warmup_stable_decay falls.")] = 0
    lr_decay_share: Annotated[
        float, Ge(0), Lt(1), Knob("The same as a share of all steps, in their place; 0: none.")
    ] = 0.0
    lr_cycles: Annotated[
        float | None,
        Gt(0),
        Knob(
            "Waves of a cosine; of cosine_with_restarts, how often it starts.",
            default_text="half a wave; one start",
            step=0.5,
        ),
    ] = None
    lr_power: Annotated[float, Gt(0), Knob("Power of the polynomial.", step=0.5)] = 1.0
    lr_timescale: Annotated[
        int | None,
        Ge(1),
        Knob("Steps in which inverse_sqrt falls to 0.7.", default_text="as many as the warm-up's"),
    ] = None
    lr_min_ratio: Annotated[
        float,
        Ge(0),
        Lt(1),
        Knob("Share of the rate at which cosine_with_min_lr and warmup_stable_decay end.", step=0.05),
    ] = 0.0
    lr_end: Annotated[float, Ge(0), Knob("Rate at which the polynomial ends.", step=0.0000001)] = 1e-7
    lr_step_rules: Annotated[
        str | None,
        Knob(
            'Multiples of the rate for piecewise_constant, each with the step before which it holds: "1:100,'
            '0.1:200,0.01" is all of it for 100 steps, a tenth up to step 200, then a hundredth.',
            default_text="none",
        ),
    ] = None


_RULE = re.compile(r"\d+(\.\d*)?(e-?\d+)?:[1-9]\d*", re.IGNORECASE)
_LAST_RULE = re.compile(r"\d+(\.\d*)?(e-?\d+)?", re.IGNORECASE)


def rate_problems(rate: RateSettings, learning_rate: float, warmup_steps: int, steps: int) -> list[str]:
    """What is wrong with the values together, in words.

    Args:
        rate: the scheduler.
        learning_rate: at its height.
        warmup_steps: over which it rises.
        steps: of the whole training.
    """
    return [*_rule_problems(rate), *_fall_problems(rate, learning_rate, warmup_steps, steps)]


def _rule_problems(rate: RateSettings) -> Iterator[str]:
    """Of piecewise_constant."""
    rules = rate.lr_step_rules
    if rate.lr_scheduler != "piecewise_constant":
        if rules is not None:
            yield "--lr-step-rules belongs to --lr-scheduler piecewise_constant"
        return
    if rules is None:
        yield "--lr-scheduler piecewise_constant needs --lr-step-rules, such as 1:100,0.1:200,0.01"
        return
    *pieces, last = rules.split(",")
    if not all(_RULE.fullmatch(piece) for piece in pieces) or not _LAST_RULE.fullmatch(last):
        yield f"--lr-step-rules is {rules!r}; write multiples and steps, such as 1:100,0.1:200,0.01"
        return
    ends = [int(piece.partition(":")[2]) for piece in pieces]
    if ends != sorted(set(ends)):
        yield f"--lr-step-rules is {rules!r}; its steps do not rise"


def _fall_problems(rate: RateSettings, learning_rate: float, warmup_steps: int, steps: int) -> Iterator[str]:
    """Of what falls over the steps."""
    if rate.lr_scheduler == "polynomial" and learning_rate <= rate.lr_end:
        yield f"the learning rate is {learning_rate:g}; a polynomial that ends at {rate.lr_end:g} has to fall"
    if rate.lr_scheduler == "cosine_with_restarts" and (rate.lr_cycles or 1) % 1:
        yield f"--lr-cycles is {rate.lr_cycles:g}; cosine_with_restarts starts a whole number of times"
    if rate.lr_scheduler != "warmup_stable_decay":
        return
    warmup = int(rate.warmup_share * steps) or warmup_steps
    fall = int(rate.lr_decay_share * steps) or rate.lr_decay_steps
    if not fall:
        yield "--lr-scheduler warmup_stable_decay needs --lr-decay-steps or --lr-decay-share"
    if warmup + fall > steps:
        yield f"a warm-up of {warmup} steps and a fall of {fall} do not fit into {steps} steps"
