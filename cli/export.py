"""`clora export`: the model as files for other programs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clora_ext.errors import UsageError
from clora_ext.export import DTYPES
from clora_ext.export.destinations import names

from .options import DEFAULT_PROJECT, JsonOption, PlaceOption, ProjectOption
from .output import Output
from .watching import watching
from .wording import printable, size

if TYPE_CHECKING:
    from clora_ext.export import Exported, ExportedLora

__all__ = ["EPILOG", "export"]

_RANK = 64

EPILOG = """Example: clora export my_model.safetensors

Example: clora export --to comfyui --name my_model ~/ComfyUI

Example: clora export --to a1111 ~/stable-diffusion-webui

Example: clora export --to diffusers my_model_folder

Example: clora export --lora --rank 64 learned.safetensors"""


def export(  # noqa: PLR0913 - an argument for every option: Typer reads the command line so
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
    all_in_one: Annotated[
        bool,
        typer.Option(
            "--all-in-one", help="Put text encoder and VAE in, where the base is a transformer alone."
        ),
    ] = False,
    lora: Annotated[
        bool,
        typer.Option("--lora", help="Write what was learned as one kohya LoRA for the base."),
    ] = False,
    rank: Annotated[int | None, typer.Option(help="With --lora: its rank.", show_default=str(_RANK))] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    project: ProjectOption = DEFAULT_PROJECT,
    base: PlaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the model for other programs: one safetensors file, or all that one program wants.

    For ComfyUI, Automatic1111 and Forge, a preview and a card come with it.
    """
    from clora_ext.export import export_checkpoint, export_lora, export_to

    output = Output(as_json=as_json)
    if name is not None and to is None:
        raise UsageError("--name needs --to", fix="without --to, the file itself bears the name")
    if lora:
        _refuse_others(to, name, dtype, all_in_one or None)
        with watching(output) as (sink, _):
            written = export_lora(project, target, rank or _RANK, overwrite=overwrite, sink=sink, base=base)
        _show_lora(written, output)
        output.result(written)
        return
    if rank is not None:
        raise UsageError("--rank needs --lora", fix="add --lora, or leave it out")

    # The engine refuses any other word itself, and names the nearest.
    with watching(output) as (sink, _):
        if to is None:
            exported = export_checkpoint(
                project, target, dtype, overwrite=overwrite, sink=sink, base=base, all_in_one=all_in_one
            )
        else:
            exported = export_to(
                project,
                to,
                target,
                dtype,
                name=name,
                overwrite=overwrite,
                sink=sink,
                base=base,
                all_in_one=all_in_one,
            )
    _show(exported, output)
    output.result(exported)


def _refuse_others(*others: object) -> None:
    """A LoRA is one file of one kind."""
    if any(other is not None for other in others):
        message = "--lora does not go with --to, --name, --dtype or --all-in-one"
        raise UsageError(message, fix="write the LoRA to a file, in fp16")


def _show_lora(written: "ExportedLora", output: Output) -> None:
    """What was learned, as one LoRA."""
    output.facts(
        {
            "exported": written.path,
            "size": size(written.bytes),
            "LoRA": f"{written.layers} layers, rank {written.rank}",
            "captured": f"{100 * written.captured:.1f} % of what was learned",
        }
    )


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
        for file, text in zip(exported.files, sizes, strict=True):
            output.show(f"{text:>{max(map(len, sizes))}}  {printable(file.path)}")
    if exported.next_step:
        output.show("")
        output.show(f"next: {exported.next_step}")
