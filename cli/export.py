"""`clora export`: the model as one file for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from clora_ext.export import DTYPES, export_checkpoint

from .options import DEFAULT_PROJECT, JsonOption, ProjectOption
from .output import Output
from .watching import watching
from .wording import size

__all__ = ["EPILOG", "export"]

EPILOG = "Example: clora export --dtype fp16 ~/ComfyUI/models/checkpoints/my_model.safetensors"


def export(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The new .safetensors file.", show_default=False)
    ],
    *,
    dtype: Annotated[
        str | None,
        typer.Option(help=f"Precision: {', '.join(DTYPES)}.", show_default="as stored, byte for byte"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    project: ProjectOption = DEFAULT_PROJECT,
    as_json: JsonOption = False,
) -> None:
    """Write the model as one safetensors file.

    For ComfyUI, Automatic1111, Forge and others.
    """
    output = Output(as_json=as_json)
    # The engine refuses any other word itself, and names the nearest.
    with watching(output) as (sink, _):
        exported = export_checkpoint(project, file, dtype, overwrite=overwrite, sink=sink)
    output.facts(
        {
            "exported": exported.path,
            "size": size(exported.bytes),
            "precision": exported.dtype,
            "content": exported.content_hash,
        }
    )
    output.result(exported)
