"""The dtypes of an exported model and what people call them."""

from collections.abc import Mapping

__all__ = ["DTYPES", "NAMES"]

DTYPES: Mapping[str, str] = {"fp16": "F16", "bf16": "BF16", "fp32": "F32"}
"""Names that users know for the dtypes a checkpoint may be exported in, and safetensors' names of them."""

NAMES: Mapping[str, str] = {ours: name for name, ours in DTYPES.items()}
"""The other way round."""
