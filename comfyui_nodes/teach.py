"""Teach a project, or a copy of it, while ComfyUI watches."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from clora_ext import (
    Lora,
    Pictures,
    Project,
    Request,
    Settings,
    add_concept,
    make_plan,
    suggested_settings,
)
from clora_ext.config.processes import check_single_process
from clora_ext.errors import UsageError
from clora_ext.events import Event, TrainStep
from clora_ext.project import copy_project
from clora_ext.runs.asked_settings import asked_settings
from clora_ext.runs.fit_memory import fit_memory
from clora_ext.runs.request import asked_statements
from clora_ext.runs.result import Result
from clora_ext.sampling.contact_sheet import read_sheet_metadata

from . import host
from .state import Dataset, Evolving, Report, current, project_folder

__all__ = ["teach", "teach_lora"]

_EMPTY = (64, 64)


def teach(
    evolving: Evolving,
    dataset: Dataset,
    preset: str,
    requested: Mapping[str, Any],
    copy_to: str,
    memory: float = 0.0,
) -> tuple[Evolving, Report, Image.Image]:
    """One more concept from pictures.

    Args:
        evolving: the project.
        dataset: the pictures.
        preset: what the settings begin as.
        requested: settings by their names, where the user wants others.
        copy_to: name of a copy that is taught instead; empty: none.
        memory: GB of a card that it is made to fit into; 0: it is not.

    Raises:
        CloraError: of the kind and with the remedy that fits what is wrong.
        InterruptProcessingException: the user has cancelled; the next run goes on from there.
    """
    check_single_process()  # a graph runs in one
    evolving = current(evolving)
    target = _target(evolving, copy_to)
    prediction, zero_snr = evolving.said
    asked = asked_statements(prediction, zero_snr=zero_snr, variant=evolving.variant)
    base = _new_base(evolving, target)
    suggested = suggested_settings(target, base, asked)
    request = Request(
        source=Pictures(dataset.folder),
        project=target,
        base=base,
        token=dataset.token,
        class_name=dataset.class_name,
        settings=asked_settings(suggested, preset, requested),
        prediction=prediction,
        zero_snr=zero_snr,
        text_encoder_file=evolving.companions.get("text_encoder"),
        vae_file=evolving.companions.get("vae"),
        variant=evolving.variant,
    )
    request = _fitted(request, memory, requested)
    if Project.exists(target):
        _check_copy(evolving, Project.open(target), request)
    return _taught(evolving, request)


def _fitted(request: Request, memory: float, requested: Mapping[str, Any]) -> Request:
    """As it fits into so many GB; each way to take less is told.

    Raises:
        UsageError: that is too little to be meant.
    """
    if not memory:
        return request
    if memory < 1:
        raise UsageError(f"memory {memory:g} is no number of GB", fix="give one from 1 on, or 0")
    chosen = {name for name, value in requested.items() if value is not False}  # a switch that is off is not
    fitted = fit_memory(request, memory, chosen)
    for change in fitted.changes:
        host.tell(f"for {memory:g} GB: {change}")
    if not fitted.fits:
        host.tell(
            f"it takes more than {memory:g} GB have, whatever is changed: a lower resolution takes less"
        )
    return fitted.request


def teach_lora(
    evolving: Evolving,
    file: Path,
    joined: tuple[str, Mapping[str, Any]],
    weight: float,
    named: tuple[str | None, str | None],
    copy_to: str,
) -> tuple[Evolving, Report, Image.Image]:
    """One more concept from a finished LoRA; ``joined``: by which strategy with which options.

    ``named``: its token and class.

    Raises:
        CloraError: of the kind and with the remedy that fits what is wrong.
    """
    evolving = current(evolving)
    target = _target(evolving, copy_to)
    token, class_name = named
    strategy, options = joined
    settings = Settings.of(strategy=strategy, strategy_options=options)
    request = Request(
        Lora(file, weight), target, _new_base(evolving, target), token, class_name, settings,
        prediction=evolving.said[0], zero_snr=evolving.said[1],
        text_encoder_file=evolving.companions.get("text_encoder"), vae_file=evolving.companions.get("vae"),
        variant=evolving.variant,
    )  # fmt: skip
    return _taught(evolving, request)


def _new_base(evolving: Evolving, target: Path) -> Path | None:
    """What a new project starts from; a project knows its own base."""
    return None if Project.exists(target) else evolving.base


def _target(evolving: Evolving, copy_to: str) -> Path:
    """The project to teach: itself, or a copy, made now if it is not there yet."""
    if not copy_to.strip():
        return evolving.folder
    target = project_folder(copy_to.strip())
    if target == evolving.folder:
        raise UsageError(f"the copy cannot have the project's own name {copy_to!r}", fix="choose another")
    if Project.exists(evolving.folder) and not Project.exists(target):
        copy_project(evolving.folder, target)
    return target


def _check_copy(evolving: Evolving, target: Project, request: Request) -> None:
    """A copy that has gone its own way is not taught by mistake.

    Raises:
        UsageError: it has.
    """
    source = Project.open(evolving.folder).concepts if Project.exists(evolving.folder) else ()
    if target.concepts == source or make_plan(request).learned is not None:
        return
    message = f"{target.folder.name} is no longer a copy of this project in this state"
    raise UsageError(message, fix="choose another name for the copy, or delete its folder")


def _taught(evolving: Evolving, request: Request) -> tuple[Evolving, Report, Image.Image]:
    """Teach, and the state after it."""
    losses: list[float] = []
    with host.alone() as clear, host.watching() as watch:

        def sink(event: Event) -> None:
            watch(event)
            if isinstance(event, TrainStep):
                losses.append(event.loss)

        result = add_concept(request, sink, on_plan=lambda plan: clear())
    metadata = None if result.sheet is None else read_sheet_metadata(result.sheet)
    after = evolving.taught(request.project, result.checkpoint)
    return after, Report(result, metadata.losses if metadata else tuple(losses)), _sheet(result)


def _sheet(result: Result) -> Image.Image:
    """The contact sheet; of a concept without one, which another program has taught, an empty picture."""
    if result.sheet is None:
        return Image.new("RGB", _EMPTY)
    with Image.open(result.sheet) as sheet:
        return sheet.convert("RGB")
