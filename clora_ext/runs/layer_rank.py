"""Rank and alpha of the LoRA in each layer that is taught. Needs no torch."""

from dataclasses import dataclass
from math import prod

from clora_ext.adapters.sites import Target
from clora_ext.config.network_settings import layer_ranks
from clora_ext.config.settings import Settings

__all__ = ["LayerRank", "layer_rank"]


@dataclass(frozen=True, slots=True)
class LayerRank:
    """Of one layer.

    Attributes:
        rank: of its factors.
        alpha: its change is alpha / rank times their product.
    """

    rank: int
    alpha: float


def layer_rank(target: Target, settings: Settings) -> LayerRank:
    """What the settings say of a layer."""
    network = settings.network
    rank, alpha = settings.adapter.rank, settings.adapter.effective_alpha
    if network.conv_rank is not None and prod(target.kernel or ()) > 1:
        rank, alpha = network.conv_rank, network.conv_alpha or float(network.conv_rank)
    for part, other_rank, other_alpha in layer_ranks(network.layer_ranks):
        if part in f"{target.component}.{target.module}":
            rank, alpha = other_rank, other_alpha
    return LayerRank(rank, alpha * network.alpha_factor(rank))
