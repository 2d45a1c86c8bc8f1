"""LoRA: a pair of factors, with a third between them in LyCORIS' Tucker form."""

import torch

from clora_ext.adapters.factors import Factors

from .alpha import AlphaRule
from .parts import Parts, trimmed

__all__ = ["check_pair", "pair_rank", "read_pair", "times_core"]


def check_pair(parts: Parts) -> None:
    """Both factors are there and fit the site and each other, and so does the third if there is one."""
    parts.require("down", "up")
    shape, rank = trimmed(parts.site.shape), pair_rank(parts)
    if len(shape) < 2:  # noqa: PLR2004 - a vector has no inputs
        raise parts.misfit("down", "up")
    if "mid" not in parts:
        parts.check_shapes({"down": (rank, *shape[1:]), "up": (shape[0], rank)})
        return
    outer = parts.shape("mid")[0] if parts.shape("mid") else 0
    parts.check_shapes(
        {"down": (rank, shape[1]), "mid": (outer, rank, *parts.site.shape[2:]), "up": (shape[0], outer)}
    )


def pair_rank(parts: Parts) -> int:
    """Rows of the first factor."""
    down = parts.shape("down")
    return down[0] if down else 0


def read_pair(parts: Parts, alphas: AlphaRule) -> Factors:
    """The factors in matrix form; a third one is multiplied into the first.

    That is exact: up (mid (down x)) of LyCORIS' ``tucker_weight_from_conv`` is one convolution, ``mid down``,
    and ``up`` behind it.
    """
    down, up = parts.read("down"), parts.read("up").flatten(start_dim=1)
    rank = down.shape[0]
    alpha = alphas.alpha(parts, rank)
    if "mid" in parts:
        down = times_core(parts.read("mid"), down.flatten(start_dim=1))
        alpha *= down.shape[0] / rank  # the scale is by the inner rank, should the outer one differ
    return Factors(down.flatten(start_dim=1), up, alpha)


def times_core(core: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """A core (outer, inner, kernel ...) times the inner factor (inner, in): (outer, in, kernel ...)."""
    return torch.einsum("m n ..., n j -> m j ...", core, down).contiguous()
