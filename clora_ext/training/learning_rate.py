"""The learning rate as a function of the step alone: nothing about it has to be kept to go on later."""

from collections.abc import Callable, Mapping
from math import inf
from typing import Any

import torch

from clora_ext.config.settings import Settings

__all__ = ["learning_rates"]


def learning_rates(settings: Settings) -> Callable[[int], float]:
    """The learning rate of every step (from 0): it rises over the warm-up, then goes as the scheduler says.

    Args:
        settings: of a plan, with its number of steps.

    Returns:
        The rate by the step, as :func:`transformers.optimization.get_scheduler` gives it (a scheduler
        that is "constant" has a warm-up too, where one is asked for).
    """
    rate, share = settings.optimizer.learning_rate, _share_of_step(settings)
    return lambda step: rate * share(step)


def _share_of_step(settings: Settings) -> Callable[[int], float]:
    if settings.rate.lr_scheduler == "constant":  # transformers' takes seconds to import
        warmup = settings.schedule.warmup_steps
        return lambda step: min(1.0, step / warmup) if warmup else 1.0
    if settings.rate.lr_scheduler == "piecewise_constant":
        return _pieces(settings.rate.lr_step_rules or "1")
    return _by_transformers(settings)


def _pieces(rules: str) -> Callable[[int], float]:
    """A multiple for all steps before one; the last for all that are left."""
    pieces = []
    for rule in rules.split(","):
        multiple, _, before = rule.partition(":")
        pieces.append((float(multiple), int(before) if before else inf))
    return lambda step: next((multiple for multiple, before in pieces if step < before), pieces[-1][0])


def _by_transformers(settings: Settings) -> Callable[[int], float]:
    from transformers.optimization import get_scheduler

    # It asks an optimiser for its rate, and is asked for no more than its function of the step.
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=settings.optimizer.learning_rate)
    scheduler = get_scheduler(
        settings.rate.lr_scheduler,
        optimizer,
        num_warmup_steps=settings.schedule.warmup_steps,
        num_training_steps=settings.schedule.steps,
        scheduler_specific_kwargs=dict(_arguments(settings)),
    )
    share: Callable[[int], float] = scheduler.lr_lambdas[0]
    return share


def _arguments(settings: Settings) -> Mapping[str, Any]:
    """What a scheduler takes besides the numbers of steps."""
    rate = settings.rate
    cycles = {} if rate.lr_cycles is None else {"num_cycles": rate.lr_cycles}
    arguments: Mapping[str, Mapping[str, Any]] = {
        "cosine": cycles,
        "cosine_with_restarts": {} if rate.lr_cycles is None else {"num_cycles": round(rate.lr_cycles)},
        "polynomial": {"power": rate.lr_power, "lr_end": rate.lr_end},
        "inverse_sqrt": {"timescale": rate.lr_timescale},
        "cosine_with_min_lr": {"min_lr_rate": rate.lr_min_ratio, **cycles},
        "warmup_stable_decay": {
            "num_decay_steps": rate.lr_decay_steps,
            "min_lr_ratio": rate.lr_min_ratio,
            **cycles,
        },
    }
    return arguments.get(rate.lr_scheduler, {})
