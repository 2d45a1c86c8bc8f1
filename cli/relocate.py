"""`clora relocate`: say where a project's base lies now."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from . import completing
from .options import DEFAULT_PROJECT, JsonOption, ProjectOption, TextEncoderFileOption, VaeFileOption
from .output import Output, tick
from .wording import printable

__all__ = ["EPILOG", "relocate"]

EPILOG = "Example: clora relocate /mnt/models/sd_xl_base_1.0.safetensors"


def relocate(
    base: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="The model that the project started from: a file, a diffusers folder, a hub name, "
            "comfyui:NAME or a1111:NAME.",
            autocompletion=completing.bases,
            show_default=False,
        ),
    ],
    *,
    project: ProjectOption = DEFAULT_PROJECT,
    text_encoder_file: TextEncoderFileOption = None,
    vae_file: VaeFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say where the project's base lies now.

    It must be the very same model: its hash is compared. Nothing else changes.
    """
    from clora_ext.project import relocate as relocate_base
    from clora_ext.runs.request import named_companions

    output = Output(as_json=as_json)
    found = relocate_base(project, base, named_companions(text_encoder_file, vae_file)).base
    place = None if found is None else found.path
    what = f"the base lies at {place}" if place else "the base is the built-in demo model, which never moves"
    output.show(Text.assemble(tick(output.answers), printable(what)))
    output.result({"project": project, "base": place})
