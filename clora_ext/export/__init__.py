"""The evolving model as files that other programs load."""

from .dtypes import DTYPES
from .run import Exported, Written, export_checkpoint, export_to

__all__ = ["DTYPES", "Exported", "Written", "export_checkpoint", "export_to"]
