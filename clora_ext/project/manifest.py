"""The manifest: the one file that says which state a project is in."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clora_ext.errors import ProjectError

from .fields import Fields, damaged
from .records import Base, ConceptRecord, State

__all__ = ["FORMAT_VERSION", "MANIFEST", "Manifest", "read_manifest"]

FORMAT_VERSION = 2
"""Of the manifests that this clora writes. 2: memories keep residuals, which a reader of 1 would not see."""

MANIFEST = "manifest.json"
"""Its file name."""

_LARGEST = 1 << 28
_UNREADABLE = "restore manifest.json from a backup"


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that a project has recorded.

    Attributes:
        base: the model it started from.
        concepts: all of them, the first first.
        states: those whose files are kept, the current one last; none: the project stands at its base.
        format_version: of the file.
    """

    base: Base
    concepts: tuple[ConceptRecord, ...] = ()
    states: tuple[State, ...] = ()
    format_version: int = FORMAT_VERSION

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
        """From JSON; ``where`` names the file in complaints.

        Raises:
            ProjectError: not a manifest, damaged, or written by a newer clora; names the field.
        """
        try:
            content = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
            _check_version(content, where)
            table = Fields(content, where, ("format_version", "base", "concepts", "states"))
            manifest = cls(
                Base.read(table.value("base"), table.place("base")),
                tuple(ConceptRecord.read(*item) for item in table.items("concepts")),
                tuple(State.read(*item) for item in table.items("states")),
            )
        except (ValueError, RecursionError) as error:
            raise ProjectError(f"{where} is not valid JSON: {error}", fix=_UNREADABLE) from error
        _check_concepts(manifest, where)
        _check_states(manifest, where)
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
            raise damaged(str(file), f"has more than {_LARGEST} bytes")
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


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object with no key twice (of two readers each could see another value)."""
    result = dict(pairs)
    if len(result) != len(pairs):
        message = "a key stands there twice"
        raise ValueError(message)
    return result


def _refuse(constant: str) -> None:
    """JSON knows no NaN and no Infinity, though Python would read them."""
    message = f"{constant} is no JSON"
    raise ValueError(message)


def _check_version(content: object, where: str) -> None:
    """Asked before anything else: a newer file may look different."""
    version = content.get("format_version") if isinstance(content, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise damaged(f"{where}.format_version", "is missing or no version: this is no clora manifest")
    if version > FORMAT_VERSION:
        message = f"{where} was written by a newer clora (format {version}; this one reads {FORMAT_VERSION})"
        raise ProjectError(message, fix="upgrade clora: pip install --upgrade clora")


def _check_concepts(manifest: Manifest, where: str) -> None:
    """Numbered without gaps, no token twice, each standing on the one before."""
    tokens: set[str] = set()
    for index, concept in enumerate(manifest.concepts):
        place = f"{where}.concepts[{index}]"
        if concept.number != index + 1:
            raise damaged(f"{place}.number", f"is {concept.number}, expected {index + 1}")
        if concept.token.casefold() in tokens:
            raise damaged(f"{place}.token", f"belongs to an earlier concept already: {concept.token!r}")
        tokens.add(concept.token.casefold())
        parent = manifest.concepts[index - 1].content_hash if index else manifest.base.sha256
        if concept.parent_hash != parent:
            raise damaged(f"{place}.parent_hash", f"is {concept.parent_hash}, the state before is {parent}")


def _check_states(manifest: Manifest, where: str) -> None:
    """The kept states are the last ones, without gaps, and no two share a file."""
    first = len(manifest.concepts) - len(manifest.states) + 1
    if first < 1 or (manifest.concepts and not manifest.states):
        counts = f"{len(manifest.states)} for {len(manifest.concepts)} concepts"
        raise damaged(f"{where}.states", f"does not fit the concepts: {counts}")
    checkpoints: set[str] = set()
    memories: set[str] = set()
    for index, state in enumerate(manifest.states):
        place = f"{where}.states[{index}]"
        if state.number != first + index:
            raise damaged(f"{place}.number", f"is {state.number}, expected {first + index}")
        if state.content_hash != manifest.concepts[state.number - 1].content_hash:
            raise damaged(f"{place}.content_hash", f"is not that of concept {state.number}")
        if state.checkpoint in checkpoints or state.memory in memories:
            raise damaged(place, "shares a file with another state")
        checkpoints.add(state.checkpoint)
        memories.add(state.memory)
