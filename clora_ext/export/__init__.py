"""The evolving model as files that other programs load."""

from .dtypes import DTYPES
from .lora import ExportedLora, export_lora
from .run import Exported, Written, export_checkpoint, export_to

__all__ = [
    "DTYPES",
    "Exported",
    "ExportedLora",
    "Written",
    "export_checkpoint",
    "export_lora",
    "export_to",
]
