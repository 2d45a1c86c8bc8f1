"""clora: keep teaching one text-to-image model new concepts without losing the old ones.

The public names are loaded when they are first used, so that ``import clora_ext`` is instant.

>>> from clora_ext import Settings
>>> Settings().strategy
'distill'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clora_ext.config.settings import Settings
    from clora_ext.data.subset import Subset
    from clora_ext.errors import CloraError
    from clora_ext.export import Exported, ExportedLora, export_checkpoint, export_lora, export_to
    from clora_ext.inspect import FileReport, inspect_file
    from clora_ext.project import Project
    from clora_ext.runs.add_concept import add_concept
    from clora_ext.runs.estimate import Estimate, estimate
    from clora_ext.runs.follow import follow
    from clora_ext.runs.lora_output import LoraOutput
    from clora_ext.runs.make_plan import make_plan
    from clora_ext.runs.plan import Plan
    from clora_ext.runs.request import Lora, Pictures, Request
    from clora_ext.runs.result import Result
    from clora_ext.runs.suggested import suggested_settings
    from clora_ext.runs.weigh import remove, weigh
    from clora_ext.sampling.generate import GenerateRequest, generate

_HOMES = {
    "CloraError": "errors",
    "Estimate": "runs.estimate",
    "Exported": "export",
    "ExportedLora": "export",
    "FileReport": "inspect",
    "GenerateRequest": "sampling.generate",
    "Lora": "runs.request",
    "LoraOutput": "runs.lora_output",
    "Pictures": "runs.request",
    "Plan": "runs.plan",
    "Project": "project",
    "Request": "runs.request",
    "Result": "runs.result",
    "Settings": "config.settings",
    "Subset": "data.subset",
    "add_concept": "runs.add_concept",
    "estimate": "runs.estimate",
    "export_checkpoint": "export",
    "export_lora": "export",
    "export_to": "export",
    "follow": "runs.follow",
    "generate": "sampling.generate",
    "inspect_file": "inspect",
    "make_plan": "runs.make_plan",
    "remove": "runs.weigh",
    "suggested_settings": "runs.suggested",
    "weigh": "runs.weigh",
}

__all__ = [
    "CloraError",
    "Estimate",
    "Exported",
    "ExportedLora",
    "FileReport",
    "GenerateRequest",
    "Lora",
    "LoraOutput",
    "Pictures",
    "Plan",
    "Project",
    "Request",
    "Result",
    "Settings",
    "Subset",
    "add_concept",
    "estimate",
    "export_checkpoint",
    "export_lora",
    "export_to",
    "follow",
    "generate",
    "inspect_file",
    "make_plan",
    "remove",
    "suggested_settings",
    "weigh",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public object
    """Import the module that holds ``name``."""
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return __all__
