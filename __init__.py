"""clora as a ComfyUI node pack: what ComfyUI imports where this repository lies in its ``custom_nodes``."""

import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("clora_ext") is None:  # not installed by pip: the engine lies beside this file
    sys.path.insert(0, str(Path(__file__).parent))

from .comfyui_nodes import WEB_DIRECTORY, comfy_entrypoint

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
