"""The ComfyUI nodes: the same call as the command, on a canvas. Installed as `clora_ext.comfyui_nodes`.

Importing this needs no ComfyUI: its modules are loaded when ComfyUI asks for the nodes.
"""

from pathlib import Path
from typing import Any

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]

WEB_DIRECTORY = str(Path(__file__).parent / "web")
"""Help pages, absolute: the pack may be reached through a shim in another folder."""


def comfy_entrypoint() -> Any:
    """The extension, as ComfyUI asks for it."""
    from .extension import Clora

    return Clora()
