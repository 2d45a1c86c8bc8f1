"""The evolving model as files that other programs load.

What exports is imported when it is first asked for: the command line shows the precisions in its help.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .dtypes import DTYPES

if TYPE_CHECKING:
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

_HOMES = {
    "Exported": "run",
    "ExportedLora": "lora",
    "Written": "run",
    "export_checkpoint": "run",
    "export_lora": "lora",
    "export_to": "run",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public object
    """Import the module that holds ``name``."""
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
