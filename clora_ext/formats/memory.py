"""How memory files are laid out: what rounding lost, and what a strategy keeps. Needs no torch."""

from .header import Header

__all__ = ["DIGESTS", "PROMPTS_KEY", "RESIDUAL", "STRATEGY_KEY", "WEIGHT", "memory_key", "strategy_bytes"]

STRATEGY_KEY = "clora.strategy"
"""Metadata key of a memory file: whose memory it holds besides the weights."""

PROMPTS_KEY = "clora.prompts"
"""Metadata key: past concepts in words, JSON, if the strategy keeps any."""

RESIDUAL = "residual"
"""Part of a memory: int16 residuals of a tensor that the checkpoint stores in half precision."""

WEIGHT = "weight"
"""Part of a memory: the float32 values of a tensor that the checkpoint stores in any other dtype."""

DIGESTS = "clora.digests"
"""Entry of a memory: sha256 of each of the checkpoint's n tensors in the order of their names, (n, 32)."""


def memory_key(name: str, part: str) -> str:
    """Name of a part of a tensor or layer in a memory file."""
    return f"{name}::{part}"


def strategy_bytes(header: Header) -> int:
    """Bytes of what the strategy keeps for itself in a memory file: its tensors and its words.

    >>> strategy_bytes(Header({}, {PROMPTS_KEY: "[]"}))
    2
    """
    engines_own = (memory_key("", RESIDUAL), memory_key("", WEIGHT), DIGESTS)
    tensors = sum(info.bytes for name, info in header.tensors.items() if not name.endswith(engines_own))
    return tensors + len(header.metadata.get(PROMPTS_KEY, "").encode())
