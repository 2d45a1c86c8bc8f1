"""Flux.2 klein 4B (base, distilled and models made from them), which reads with Qwen3-4B."""

from .flow.flux2 import FLUX_2_KLEIN
from .flow.kinds import QWEN3_4B
from .flow.layout import FlowLayout
from .flow.vae_kind import FLUX_2

__all__ = ["FAMILY"]

FAMILY = FlowLayout("flux2_klein_4b", FLUX_2_KLEIN, QWEN3_4B, FLUX_2)
