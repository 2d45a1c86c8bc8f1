"""Flux.2 klein 9B (base, distilled and models made from them), which reads with Qwen3-8B."""

from .flow.flux2 import FLUX_2_KLEIN_9B
from .flow.kinds import QWEN3_8B
from .flow.layout import FlowLayout
from .flow.vae_kind import FLUX_2

__all__ = ["FAMILY"]

FAMILY = FlowLayout("flux2_klein_9b", FLUX_2_KLEIN_9B, QWEN3_8B, FLUX_2)
