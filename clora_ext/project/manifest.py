"""The manifest: the one file that says which state a project is in."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from clora_ext.errors import ProjectError
from clora_ext.formats.strict_json import read_json

from .base import Base
from .migrations import FORMAT_VERSION, migrated
from .reading import damaged, read_record, unknown_fields
from .records import ConceptRecord, State
from .values import NO_UNKNOWN_FIELDS, Whole

__all__ = ["FORMAT_VERSION", "MANIFEST", "Manifest", "read_manifest"]

MANIFEST = "manifest.json"
"""Its file name."""

_LARGEST = 1 << 28  # bytes
_MOST_NAMED = 8
_UNREADABLE = "restore manifest.json from a backup"


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that a project has recorded; in the present format, whatever the format of the file was.

    Attributes:
        base: the model it started from.
        concepts: all of them, the first first.
        states: those whose files are kept, the current one last; none: the project stands at its base.
        format_version: of the file that is written from it.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = NO_UNKNOWN_FIELDS

    # Without defaults: a file that lacks its concepts is damaged, and its models are not to be swept.
    base: Base
    concepts: tuple[ConceptRecord, ...]
    states: tuple[State, ...]
    format_version: Whole = FORMAT_VERSION

    def encode(self) -> str:
        """As JSON; equal manifests give equal text.

        Raises:
            ProjectError: a setting is no plain JSON value.
        """
        try:
            # Escapes keep file names that are not Unicode: they come as lone surrogates, which UTF-8 refuses.
            return json.dumps(asdict(self), indent=2, sort_keys=True, allow_nan=False) + "\n"
        except (TypeError, ValueError, RecursionError) as error:
            message = f"the manifest cannot be written as JSON: {error}"
            raise ProjectError(message, fix="use plain, finite values in settings and options") from error

    @classmethod
    def decode(cls, text: str, where: str = MANIFEST) -> "Manifest":
        """From JSON of this format or an older one; ``where`` names the file in complaints.

        Raises:
            ProjectError: not a manifest, damaged, or written by a newer clora; names the fields.
        """
        try:
            content = read_json(text)
            _check_version(content, where)
            manifest = read_record(cls, migrated(content), where)
        except (ValueError, RecursionError) as error:
            raise ProjectError(f"{where} is not valid JSON: {error}", fix=_UNREADABLE) from error
        problems = [
            *(f".base{problem}" for problem in manifest.base.problems()),
            *_concept_problems(manifest),
            *_state_problems(manifest),
        ]
        if problems:
            raise damaged([f"{where}{problem}" for problem in problems])
        return manifest


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest in ``folder``; None: there is none.

    Raises:
        ProjectError: it cannot be read or used.
    """
    file = folder / MANIFEST
    try:
        with file.open("rb") as opened:
            content = opened.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise damaged([f"{file} has more than {_LARGEST} bytes"])
        return Manifest.decode(content.decode("utf-8"), str(file))
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        message = f"{folder} is a file, not a project folder"
        raise ProjectError(message, fix="name the project's folder") from error
    except UnicodeDecodeError as error:
        raise ProjectError(f"{file} is not UTF-8 text: {error}", fix=_UNREADABLE) from error
    except OSError as error:
        message = f"cannot read {file}: {error.strerror or error}"
        raise ProjectError(message, fix="check the folder's permissions") from error


def _check_version(content: object, where: str) -> None:
    """Asked before anything else: a newer file may look different."""
    version = content.get("format_version") if isinstance(content, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise damaged([f"{where}.format_version is missing or not a version: this is not a clora manifest"])
    if version > FORMAT_VERSION:
        message = f"{where} was written by a newer clora (format {version}; this one reads {FORMAT_VERSION})"
        unknown = unknown_fields(Manifest, content)
        if unknown:
            message += f", with fields that this one does not know: {', '.join(unknown[:_MOST_NAMED])}"
            message += " and more" if len(unknown) > _MOST_NAMED else ""
        raise ProjectError(message, fix="upgrade clora: pip install --upgrade clora")


def _concept_problems(manifest: Manifest) -> Iterator[str]:
    """Numbered without gaps, no token, sheet or kept change twice, each standing on the one before."""
    owners: dict[str, int] = {}
    kept: dict[int, ConceptRecord] = {}
    deltas: set[str] = set()
    parent = manifest.base.sha256
    for index, concept in enumerate(manifest.concepts):
        place = f".concepts[{index}]"
        if concept.number != index + 1:
            yield f"{place}.number is {concept.number}, expected {index + 1}"
        yield from (f"{place}{problem}" for problem in _reweighting_problems(concept, kept))
        if not _take_token(concept, owners):
            yield f"{place}.token belongs to an earlier concept already: {concept.token!r:.80}"
        if concept.parent_hash != parent:
            yield f"{place}.parent_hash is {concept.parent_hash}, the state before is {parent}"
        if concept.sheet is not None and not concept.sheet.startswith(f"{concept.number:03d}-"):
            yield f"{place}.sheet belongs to another concept: {concept.sheet!r}"
        if concept.delta is not None:
            if concept.delta in deltas:
                yield f"{place}.delta belongs to an earlier concept already: {concept.delta!r}"
            deltas.add(concept.delta)
            kept[concept.number] = concept
        parent = concept.content_hash


def _take_token(concept: ConceptRecord, owners: dict[str, int]) -> bool:
    """Note whose a token is from here on; False: it is that of another concept in the model."""
    token, new = concept.token.casefold(), concept.reweighting
    number = concept.number if new is None else new.number
    owner = owners.get(token)
    if new is not None and not new.weight:
        if owner == number:
            del owners[token]
        return True
    owners[token] = number
    return owner is None or (new is not None and owner == number)


def _reweighting_problems(concept: ConceptRecord, kept: Mapping[int, ConceptRecord]) -> Iterator[str]:
    """What is weighed anew is an earlier concept whose change was kept."""
    new = concept.reweighting
    if new is None:
        return
    if concept.delta is not None:
        yield ".delta stands in a record that has taught nothing"
    weighed = kept.get(new.number)
    if weighed is None:
        yield f".reweighting.number is {new.number}, which is no earlier concept whose change was kept"
    elif (weighed.token, weighed.class_name) != (concept.token, concept.class_name):
        yield f".reweighting.number is {new.number}, which is not what the record is called"


def _state_problems(manifest: Manifest) -> Iterator[str]:
    """The kept states are the last ones, without gaps, and no two share a file."""
    concepts, states = manifest.concepts, manifest.states
    first = len(concepts) - len(states) + 1
    if first < 1 or (concepts and not states):
        yield f".states does not fit the concepts: {len(states)} for {len(concepts)} concepts"
        return
    files: set[tuple[str, str]] = set()
    for index, state in enumerate(states):
        place, number = f".states[{index}]", first + index
        if state.number != number:
            yield f"{place}.number is {state.number}, expected {number}"
        if state.content_hash != concepts[number - 1].content_hash:
            yield f"{place}.content_hash is not that of concept {number}"
        own = {("checkpoint", state.checkpoint), ("memory", state.memory)}
        if own & files:
            yield f"{place} shares a file with another state"
        files |= own
