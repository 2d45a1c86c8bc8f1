"""`clora comfyui`: the nodes, into a ComfyUI."""

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from clora_ext.errors import UsageError, writing

from .help_screen import Command, Group
from .options import JsonOption
from .output import Output, tick
from .wording import printable

__all__ = ["EPILOG", "app", "install"]

EPILOG = "Example: clora comfyui install ~/ComfyUI"

_PACK = "clora_ext.comfyui_nodes"
_SHIM = f'''"""clora's nodes, from the installed clora; written by `clora comfyui install`."""

from {_PACK} import WEB_DIRECTORY, comfy_entrypoint

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
'''
_DATA = ("example_workflows", "locales")  # ComfyUI looks for these at the top of a pack only

app = typer.Typer(help="clora's nodes for ComfyUI.", no_args_is_help=True, cls=Group)


@app.command(cls=Command, epilog=EPILOG)
def install(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="ComfyUI's folder.", show_default=False)],
    *,
    as_json: JsonOption = False,
) -> None:
    """Put clora's nodes into a ComfyUI whose Python has clora installed. Done again, it renews them."""
    output = Output(as_json=as_json)
    nodes = folder / "custom_nodes"
    if not nodes.is_dir():
        message = f"{folder} is not a ComfyUI folder; looked for custom_nodes/"
        raise UsageError(message, fix="name the folder that main.py lies in")
    target = nodes / "clora"
    if target.exists() and not _is_ours(target):
        message = f"{target} exists, and `clora comfyui install` has not written it"
        raise UsageError(message, fix="remove it first, if you do not need it")
    _write(target)
    output.show(Text.assemble(tick(output.answers), printable(f"clora's nodes are in {target}")))
    output.show("restart ComfyUI; the example workflows are in its template browser under clora")
    output.result({"folder": target})


def _is_ours(target: Path) -> bool:
    """Whether the folder is a shim of ours."""
    init = target / "__init__.py"
    return init.is_file() and "clora comfyui install" in init.read_text(encoding="utf-8", errors="replace")


def _write(target: Path) -> None:
    """The shim, example workflows and texts."""
    with writing(target):
        target.mkdir(exist_ok=True)
        for name in _DATA:
            shutil.copytree(_data(name), target / name, dirs_exist_ok=True)
        (target / "__init__.py").write_text(_SHIM, encoding="utf-8")


def _data(name: str) -> Path:
    """A data folder of the pack: inside it when installed, beside it in the source tree."""
    found = find_spec(_PACK)
    pack = Path(found.origin).parent if found and found.origin else Path()
    for path in (pack / name, pack.parent / name):
        if found and path.is_dir():
            return path
    message = f"clora's nodes are not installed whole: {name} is missing"
    raise UsageError(message, fix="reinstall clora: pip install --force-reinstall clora")
