"""`clora export`: the model as files for other programs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clora_ext.errors import UsageError
from clora_ext.export import DTYPES, export_checkpoint, export_to
from clora_ext.export.destinations import names

from .options import DEFAULT_PROJECT, JsonOption, ProjectOption
from .output import Output
from .watching import watching
from .wording import printable, size

if TYPE_CHECKING:
    from clora_ext.export import Exported

__all__ = ["EPILOG", "export"]

EPILOG = """Example: clora export my_model.safetensors

Example: clora export --to comfyui --name my_model ~/ComfyUI

Example: clora export --to a1111 ~/stable-diffusion-webui

Example: clora export --to diffusers my_model_folder"""


def export(
    target: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|DIR",
            help="The new .safetensors file; with --to, the program's folder (of diffusers: the new folder).",
            show_default=False,
        ),
    ],
    *,
    to: Annotated[
        str | None,
        typer.Option(metavar="PROGRAM", help=f"Put all files where it looks: {', '.join(names())}."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="With --to: what the files are called.", show_default="the project's name"),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help=f"Precision: {', '.join(DTYPES)}. The VAE keeps its own.",
            show_default="as stored, fp32 becomes fp16",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    project: ProjectOption = DEFAULT_PROJECT,
    as_json: JsonOption = False,
) -> None:
    """Write the model for other programs: one safetensors file, or all that one program wants.

    For ComfyUI, Automatic1111 and Forge, a preview and a card come with it.
    """
    output = Output(as_json=as_json)
    if name is not None and to is None:
        raise UsageError("--name goes with --to", fix="without --to, the file itself bears the name")
    # The engine refuses any other word itself, and names the nearest.
    with watching(output) as (sink, _):
        if to is None:
            exported = export_checkpoint(project, target, dtype, overwrite=overwrite, sink=sink)
        else:
            exported = export_to(project, to, target, dtype, name=name, overwrite=overwrite, sink=sink)
    _show(exported, output)
    output.result(exported)


def _show(exported: "Exported", output: Output) -> None:
    """What was written, for people."""
    facts: dict[str, object] = {
        "exported": exported.path,
        "size": size(exported.bytes),
        "precision": exported.dtype,
    }
    if exported.content_hash is not None:
        facts["content"] = exported.content_hash
    output.facts(facts)
    if len(exported.files) > 1:
        output.show("")
        output.show("files:")
        sizes = [size(file.bytes) for file in exported.files]
        for file, told in zip(exported.files, sizes, strict=True):
            output.show(f"{told:>{max(map(len, sizes))}}  {printable(file.path)}")
    if exported.next_step:
        output.show("")
        output.show(f"next: {exported.next_step}")
