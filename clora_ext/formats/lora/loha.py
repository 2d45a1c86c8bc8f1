"""LoHa: the elementwise product of two pairs of factors, each with a core in LyCORIS' Tucker form."""

from clora_ext.adapters.factors import Factors
from clora_ext.adapters.products import HadamardDelta

from .alpha import AlphaRule
from .keys import Role
from .pair import times_core
from .parts import Parts, trimmed

__all__ = ["check_loha", "loha_rank", "read_loha"]

_FACTORS: tuple[Role, ...] = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")


def check_loha(parts: Parts) -> None:
    """All four factors are there and fit the site and each other; both cores, or none."""
    parts.require(*_FACTORS)
    shape, rank = trimmed(parts.site.shape), loha_rank(parts)
    if len(shape) < 2:  # noqa: PLR2004 - a vector has no inputs
        raise parts.misfit(*_FACTORS)
    if "hada_t1" not in parts and "hada_t2" not in parts:
        columns = parts.site.matrix[1]
        for a, b in (_FACTORS[:2], _FACTORS[2:]):
            parts.check_shapes({a: (shape[0], rank), b: (rank, columns)})
        return
    parts.require("hada_t1", "hada_t2")
    core = (rank, rank, *parts.site.shape[2:])
    parts.check_shapes({"hada_t1": core, "hada_t2": core})
    for a, b in (_FACTORS[:2], _FACTORS[2:]):
        parts.check_shapes({a: (rank, shape[0]), b: (rank, shape[1])})


def loha_rank(parts: Parts) -> int:
    """Of each of the two pairs of factors."""
    first = parts.shape("hada_w1_b")
    return first[0] if first else 0


def read_loha(parts: Parts, alphas: AlphaRule) -> HadamardDelta:
    """alpha / rank * (w1_a @ w1_b) * (w2_a @ w2_b): LyCORIS' ``functional.loha.diff_weight``."""
    rank = loha_rank(parts)
    first = _product(parts, "hada_w1_a", "hada_w1_b", "hada_t1")
    second = _product(parts, "hada_w2_a", "hada_w2_b", "hada_t2")
    return HadamardDelta(first, second, alphas.alpha(parts, rank) / rank)


def _product(parts: Parts, a: Role, b: Role, core: Role) -> Factors:
    """One of the two low-rank matrices; LyCORIS' ``rebuild_tucker`` where there is a core."""
    up, down = parts.read(a), parts.read(b)
    if core in parts:
        down = times_core(parts.read(core), down)
        up = up.T.contiguous()
    return Factors(down.flatten(start_dim=1), up, float(down.shape[0]))
