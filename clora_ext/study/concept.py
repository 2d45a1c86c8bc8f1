"""A concept of a study: pictures to teach, prompts to draw, pictures to compare the drawings with."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clora_ext.data import Concept, Dataset, Picture, scan
from clora_ext.errors import DatasetError, UsageError

from .file import ConceptEntry

__all__ = ["Question", "StudyConcept", "find_concept"]


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt, and the pictures that its drawings are compared with.

    Attributes:
        prompt: as the model reads it.
        references: one or more.
    """

    prompt: str
    references: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class StudyConcept:
    """What a study knows of a concept.

    Attributes:
        name: that orders call it by.
        folder: what is taught.
        words: token and class.
        questions: how it is judged.
        fingerprint: of the pictures and captions that are taught, hex; names of files do not matter.
        judged_by: of prompts and references, hex.
        files: path, size and time of change of every file that either of the two depends on.
        references: the folder of the references.
    """

    name: str
    folder: Path
    words: Concept
    questions: tuple[Question, ...]
    fingerprint: str
    judged_by: str
    files: frozenset[tuple[str, int, int]]
    references: Path

    def check(self) -> None:
        """Raise :class:`DatasetError` if a picture or caption is another than when the study was planned."""
        files = _files(self.folder) | _files(self.references)
        if files == self.files:
            return
        taught = _scan(self.folder, self.words)
        asked = _judged_by(self.questions, _scan(self.references, self.words))
        if (taught.fingerprint, asked) == (self.fingerprint, self.judged_by):
            return
        changed = sorted({name for name, _, _ in files ^ self.files})
        shown = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")  # noqa: PLR2004
        message = f"the pictures of concept {self.name!r} have changed while the study runs: {shown}"
        raise DatasetError(message, fix=CHANGED)


CHANGED = "put the files back as they were, or begin a new study with another --output"
"""What to do about a concept that is not what it was."""


def find_concept(entry: ConceptEntry, folder: Path, references: Path | None) -> StudyConcept:
    """Read the concept's folders.

    Args:
        entry: of the study file.
        folder: what is taught.
        references: what drawings are compared with; None: what is taught.

    Raises:
        DatasetError: a folder is missing, cannot be read or holds no usable picture.
        UsageError: token or class cannot stand in a caption, or a prompt has unknown braces.
    """
    words = Concept(entry.token, entry.class_name)
    compared = references or folder
    taught, shown = _scan(folder, words), _scan(compared, words)
    questions = _questions([_filled(prompt, words) for prompt in entry.prompts], shown)
    return StudyConcept(
        name=entry.name,
        folder=folder,
        words=words,
        questions=questions,
        fingerprint=taught.fingerprint,
        judged_by=_judged_by(questions, shown),
        files=_files(folder) | _files(compared),
        references=compared,
    )


def _scan(folder: Path, words: Concept) -> Dataset:
    return scan(folder, concept=words, resolution=1)


def _questions(prompts: Sequence[str], shown: Dataset) -> tuple[Question, ...]:
    """Of every prompt all references; without prompts, of every caption its own."""
    if prompts:
        return tuple(Question(prompt, shown.pictures) for prompt in prompts)
    by_caption: dict[str, list[Picture]] = {}
    for picture in shown.pictures:
        by_caption.setdefault(picture.caption, []).append(picture)
    return tuple(Question(prompt, tuple(found)) for prompt, found in by_caption.items())


def _filled(prompt: str, words: Concept) -> str:
    """The prompt with token and class."""
    text = prompt.replace("{token}", words.token).replace("{class}", words.class_name)
    if "{" in text or "}" in text:
        raise UsageError(
            f"unknown braces in the prompt {prompt!r}", fix="only {token} and {class} are filled in"
        )
    return text


def _judged_by(questions: Sequence[Question], shown: Dataset) -> str:
    content = [[question.prompt for question in questions], shown.fingerprint]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _files(folder: Path) -> frozenset[tuple[str, int, int]]:
    found = ((path, path.stat()) for path in folder.rglob("*") if path.is_file())
    return frozenset((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in found)
