"""Generate pictures with a project's model or any checkpoint that clora knows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from clora_ext import families
from clora_ext.config.settings import PromptSettings, Settings
from clora_ext.data.captions import mentions
from clora_ext.errors import SettingsError, UsageError, writing
from clora_ext.events import Note, Sampled, SampleStep, Sink, Stage, ignore
from clora_ext.families.place import find_place
from clora_ext.families.variant import ToldVariant, tell_variant
from clora_ext.formats.folder_files import index_in
from clora_ext.formats.statements import Statement
from clora_ext.project import ConceptRecord, Project
from clora_ext.project.base import check_said, recorded_statements

from .recorded import recorded_reading

if TYPE_CHECKING:
    from clora_ext.families.base import Family
    from clora_ext.families.model import Model
    from clora_ext.formats.checkpoint import Checkpoint
    from clora_ext.formats.header import Header

__all__ = ["GenerateRequest", "generate"]

_LARGEST_COUNT = 1000
_STEPS, _GUIDANCE = 30, 4.0


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """What to generate.

    Attributes:
        prompt: what the pictures show.
        negative: what to steer away from.
        count: how many.
        seed: of the first picture; the following ones count up.
        steps: denoising steps; None: as few as the model's variant was distilled for, else 30.
        guidance: classifier-free guidance scale; 1 switches it off; None: as its variant wants it, else 4.
        size: side of the square pictures, pixels; None: the model's own.
        clip_skip: layer of SD1's text encoder that is read, from its end; None: as the concept that the
            prompt names was taught, or the last; a checkpoint's 1.
        max_token_length: how much of the prompt is read: 75, 150 or 225 tokens; None: likewise, 75.
    """

    prompt: str
    negative: str = ""
    count: int = 4
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    size: int | None = None
    clip_skip: int | None = None
    max_token_length: int | None = None

    def check(self) -> None:
        """Raise :class:`UsageError` for numbers with which nothing can be drawn."""
        if not 1 <= self.count <= _LARGEST_COUNT:
            raise UsageError(f"cannot draw {self.count} pictures", fix=f"choose 1 to {_LARGEST_COUNT}")
        if self.steps is not None and not 1 <= self.steps <= 1000:  # noqa: PLR2004 - length of the noise schedule
            raise UsageError(f"cannot draw in {self.steps} steps", fix="choose 1 to 1000")
        if not 0 <= self.seed < 2**63 - _LARGEST_COUNT:
            raise UsageError(f"seed {self.seed} is out of range", fix="choose a number from 0")


def generate(
    source: Path,
    request: GenerateRequest,
    output: Path | None = None,
    sink: Sink = ignore,
    base: Path | None = None,
    said: Sequence[Statement] = (),
    companions: Mapping[str, Path] = MappingProxyType({}),
) -> list[Path]:
    """Generate pictures and write them as PNG files.

    Args:
        source: a project's folder, a checkpoint file or a diffusers folder.
        request: what to generate.
        output: a ``.png`` file (a number is put before its ending when there are several pictures) or a
            folder; None: the folder ``pictures`` inside the project, or beside the checkpoint.
        sink: told what happens; may raise Cancelled to stop.
        base: where a project's base lies now, which is drawn with before the first concept; None: where it
            was.
        said: what the user says of the model; a project keeps to what it has recorded of what it predicts.
        companions: files of what a checkpoint lacks (``text_encoder``, ``vae``); those that are not given are
            looked for beside it, and of a project, where they were.

    Returns:
        The files, in the order of their seeds. No file is overwritten.
    """
    from clora_ext.config.memory import reporting_out_of_memory
    from clora_ext.config.precision import pick_precision

    request.check()
    checkpoint = _open(source, base, said, companions)
    family = families.detect(checkpoint.header, checkpoint.path)
    request = _suited(
        request, tell_variant(family.title, family.variants, checkpoint.path, checkpoint.header)
    )
    multiple, size = family.size_multiple(checkpoint.header), _size(request, family, checkpoint.header)
    sink(Stage("sample", request.prompt))
    reading = family.readable(checkpoint.header, _reading(source, request))
    model = family.load(checkpoint, pick_precision()).reading(reading)
    for note in _notes(source, request, model):
        sink(Note(note))
    smaller = max(multiple, size // 2 - size // 2 % multiple)
    with reporting_out_of_memory("drawing", [f"--size {smaller}"] if smaller < size else []):
        images: list[Any] = model.sample(
            request.prompt,
            negative=request.negative,
            seeds=range(request.seed, request.seed + request.count),
            steps=request.steps or _STEPS,
            guidance=_GUIDANCE if request.guidance is None else request.guidance,
            size=size,
            on_step=lambda done, total: sink(SampleStep(done, total)),
        )
    files = []
    for image, target in zip(images, _targets(source, request, output), strict=True):
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            image.save(target, format="PNG")
        sink(Sampled(target))
        files.append(target)
    return files


def _suited(request: GenerateRequest, told: ToldVariant | None) -> GenerateRequest:
    """With steps and guidance that suit the variant, where none are asked."""
    wished = {} if told is None else told.variant.suggested
    steps, guidance = wished.get("sample_steps"), wished.get("guidance")
    return replace(
        request,
        steps=steps if request.steps is None else request.steps,
        guidance=guidance if request.guidance is None else request.guidance,
    )


def _size(request: GenerateRequest, family: "Family", header: "Header") -> int:
    """Side of the pictures, pixels.

    Raises:
        UsageError: the model draws none of that size.
    """
    multiple, size = family.size_multiple(header), request.size or family.resolution(header)
    if size % multiple:
        nearest = max(multiple, size - size % multiple)
        raise UsageError(f"size {size} is not a multiple of {multiple}", fix=f"use {nearest}")
    return size


def _notes(source: Path, request: GenerateRequest, model: "Model") -> Iterator[str]:
    """What of the prompts is not read, or means nothing any more."""
    for prompt in (request.prompt, request.negative):
        if cut := model.tokens_cut(prompt):
            yield f"the prompt is too long: its last {cut} tokens are not read"
    for record in _removed(source):
        if mentions(request.prompt, record.token):
            yield f"{record.trigger} was removed from the model: {record.token} is a word like any other"


def _open(
    source: Path, base: Path | None, said: Sequence[Statement], companions: Mapping[str, Path]
) -> "Checkpoint":
    """The model that ``source`` stands for.

    Raises:
        UsageError: a project has recorded that its model predicts something else.
    """
    if source.is_file() or index_in(source) is not None:
        return find_place(source, companions).open(*said)
    project = Project.open(source)
    kept = recorded_statements(project.base)
    check_said(source, kept, said)
    return project.model_place(base, companions).open(*said, *kept)


def _reading(source: Path, request: GenerateRequest) -> PromptSettings:
    """How the prompts are read.

    Raises:
        SettingsError: in no way that there is.
    """
    wished = {"clip_skip": request.clip_skip, "max_token_length": request.max_token_length}
    given = {name: value for name, value in wished.items() if value is not None}
    settings = replace(Settings(), prompts=_as_taught(source, request.prompt)).with_values(**given)
    if problems := settings.problems():
        raise SettingsError(problems)
    return settings.prompts


def _as_taught(source: Path, prompt: str) -> PromptSettings:
    """As texts of the last concept that the prompt names are read, or of the last that there is."""
    if source.is_file() or not Project.exists(source):
        return PromptSettings()
    held = Project.open(source).held
    named = [record for record in held if mentions(prompt, record.token)] or list(held)
    return recorded_reading(named[-1]) if named else PromptSettings()


def _removed(source: Path) -> list[ConceptRecord]:
    """Concepts of a project that are no longer in its model, and whose token no other one has."""
    if source.is_file() or not Project.exists(source):
        return []
    project = Project.open(source)
    now = {token.casefold() for token in project.tokens}
    taught = {one.token.casefold(): one for one in project.concepts if one.reweighting is None}
    return [record for token, record in taught.items() if token not in now]


def _targets(source: Path, request: GenerateRequest, output: Path | None) -> list[Path]:
    """One file name that is free for every picture."""
    if output is not None and output.suffix.lower() == ".png":
        folder, stem = output.parent, output.stem
        names = [stem] if request.count == 1 else [f"{stem}-{i}" for i in range(1, request.count + 1)]
    else:
        folder = output or (source if source.is_dir() else source.parent) / "pictures"
        words = (
            "".join(c if c.isalnum() else "-" for c in request.prompt.lower())[:60].strip("-") or "picture"
        )
        names = [f"{words}-{request.seed + i}" for i in range(request.count)]
    return [_free(folder, name) for name in names]


def _free(folder: Path, name: str) -> Path:
    """``name.png`` or, if that exists, ``name (2).png`` and so on."""
    target = folder / f"{name}.png"
    number = 2
    while target.exists():
        target = folder / f"{name} ({number}).png"
        number += 1
    return target
