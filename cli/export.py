"""`clora export`: the model as files for other programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clora_ext.errors import UsageError
from clora_ext.export import DTYPES
from clora_ext.export.destinations import names

from .option_groups import with_groups
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


TargetArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FILE|DIR",
        help="The new .safetensors file; with --to, the program's folder (of diffusers: the new folder).",
        show_default=False,
    ),
]
_DTYPE = typer.Option(
    help=f"Precision: {', '.join(DTYPES)}. The VAE keeps its own.",
    show_default="as stored, fp32 becomes fp16",
)
_ALL_IN_ONE = typer.Option(
    "--all-in-one", help="Put text encoder and VAE in, where the base is a transformer alone."
)


@dataclass(frozen=True)
class Form:
    """As what the model is written."""

    to: Annotated[
        str | None,
        typer.Option(metavar="PROGRAM", help=f"Put all files where it looks: {', '.join(names())}."),
    ] = None
    name: Annotated[
        str | None,
        typer.Option(help="With --to: what the files are called.", show_default="the project's name"),
    ] = None
    dtype: Annotated[str | None, _DTYPE] = None
    all_in_one: Annotated[bool, _ALL_IN_ONE] = False
    lora: Annotated[
        bool, typer.Option("--lora", help="Write what was learned as one kohya LoRA for the base.")
    ] = False
    rank: Annotated[int | None, typer.Option(help="With --lora: its rank.", show_default=str(_RANK))] = None
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False

    def check(self) -> None:
        """What goes with what.

        Raises:
            UsageError: an option is given that the others leave nothing to say.
        """
        if self.name is not None and self.to is None:
            raise UsageError("--name needs --to", fix="without --to, the file itself bears the name")
        if self.lora and (self.to, self.name, self.dtype, self.all_in_one) != (None, None, None, False):
            message = "--lora does not go with --to, --name, --dtype or --all-in-one"
            raise UsageError(message, fix="write the LoRA to a file, in fp16")
        if self.rank is not None and not self.lora:
            raise UsageError("--rank needs --lora", fix="add --lora, or leave it out")


@with_groups
def export(
    target: TargetArgument,
    *,
    form: Form,
    project: ProjectOption = DEFAULT_PROJECT,
    base: PlaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the model for other programs: one safetensors file, or all that one program wants.

    For ComfyUI, Automatic1111 and Forge, a preview and a card come with it.
    """
    from clora_ext.export import export_checkpoint, export_lora, export_to

    form.check()
    output = Output(as_json=as_json)
    beside: dict[str, Any] = {"overwrite": form.overwrite, "base": base}
    if form.lora:
        with watching(output) as (sink, _):
            learned = export_lora(project, target, form.rank or _RANK, sink=sink, **beside)
        _show_lora(learned, output)
        output.result(learned)
        return

    # The engine refuses any other word itself, and names the nearest.
    beside["all_in_one"] = form.all_in_one
    with watching(output) as (sink, _):
        if form.to is None:
            exported = export_checkpoint(project, target, form.dtype, sink=sink, **beside)
        else:
            exported = export_to(project, form.to, target, form.dtype, name=form.name, sink=sink, **beside)
    _show(exported, output)
    output.result(exported)


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
