"""What is told before a run about the LoRA that is trained."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from clora_ext.config.settings import Settings
from clora_ext.formats.text import quoted
from clora_ext.runs.layer_rank import layer_rank

from .wording import printable

if TYPE_CHECKING:
    from clora_ext.runs.plan import Plan

__all__ = ["lora_facts"]


def lora_facts(plan: "Plan") -> dict[str, str]:
    """Its size, what it begins as, what holds it back, and what of its steps is learned."""
    held_back = "; ".join(_held_back(plan.settings))
    averaged = f"the average of the last steps (EMA {plan.ema_decay:g})" if plan.ema_decay else ""
    adapter = f"{_strength(plan)}, in {len(plan.targets)} layers, {plan.parameters:,} parameters"
    return {
        "adapter": f"{adapter}{_own_row(plan)}{_beginning(plan)}",
        **({"held back": held_back} if held_back else {}),
        **({"learned": averaged} if averaged else {}),
    }


def _strength(plan: "Plan") -> str:
    """Rank and alpha, of which there may be several."""
    found = {layer_rank(target, plan.settings) for target in plan.targets}
    ranks, alphas = sorted({one.rank for one in found}), sorted({one.alpha for one in found})
    words = [f"{one[0]:g}" if len(one) == 1 else f"{one[0]:g} to {one[-1]:g}" for one in (ranks, alphas)]
    root = " (rsLoRA: times the root of the rank)" if plan.settings.network.rslora else ""
    beside = f", {plan.magnitudes:,} magnitudes beside it (DoRA)" if plan.magnitudes else ""
    return f"rank {words[0]}, alpha {words[1]}{root}{beside}"


def _held_back(settings: Settings) -> Iterator[str]:
    network = settings.network
    shares = {
        "numbers": network.network_dropout,
        "ranks": network.rank_dropout,
        "layers": network.module_dropout,
    }
    left_out = [f"{share:g} of its {what}" for what, share in shares.items() if share]
    if left_out:
        yield f"a step leaves out {', '.join(left_out)}"
    if network.scale_weight_norms is not None:
        yield f"no layer's change beyond {network.scale_weight_norms:g}"


def _beginning(plan: "Plan") -> str:
    """What the adapter is before it is trained, where that is something."""
    file = None if plan.starting is None else plan.starting.file
    return "" if file is None else f"; begins as {printable(file)}, whose rank and alpha it has"


def _own_row(plan: "Plan") -> str:
    """What learns beside the adapter."""
    from clora_ext.runs.learning_tables import learning_tables

    if not learning_tables(plan):
        return ""
    return f"; and what the text encoder reads {quoted(plan.concept.token)} as"
