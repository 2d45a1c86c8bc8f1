"""clora: keep teaching one text-to-image model new concepts without losing the old ones.

The public names are loaded when they are first used, so that ``import clora_ext`` is instant.

>>> from clora_ext import Settings
>>> Settings().strategy
'mask'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clora_ext.config.settings import Settings
    from clora_ext.sampling.generate import Drawing, generate
    from clora_ext.errors import CloraError
    from clora_ext.export import Exported, ExportedLora, export_checkpoint, export_lora, export_to
    from clora_ext.ground import suggested_settings
    from clora_ext.inspect import FileReport, inspect_file
    from clora_ext.plan import Plan, Request, make_plan
    from clora_ext.project import Project
    from clora_ext.teaching import (
        LoraPlan,
        LoraRequest,
        Result,
        add_concept,
        add_lora,
        make_lora_plan,
    )

__all__ = [
    "CloraError",
    "Drawing",
    "Exported",
    "ExportedLora",
    "FileReport",
    "LoraPlan",
    "LoraRequest",
    "Plan",
    "Project",
    "Request",
    "Result",
    "Settings",
    "add_concept",
    "add_lora",
    "export_checkpoint",
    "export_lora",
    "export_to",
    "generate",
    "inspect_file",
    "make_lora_plan",
    "make_plan",
    "suggested_settings",
]

_HOMES = {
    "CloraError": "errors",
    "Drawing": "drawing",
    "Exported": "export",
    "ExportedLora": "export",
    "FileReport": "inspect",
    "LoraPlan": "teaching",
    "LoraRequest": "teaching",
    "Plan": "plan",
    "Project": "project",
    "Request": "plan",
    "Result": "teaching",
    "Settings": "config.settings",
    "add_concept": "teaching",
    "add_lora": "teaching",
    "export_checkpoint": "export",
    "export_lora": "export",
    "export_to": "export",
    "generate": "drawing",
    "inspect_file": "inspect",
    "make_lora_plan": "teaching",
    "make_plan": "plan",
    "suggested_settings": "ground",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public object
    """Import the module that holds ``name``."""
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return __all__
