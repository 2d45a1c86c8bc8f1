"""Compiling a denoiser: its repeated blocks, each kind once ("regional compilation" in diffusers' words)."""

from typing import Any

__all__ = ["compile_blocks"]

_KINDS_OF_BLOCK = 64


def compile_blocks(denoiser: Any) -> None:  # noqa: ANN401 - each family's is of another class of diffusers
    """Have them compiled when they are next used.

    A kind is compiled for every width, and with adapters on and off: more than torch's usual limit.
    """
    from torch._dynamo import config

    config.recompile_limit = max(config.recompile_limit, _KINDS_OF_BLOCK)
    denoiser.compile_repeated_blocks()
