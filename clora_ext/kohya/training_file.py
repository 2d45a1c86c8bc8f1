"""A training file: options of sd-scripts, at the top or in sections whose names mean nothing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .document import Document, Place
from .finding import Finding
from .judge import Given, judge, unknown
from .key import dataset_keys, training_keys

__all__ = ["TrainingFile", "read_training_file"]


@dataclass(frozen=True, slots=True)
class TrainingFile:
    """What a training file asks for.

    Attributes:
        path: of the file.
        given: what clora honours, by sd-scripts' names.
        findings: about every key.
    """

    path: Path
    given: Mapping[str, Given]
    findings: tuple[Finding, ...]


def read_training_file(document: Document) -> TrainingFile:
    """The options, each judged by itself; what contradicts what is for :mod:`clora_ext.kohya.rules`."""
    known, path = training_keys(), document.path
    findings: list[Finding] = []
    given: dict[str, Given] = {}
    seen: dict[str, int | None] = {}
    for place, value in _flattened(document):
        name, line = str(place[-1]), document.line(place)
        if name in seen:
            message = f"stands on line {seen[name]} already; sd-scripts takes the last one in silence"
            findings.append(Finding(path, line, name, "error", message, "keep one of them"))
            continue
        seen[name] = line
        if isinstance(value, dict):
            message = "a table inside a section is never read by sd-scripts"
            findings.append(Finding(path, line, name, "error", message, "put its keys at the top"))
            continue
        if name not in known:
            findings.append(_unknown(name, path, line))
            continue
        finding, asked = judge(known[name], value, path, line)
        findings.append(finding)
        if asked is not None:
            given[name] = asked
    return TrainingFile(path, given, tuple(findings))


def _unknown(name: str, path: Path, line: int | None) -> Finding:
    """A key that stands in the wrong file, or that sd-scripts does not have at all."""
    if name not in dataset_keys():
        return unknown(name, training_keys(), path, line)
    here = f"train_{name}"
    remedy = f"write {here}" if here in training_keys() else "move it to a file for --dataset-config"
    message = "an option of the dataset file, not of the training file"
    return Finding(path, line, name, "error", message, remedy)


def _flattened(document: Document) -> Iterator[tuple[Place, object]]:
    """Keys at the top and in sections."""
    for name, value in document.values.items():
        if isinstance(value, dict):
            for inner, said in value.items():
                yield (name, inner), said
        else:
            yield (name,), value
