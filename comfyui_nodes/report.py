"""What a project knows, in words and pictures."""

from PIL import Image

from clora_ext import GenerateRequest, Project, generate
from clora_ext.errors import ProjectError, UsageError
from clora_ext.events import Event, Stage
from clora_ext.project import ConceptRecord
from clora_ext.project.concept_files import read_outcome_of
from clora_ext.sampling.forgetting import ForgettingRow, forgetting_grid, forgetting_report

from . import host
from .files import check_taught
from .state import Evolving

__all__ = ["about", "compared", "concept_prompt", "drawn"]


def concept_prompt(evolving: Evolving, number: int, prompt: str) -> str:
    """``prompt`` with the words of a concept; number 0 is the last one.

    Raises:
        UsageError: there is no such concept.
    """
    concept = _concept(Project.open(check_taught(evolving)), number)
    words = {
        "{concept}": f"{concept.token} {concept.class_name}",
        "{token}": concept.token,
        "{class}": concept.class_name,
    }
    for name, word in words.items():
        prompt = prompt.replace(name, word)
    return prompt


def _concept(project: Project, number: int) -> ConceptRecord:
    if not 0 <= number <= project.number or not project.number:
        message = f"{project.folder.name} has no concept {number or 1}; it has {project.number}"
        raise UsageError(message, fix="choose the number of a concept that it has")
    return project.concepts[number - 1]


def drawn(evolving: Evolving, wish: GenerateRequest) -> list[Image.Image]:
    """Pictures by clora's own sampler.

    Raises:
        CloraError: of the kind and with the remedy that fits what is wrong.
    """
    folder = host.temporary_folder("clora", "drawn")
    with host.alone() as clear, host.watching() as sink:
        clear()
        source = evolving.folder if Project.exists(evolving.folder) else evolving.checkpoint
        files = generate(source, wish, folder, sink, companions=evolving.companions)
    pictures = []
    for file in files:
        with Image.open(file) as opened:
            pictures.append(opened.convert("RGB"))
        file.unlink()
    return pictures


def compared(evolving: Evolving) -> tuple[Image.Image, str]:
    """Every concept over the versions of the model, and how much it has changed.

    Raises:
        ProjectError: nothing has been learned.
    """
    folder = check_taught(evolving)
    with host.alone() as clear, host.watching() as watch:

        def sink(event: Event) -> None:
            watch(event)
            if isinstance(event, Stage):  # what is not stored is drawn
                clear()

        found = forgetting_report(folder, sink)
    if not found:
        raise ProjectError(f"{folder.name} has learned nothing yet", fix="connect the PROJECT of Add Concept")
    return forgetting_grid(found), "\n".join([*map(_told, found), *_moved(Project.open(folder))])


def _told(one: ForgettingRow) -> str:
    if not one.weight:
        return f"{one.number}. {one.trigger}: removed"
    changes = [
        f"{100 * change:.1f} % after {version}{_kept(one, version)}"
        for version, change in one.changes.items()
    ]
    if not changes:
        new = one.number == max(one.samples)
        return f"{one.number}. {one.trigger}: {'just learned' if new else 'its first drawing is gone'}"
    return f"{one.number}. {one.trigger}: changed since it was learned by {', '.join(changes)}"


def _kept(one: ForgettingRow, version: int) -> str:
    found = one.kept.get(version)
    if found is None:
        return ""
    scores = "" if found.now is None else f": {found.learned:.2f} when learned, {found.now:.2f} now"
    return f" (keeps {found.share:.2f} by {found.scorer}{scores})"


def _moved(project: Project) -> list[str]:
    """What the last concept has moved beside the others."""
    outcome = read_outcome_of(project.folder, project.concepts[-1])
    if outcome is None:
        return []
    told = []
    if outcome.drift is not None:
        far = outcome.drift.distance or outcome.drift.change
        how = f"1 - cosine by {outcome.drift.scorer}" if outcome.drift.distance else "of the pixels' range"
        told.append(f"what nobody has taught is {far.mean:.3f} from the base ({how})")
    if outcome.interference is not None:
        told.append(f"the last change overlaps by {outcome.interference:.3f} with earlier ones (0 to 1)")
    return told


def about(evolving: Evolving) -> str:
    """The project's history as Markdown."""
    if not Project.exists(evolving.folder):
        return f"# {evolving.folder.name}\n\nNothing learned yet. Base: {evolving.checkpoint.name}"
    project = Project.open(evolving.folder)
    base = project.base
    lines = [
        f"# {evolving.folder.name}",
        f"base: {base.path or base.kind} ({base.family})" if base else "",
        f"model: {evolving.checkpoint}",
        f"on disk: {project.disk_usage().total / 1e6:.0f} MB; undo: {project.undoable} concepts back",
        "",
        "| | trigger | strategy | keeps | taught by |",
        "|---|---|---|---|---|",
        *(_row(concept) for concept in project.concepts),
    ]
    return "\n".join(lines)


def _row(concept: ConceptRecord) -> str:
    new = concept.reweighting
    if new is not None:
        became = f"weight {new.weight:g}" if new.weight else "removed"
        return f"| {concept.number} | {concept.trigger} | {became} | {concept.state_level} | |"
    by = f"{len(concept.images)} pictures" if concept.images else str(concept.setting("lora") or "a LoRA")
    words = f"{concept.token} {concept.class_name}"
    return f"| {concept.number} | {words} | {concept.strategy} | {concept.state_level} | {by} |"
