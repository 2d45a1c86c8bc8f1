"""clora as a ComfyUI node pack: what ComfyUI imports where this repository lies in its ``custom_nodes``."""

import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path


def _import_engine(folder: Path) -> None:
    """Make the engine, and nothing that lies beside it, importable as ``clora_ext``.

    With the repository on ``sys.path``, packages that are called ``cli`` or ``tests`` in it would take
    over those of other packs, and theirs ours.
    """
    spec = spec_from_file_location("clora_ext", folder / "__init__.py")
    module = sys.modules["clora_ext"] = module_from_spec(spec)
    spec.loader.exec_module(module)


if find_spec("clora_ext") is None:  # not installed by pip: the engine lies beside this file
    _import_engine(Path(__file__).parent / "clora_ext")

if (
    __package__
):  # pytest imports this file as no package where the folder's name is no module's, as clora-main
    from .comfyui_nodes import WEB_DIRECTORY, comfy_entrypoint

    __all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
