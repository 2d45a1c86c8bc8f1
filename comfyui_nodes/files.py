"""Where the nodes write models."""

from pathlib import Path

from clora_ext import ExportedLora, Project, export_checkpoint, export_lora, export_to, families
from clora_ext.errors import ProjectError, UsageError, writing
from clora_ext.export.names import check_name

from . import host
from .pictures import given_folder
from .state import Evolving

__all__ = ["check_taught", "save", "save_lora"]


def check_taught(evolving: Evolving) -> Path:
    """The project's folder.

    Raises:
        ProjectError: it has learned nothing yet.
    """
    if not Project.exists(evolving.folder):
        message = f"the project {evolving.folder.name} has learned nothing yet"
        raise ProjectError(message, fix="connect the PROJECT of Add Concept")
    return evolving.folder


def save(
    evolving: Evolving,
    program: str,
    name: str,
    dtype: str | None,
    webui_folder: str,
    *,
    all_in_one: bool = False,
) -> Path:
    """Export for one program; the model's file.

    For a web UI whose folder is not named, the file goes into the output folder, without the files beside it.
    ``all_in_one``: into ComfyUI with everything that a model in parts has in files of its own.

    Raises:
        CloraError: of the kind and with the remedy that fits what is wrong.
    """
    project, stem = check_taught(evolving), check_name(name)
    with host.watching() as sink:
        if program != "comfyui" and not webui_folder.strip():
            _refuse_parts(project)
            target = made_folder(f"clora-{program}") / f"{stem}.safetensors"
            return export_checkpoint(project, target, dtype, overwrite=True, sink=sink).path
        folder = host.program_folder() if program == "comfyui" else given_folder(webui_folder)
        everything = all_in_one and program == "comfyui"
        return export_to(
            project, program, folder, dtype, name=stem, overwrite=True, sink=sink, all_in_one=everything
        ).path


def _refuse_parts(project: Path) -> None:
    """Web interfaces know models of diffusion alone.

    Raises:
        UsageError: the project's model is another one.
    """
    base = Project.open(project).base
    family = None if base is None else families.load(base.family)
    if family is not None and family.companions:
        raise UsageError(f"web UIs cannot load {family.title}", fix="choose comfyui as the target")


def save_lora(evolving: Evolving, name: str, rank: int) -> ExportedLora:
    """Everything learned since the base as a LoRA of that name, where ComfyUI lists it at once.

    Raises:
        CloraError: of the kind and with the remedy that fits what is wrong.
        InterruptProcessingException: the user has cancelled; no file is written.
    """
    project = check_taught(evolving)
    target = made_folder("loras") / f"{check_name(name)}.safetensors"
    with host.watching() as sink:
        return export_lora(project, target, rank, overwrite=True, sink=sink)


def made_folder(name: str) -> Path:
    """A folder in the output folder."""
    folder = host.output_folder(name)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder
