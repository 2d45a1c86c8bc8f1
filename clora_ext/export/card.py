"""What an exported model says of itself, in words: for the header, for sidecar files, for people."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from clora_ext.families.base import Family
from clora_ext.formats.header import Header
from clora_ext.formats.prediction import Prediction
from clora_ext.formats.text import one_line
from clora_ext.project import Base, ConceptRecord
from clora_ext.sampling.recorded import recorded_reading

__all__ = ["SMALL", "Card", "make_card"]

SMALL = "clora-small-diffusion-v1"
"""Architecture of the demo model and its like: Stable Diffusion 1's plan in sizes that nobody else knows."""

_LONGEST_NAME = 80
_LONGEST_LICENCE = 500
_LONGEST_LIST = 1000
_DEMO = "clora demo model"


@dataclass(frozen=True, slots=True)
class Card:
    """A model in words.

    Attributes:
        title: its name for people.
        architecture: as modelspec names it, or :data:`SMALL`.
        resolution: side of a square picture, pixels.
        prediction: what the network predicts, and on which noise schedule.
        triggers: the words that call up each concept, oldest first.
        tags: kinds of things it has learned, without repeats.
        description: one paragraph.
        notes: one line for each concept.
        merged_from: the base.
        created: when the last concept was learned, ISO 8601; None: nothing was learned.
        licence: what the base says of its own; None: nothing.
        clip_skip: layer of the text encoder that is to be read, counted from its end.
    """

    title: str
    architecture: str
    resolution: int
    prediction: Prediction
    triggers: tuple[str, ...]
    tags: tuple[str, ...]
    description: str
    notes: str
    merged_from: str
    created: str | None
    licence: str | None
    clip_skip: int

    @property
    def usage_hint(self) -> str:
        """How concepts are called; empty: there are none."""
        if not self.triggers:
            return ""
        skip = f", with clip skip {self.clip_skip}" if self.clip_skip > 1 else ""
        return f"name a concept by its trigger, for example: a photo of {self.triggers[-1]}{skip}"

    @property
    def trigger_phrase(self) -> str:
        """All triggers, of many the newest."""
        return _listed(self.triggers)


def make_card(
    base: Base, concepts: Sequence[ConceptRecord], family: Family, header: Header, name: str | None
) -> Card:
    """The card of a project's model.

    Args:
        base: what it was made from.
        concepts: what it has learned, oldest first.
        family: the kind of model.
        header: of its checkpoint.
        name: what the user calls it; None: it is called by what it has learned.
    """
    triggers = tuple(
        f"{one_line(one.token, _LONGEST_NAME)} {one_line(one.class_name, _LONGEST_NAME)}" for one in concepts
    )
    merged_from = _base_name(base)
    architecture = family.architecture(header)
    kind = f"small {family.title}-like" if architecture is None else family.title
    return Card(
        title=name or _title(triggers, merged_from),
        architecture=architecture or SMALL,
        resolution=family.resolution(header),
        prediction=family.prediction(header),
        triggers=triggers,
        tags=tuple(
            dict.fromkeys(one_line(one.class_name, _LONGEST_NAME).replace(",", " ") for one in concepts)
        ),
        description=_description(kind, merged_from, triggers),
        notes="\n".join(_note(one, trigger) for one, trigger in zip(concepts, triggers, strict=True)),
        merged_from=merged_from,
        created=concepts[-1].created if concepts else None,
        licence=one_line(header.metadata.get("modelspec.license", ""), _LONGEST_LICENCE) or None,
        clip_skip=recorded_reading(concepts[-1]).clip_skip if concepts else 1,
    )


def _title(triggers: Sequence[str], base: str) -> str:
    """A model that nobody named."""
    if not triggers:
        return f"{base}, unchanged"
    more = f" and {len(triggers) - 1} more" if len(triggers) > 1 else ""
    return f"{triggers[-1]}{more} (clora)"


def _description(kind: str, base: str, triggers: Sequence[str]) -> str:
    if not triggers:
        return f"A {kind} model: {base}, unchanged."
    count = "1 concept" if len(triggers) == 1 else f"{len(triggers)} concepts"
    return f"A {kind} model that learned {count} with clora: {_listed(triggers)}. Made from {base}."


def _note(concept: ConceptRecord, trigger: str) -> str:
    facts: Mapping[str, object] = {name: concept.setting(name) for name in ("steps", "rank", "learning_rate")}
    figures = [f"{name.replace('_', ' ')} {value}" for name, value in facts.items() if _is_number(value)]
    return f"{trigger}: {', '.join([concept.strategy, *figures, concept.created[:10]])}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 10**12


def _base_name(base: Base) -> str:
    """The base without the folder it lies in: where it lies is nobody else's business."""
    name = _DEMO if base.path is None else one_line(PurePath(base.path).name, _LONGEST_NAME)
    return f"{name.replace(',', ' ')} (sha256 {base.sha256[:12]})"


def _listed(parts: Iterable[str]) -> str:
    """The parts with commas; if that is too long, the newest (last) ones and the number of the others."""
    kept: list[str] = []
    every = list(parts)
    room = _LONGEST_LIST
    for part in reversed(every):
        room -= len(part) + 2
        if room < 0:
            break
        kept.insert(0, part)
    left = len(every) - len(kept)
    return ", ".join(kept) + (f" and {left} more" if left else "")
