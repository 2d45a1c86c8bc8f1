"""Variants of the LoRA, and what keeps it from learning too much. Needs no torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

from .knob import Knob

__all__ = ["NetworkSettings", "layer_ranks", "network_problems"]


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """Which other layers are taught, how strongly each, and what holds the LoRA back while it is trained."""

    text_encoder_only: Annotated[bool, Knob("Teach the text encoders and nothing of the UNet.")] = False
    conv_rank: Annotated[
        int | None,
        Ge(1),
        Le(4096),
        Knob(
            "Rank of the LoRA in convolutions of 3x3 pixels; the UNet's residual blocks are then taught.",
            default_text="they are not taught",
        ),
    ] = None
    conv_alpha: Annotated[
        float | None, Gt(0), Knob("Alpha of those convolutions.", default_text="their rank", step=1.0)
    ] = None
    layer_ranks: Annotated[
        str | None,
        Knob(
            'Other ranks for layers whose name holds a text, and alpha if it is another: "attn2=16 '
            'mid_block=4:2". The last that fits counts.',
            default_text="one rank",
        ),
    ] = None
    rslora: Annotated[
        bool, Knob("Divide alpha by the root of the rank, so that a higher one is not weaker (rsLoRA).")
    ] = False
    dora: Annotated[
        bool,
        Knob(
            "Train a magnitude of each output beside the LoRA (DoRA). What is folded then has full rank: "
            "strategies that keep LoRAs, or close directions to them, refuse it."
        ),
    ] = False
    network_dropout: Annotated[
        float, Ge(0), Lt(1), Knob("Share of the numbers inside the LoRA that a step leaves out.", step=0.05)
    ] = 0.0
    rank_dropout: Annotated[
        float, Ge(0), Lt(1), Knob("Share of the LoRA's ranks that a step leaves out.", step=0.05)
    ] = 0.0
    module_dropout: Annotated[
        float, Ge(0), Lt(1), Knob("Share of the LoRA's layers that a step leaves out.", step=0.05)
    ] = 0.0
    scale_weight_norms: Annotated[
        float | None,
        Gt(0),
        Knob("No layer's change grows beyond this norm.", default_text="no limit", step=0.1),
    ] = None
    ema_decay: Annotated[
        float | None,
        Ge(0),
        Lt(1),
        Knob(
            "Learn an average of the steps (EMA), in which each counts so many times as much as the next; "
            "0: the last step.",
            default_text="the strategy's own; the last step for one that has none",
            step=0.001,
        ),
    ] = None

    def alpha_factor(self, rank: int) -> float:
        """How many times larger alpha is taken, so that alpha / rank is a LoRA's strength.

        By rsLoRA (arXiv 2312.03732) the strength is alpha / sqrt(rank).

        >>> NetworkSettings(rslora=True).alpha_factor(16), NetworkSettings().alpha_factor(16)
        (4.0, 1.0)
        """
        return sqrt(rank) if self.rslora else 1.0

    @property
    def drops(self) -> bool:
        """Whether steps leave out parts of the LoRA."""
        return any((self.network_dropout, self.rank_dropout, self.module_dropout))


def layer_ranks(text: str | None) -> list[tuple[str, int, float]]:
    """Part of a name, rank and alpha of each rule.

    >>> layer_ranks("attn2=16 mid_block=4:2")
    [('attn2', 16, 16.0), ('mid_block', 4, 2.0)]

    Raises:
        ValueError: a rule is none; the message says which.
    """
    return [_rule(one) for one in (text or "").split()]


def _rule(text: str) -> tuple[str, int, float]:
    part, _, values = text.partition("=")
    rank, _, alpha = values.partition(":")
    try:
        found = part, int(rank), float(alpha or rank)
    except ValueError:
        found = "", 0, 0.0
    if not found[0] or found[1] < 1 or not 0 < found[2] < float("inf"):
        message = f"{text!r:.80} is no PART=RANK or PART=RANK:ALPHA"
        raise ValueError(message)
    return found


def network_problems(network: NetworkSettings) -> Iterator[str]:
    """What is wrong with the values together, in words."""
    if network.conv_alpha is not None and network.conv_rank is None:
        yield "--conv-alpha belongs to --conv-rank"
    if network.text_encoder_only and network.conv_rank is not None:
        yield "--conv-rank teaches the UNet, and --text-encoder-only nothing of it"
    if network.dora and network.scale_weight_norms is not None:
        yield (
            "--scale-weight-norms limits the product of a LoRA's halves, and with --dora a layer's change is "
            "more than that: leave one of the two out"
        )
    try:
        layer_ranks(network.layer_ranks)
    except ValueError as error:
        yield f"--layer-ranks: {error}"
