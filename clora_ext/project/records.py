"""What a project remembers of its concepts and its states: text and numbers, no pictures."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from .values import (
    NO_UNKNOWN_FIELDS,
    Checked,
    Line,
    OptionalNumber,
    Sha256,
    Table,
    Text,
    Whole,
    matching,
    one_of,
    optional,
    text,
    whole,
)

__all__ = [
    "BASE_SHEET",
    "CURVE",
    "LATER_SAMPLE",
    "OUTCOME",
    "SHEET",
    "WEIGHTS",
    "ConceptRecord",
    "Image",
    "State",
    "file_stem",
    "later_sample_name",
    "sheet_name",
]

WEIGHTS = re.compile(r"[0-9a-f]{16}(-[0-9]{1,4})?\.safetensors")
"""File names of committed checkpoints and memories. The plain pattern keeps paths out of the manifest."""

SHEET = re.compile(r"[0-9]{3,9}-[A-Za-z0-9_-]{1,200}\.png")
"""File names of contact sheets."""

BASE_SHEET = "000-base.png"
"""File name of what the base draws of what nobody has taught; no concept has the number 0."""

OUTCOME = re.compile(r"[0-9]{3,9}-[A-Za-z0-9_-]{1,200}\.json")
"""File names of what was measured, beside the contact sheets."""

CURVE = re.compile(r"[0-9]{3,9}-[A-Za-z0-9_-]{1,200}\.(csv|png)")
"""File names of loss curves."""

LATER_SAMPLE = re.compile(r"look-[0-9]{3,9}-[0-9a-f]{12}\.png")
"""File names of samples of concepts by later models."""

_CREATED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(\+00:00|Z)")
_LEVELS = ("L0", "L1", "L2")  # L3, past data or adapters, is outside of the regime


def sheet_name(number: int, token: str, class_name: str) -> str:
    """A plain file name for a concept's contact sheet.

    >>> sheet_name(1, "sks", "toy dog")
    '001-sks-toy_dog.png'
    """
    return f"{file_stem(number, token, class_name)}.png"


def file_stem(number: int, token: str, class_name: str) -> str:
    """What the names of all files of a concept begin with.

    >>> file_stem(1, "sks", "toy dog")
    '001-sks-toy_dog'
    """
    words = (re.sub(r"[^A-Za-z0-9]+", "_", word).strip("_")[:80] or "_" for word in (token, class_name))
    return f"{number:03d}-{'-'.join(words)}"


def later_sample_name(number: int, content_hash: str) -> str:
    """A file name for a sample of a concept by a model, known by its content hash.

    >>> later_sample_name(1, 64 * "a")
    'look-001-aaaaaaaaaaaa.png'
    """
    return f"look-{number:03d}-{content_hash[:12]}.png"


def _file_name(value: object) -> str:
    """A plain name of a file, never a path."""
    name = text(value)
    if name in {"", ".", ".."} or "/" in name:
        message = f"is not a plain file name: {name!r:.80}"
        raise ValueError(message)
    return name


@dataclass(frozen=True, slots=True)
class Image:
    """One picture that a concept was learned from.

    Attributes:
        name: file name, without its folder.
        sha256: of the file, in hex.
        caption: what it was trained with.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = NO_UNKNOWN_FIELDS

    name: Annotated[str, Checked(_file_name)]
    sha256: Sha256
    caption: Text


@dataclass(frozen=True, slots=True)
class ConceptRecord:
    """How one concept was learned.

    Attributes:
        number: 1 for the first.
        token: trigger word; no two concepts share one, whatever its case.
        class_name: what kind of thing it is.
        images: what it was learned from.
        dataset_fingerprint: sha256 over images and captions.
        strategy: name.
        strategy_options: its options, plain JSON values.
        state_level: ``L0``, ``L1`` or ``L2``: what the strategy's memory may hold.
        settings: all settings of the run, plain JSON values.
        seed: of the run.
        parent_hash: content hash of the state before; for the first concept the base's sha256.
        content_hash: of the state that this concept made.
        first_loss: mean loss of the first tenth of the steps; None: not recorded.
        last_loss: mean loss of the last tenth.
        sheet: file name of the contact sheet; None: there is none.
        created: time of the commit, ISO 8601 in UTC, such as ``2026-01-31T12:00:00+00:00``.
        clora_version: that made it.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = NO_UNKNOWN_FIELDS

    number: Annotated[int, Checked(whole(least=1))]
    token: Line
    class_name: Line
    images: tuple[Image, ...]
    dataset_fingerprint: Line
    strategy: Line
    strategy_options: Table
    state_level: Annotated[str, Checked(one_of(*_LEVELS))]
    settings: Table
    seed: Whole
    parent_hash: Sha256
    content_hash: Sha256
    first_loss: OptionalNumber
    last_loss: OptionalNumber
    sheet: Annotated[str | None, Checked(optional(matching(SHEET)))]
    created: Annotated[str, Checked(matching(_CREATED))]
    clora_version: Line

    def setting(self, name: str) -> Any:  # noqa: ANN401 - a plain JSON value
        """The recorded value of a setting, whatever group it stands in; None: nothing is recorded."""
        groups = [self.settings, *(value for value in self.settings.values() if isinstance(value, Mapping))]
        return next((group[name] for group in groups if name in group), None)


@dataclass(frozen=True, slots=True)
class State:
    """The evolving model after ``number`` concepts.

    Attributes:
        number: of concepts in it, 1 or more (the base is no state: it has no files here).
        content_hash: of the checkpoint's tensors.
        checkpoint: file name in ``checkpoints``.
        memory: file name in ``memory``.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = NO_UNKNOWN_FIELDS

    number: Annotated[int, Checked(whole(least=1))]
    content_hash: Sha256
    checkpoint: Annotated[str, Checked(matching(WEIGHTS))]
    memory: Annotated[str, Checked(matching(WEIGHTS))]
