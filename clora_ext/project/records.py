"""What a project remembers of its base, its concepts and its states: text and numbers, no pictures."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from clora_ext.errors import BaseChanged, ProjectError
from clora_ext.families.hub import DEMO_MODEL
from clora_ext.formats.models import model_sha256

from .fields import HASH, Fields, damaged

__all__ = ["SHEET", "WEIGHTS", "Base", "ConceptRecord", "Image", "State", "sheet_name"]

WEIGHTS = re.compile(r"[0-9a-f]{16}(-[0-9]{1,4})?\.safetensors")
"""File names of committed checkpoints and memories. The plain pattern keeps paths out of the manifest."""

SHEET = re.compile(r"[0-9]{3,9}-[A-Za-z0-9_-]{1,200}\.png")
"""File names of contact sheets."""

LATER_SAMPLE = re.compile(r"look-[0-9]{3,9}-[0-9a-f]{12}\.png")
"""File names of samples of concepts by later models."""

_FAMILY = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_CREATED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(\+00:00|Z)")
_KINDS = ("demo", "file", "folder")
_LEVELS = ("L0", "L1", "L2")  # L3, past data or adapters, is outside of the regime


def sheet_name(number: int, token: str, class_name: str) -> str:
    """A plain file name for a concept's contact sheet.

    >>> sheet_name(1, "sks", "toy dog")
    '001-sks-toy_dog.png'
    """
    words = (re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")[:80] or "_" for text in (token, class_name))
    return f"{number:03d}-{'-'.join(words)}.png"


def later_sample_name(number: int, content_hash: str) -> str:
    """A file name for a sample of a concept by a model, known by its content hash.

    >>> later_sample_name(1, 64 * "a")
    'look-001-aaaaaaaaaaaa.png'
    """
    return f"look-{number:03d}-{content_hash[:12]}.png"


@dataclass(frozen=True, slots=True)
class Base:
    """The public model that a project started from; never written.

    Attributes:
        kind: ``demo`` (ships with clora), ``file``, or ``folder`` (of diffusers).
        path: where it lay when the project began; None for the demo model.
        sha256: of the whole file, or of all files that the folder is read from, in hex.
        family: name of the model's family, such as ``sd1``.
    """

    kind: str
    path: str | None
    sha256: str
    family: str

    def locate(self) -> Path:
        """Where the base was recorded to lie.

        Raises:
            ProjectError: nothing is there any more.
        """
        file = DEMO_MODEL if self.kind == "demo" else Path(self.path or "")
        if not file.exists():
            raise ProjectError(f"the project's base {file} is gone", fix="name its new place with --base")
        return file

    def check(self, file: Path) -> None:
        """Make sure that ``file`` (or folder) is this base; reads all of it.

        Raises:
            BaseChanged: its content is another.
            CheckpointError: it cannot be read.
        """
        self.check_hash(model_sha256(file), str(file))

    def check_hash(self, sha256: str, file: str = "") -> None:
        """Make sure that a file with this sha256 is this base; ``file`` names it in the complaint."""
        if sha256 == self.sha256:
            return
        file = file or self.path or "the demo model"
        if self.kind == "demo":
            fix = "install the version of clora that the project was started with, or start a new project"
        else:
            fix = f"put the original file back (it was {self.path}), name it with --base, or start anew"
        message = (
            f"{file} is not the base that the project started from: its sha256 is {sha256}, "
            f"recorded is {self.sha256}"
        )
        raise BaseChanged(message, fix=fix)

    @classmethod
    def read(cls, value: object, where: str) -> "Base":
        """From JSON.

        Raises:
            ProjectError: names the field that is wrong.
        """
        table = Fields(value, where, _names(cls))
        kind = table.one_of("kind", _KINDS)
        path = None if table.is_null("path") else table.text("path")
        if (kind != "demo") != bool(path):
            raise damaged(table.place("path"), f"does not fit a base of the kind {kind!r}")
        return cls(kind, path, table.matching("sha256", HASH), table.matching("family", _FAMILY))


@dataclass(frozen=True, slots=True)
class Image:
    """One picture that a concept was learned from.

    Attributes:
        name: file name, without its folder.
        sha256: of the file, in hex.
        caption: what it was trained with.
    """

    name: str
    sha256: str
    caption: str

    @classmethod
    def read(cls, value: object, where: str) -> "Image":
        """From JSON.

        Raises:
            ProjectError: names the field that is wrong.
        """
        table = Fields(value, where, _names(cls))
        name = table.text("name")
        if name in {"", ".", ".."} or "/" in name:
            raise damaged(table.place("name"), f"is no plain file name: {name!r:.80}")
        return cls(name, table.matching("sha256", HASH), table.text("caption"))


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

    number: int
    token: str
    class_name: str
    images: tuple[Image, ...]
    dataset_fingerprint: str
    strategy: str
    strategy_options: Mapping[str, Any]
    state_level: str
    settings: Mapping[str, Any]
    seed: int
    parent_hash: str
    content_hash: str
    first_loss: float | None
    last_loss: float | None
    sheet: str | None
    created: str
    clora_version: str

    def setting(self, name: str) -> Any:  # noqa: ANN401 - a plain JSON value
        """The recorded value of a setting, whatever group it stands in; None: nothing is recorded."""
        groups = [self.settings, *(value for value in self.settings.values() if isinstance(value, Mapping))]
        return next((group[name] for group in groups if name in group), None)

    @classmethod
    def read(cls, value: object, where: str) -> "ConceptRecord":
        """From JSON.

        Raises:
            ProjectError: names the field that is wrong.
        """
        table = Fields(value, where, _names(cls))
        number = table.whole("number", least=1)
        return cls(
            number=number,
            token=table.line("token"),
            class_name=table.line("class_name"),
            images=tuple(Image.read(*item) for item in table.items("images")),
            dataset_fingerprint=table.line("dataset_fingerprint"),
            strategy=table.line("strategy"),
            strategy_options=table.table("strategy_options"),
            state_level=table.one_of("state_level", _LEVELS),
            settings=table.table("settings"),
            seed=table.whole("seed"),
            parent_hash=table.matching("parent_hash", HASH),
            content_hash=table.matching("content_hash", HASH),
            first_loss=None if table.is_null("first_loss") else table.number("first_loss"),
            last_loss=None if table.is_null("last_loss") else table.number("last_loss"),
            sheet=None if table.is_null("sheet") else _sheet(table, number),
            created=table.matching("created", _CREATED),
            clora_version=table.line("clora_version"),
        )


@dataclass(frozen=True, slots=True)
class State:
    """The evolving model after ``number`` concepts.

    Attributes:
        number: of concepts in it, 1 or more (the base is no state: it has no files here).
        content_hash: of the checkpoint's tensors.
        checkpoint: file name in ``checkpoints``.
        memory: file name in ``memory``.
    """

    number: int
    content_hash: str
    checkpoint: str
    memory: str

    @classmethod
    def read(cls, value: object, where: str) -> "State":
        """From JSON.

        Raises:
            ProjectError: names the field that is wrong.
        """
        table = Fields(value, where, _names(cls))
        return cls(
            table.whole("number", least=1),
            table.matching("content_hash", HASH),
            table.matching("checkpoint", WEIGHTS),
            table.matching("memory", WEIGHTS),
        )


def _names(record: type[Base | Image | ConceptRecord | State]) -> list[str]:
    """The fields of a record."""
    return [field.name for field in fields(record)]


def _sheet(table: Fields, number: int) -> str:
    """A sheet's name begins with its concept's number, so that no two concepts share one."""
    name = table.matching("sheet", SHEET)
    if not name.startswith(f"{number:03d}-"):
        raise damaged(table.place("sheet"), f"belongs to another concept: {name!r}")
    return name
