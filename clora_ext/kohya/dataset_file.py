"""A dataset file: ``[general]``, ``[[datasets]]`` and ``[[datasets.subsets]]``, inherited downwards."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from .document import Document, Place
from .finding import Finding, Verdict
from .judge import Given, judge, nothing_asked, unknown
from .key import Key, Scope, dataset_keys, training_keys

__all__ = ["Dataset", "DatasetFile", "Subset", "read_dataset_file"]

_TABLES: Mapping[Scope, str] = {
    "general": "[general]",
    "datasets": "[[datasets]]",
    "subsets": "[[datasets.subsets]]",
}


@dataclass(frozen=True, slots=True)
class Subset:
    """One folder of pictures.

    Attributes:
        line: on which it begins.
        given: what holds for it, with what it inherits, by sd-scripts' names.
    """

    line: int | None
    given: Mapping[str, Given]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Folders that are cut and batched alike.

    Attributes:
        line: on which it begins.
        given: what holds for it, with what it inherits, by sd-scripts' names.
        subsets: its folders.
    """

    line: int | None
    given: Mapping[str, Given]
    subsets: tuple[Subset, ...]


@dataclass(frozen=True, slots=True)
class DatasetFile:
    """What a dataset file asks for.

    Attributes:
        path: of the file.
        datasets: in its order.
        findings: about every key.
    """

    path: Path
    datasets: tuple[Dataset, ...]
    findings: tuple[Finding, ...]


def read_dataset_file(document: Document) -> DatasetFile:
    """The datasets, each key judged by itself."""
    reader = _Reader(document)
    general = reader.table("general", ("general",), document.values.get("general", {}))
    datasets = tuple(
        reader.dataset(place, values, general) for place, values in reader.listed("datasets", (), "datasets")
    )
    for name in document.values:
        if name not in {"general", "datasets"}:
            reader.stray(name)
    if not any(one.subsets for one in datasets) and not any(one.is_error for one in reader.findings):
        reader.say(None, "", "error", "names no pictures", "add [[datasets.subsets]] with an image_dir")
    return DatasetFile(document.path, datasets, tuple(reader.findings))


class _Reader:
    """Collects findings on the way down."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.findings: list[Finding] = []

    def say(self, line: int | None, key: str, verdict: Verdict, message: str, suggestion: str = "") -> None:
        self.findings.append(Finding(self._document.path, line, key, verdict, message, suggestion))

    def dataset(self, place: Place, values: object, general: Mapping[str, Given]) -> Dataset:
        given = {**general, **self.table("datasets", place, values)}
        inner = values if isinstance(values, dict) else {}
        subsets = tuple(
            self.subset(at, one, given) for at, one in self.listed("subsets", place, "subsets", inner)
        )
        return Dataset(self._document.line(place), given, subsets)

    def subset(self, place: Place, values: object, above: Mapping[str, Given]) -> Subset:
        own = self.table("subsets", place, values)
        line = self._document.line(place)
        known = isinstance(values, dict) and {"image_dir", "metadata_file", "image_directory"} & values.keys()
        if not known:
            message = "names no folder of pictures"
            self.say(line, _TABLES["subsets"], "error", message, "write image_dir = 'FOLDER'")
        return Subset(line, {**above, **own})

    def table(self, scope: Scope, place: Place, values: object) -> dict[str, Given]:
        """What one table gives."""
        if not isinstance(values, dict):
            self.say(self._document.line(place), scope, "error", "is no table", f"write {_TABLES[scope]}")
            return {}
        given: dict[str, Given] = {}
        for name, value in values.items():
            if (scope, name) == ("datasets", "subsets"):
                continue
            found = self._judged(scope, (*place, name), name, value)
            if found is not None:
                given[name] = found
        return given

    def listed(
        self, name: str, place: Place, scope: Scope, values: Mapping[str, object] | None = None
    ) -> Iterator[tuple[Place, object]]:
        """The tables of a list, with their places."""
        values = self._document.values if values is None else values
        found = values.get(name, [])
        here = (*place, name)
        if not isinstance(found, Sequence) or isinstance(found, str):
            message = f"is one table, where sd-scripts wants a list of them: {_TABLES[scope]}"
            self.say(self._document.line(here), name, "error", message, f"write {_TABLES[scope]}")
            return
        for number, one in enumerate(found):
            yield (*here, number), one

    def stray(self, name: str) -> None:
        """A key or table beside ``general`` and ``datasets``."""
        line = self._document.line((name,))
        if name in dataset_keys():
            self.say(line, name, "error", "stands in no table", f"move it below {_TABLES['general']}")
        elif name in training_keys():
            self.say(line, name, "error", *_OF_TRAINING)
        else:
            self.say(line, name, "error", "no part of a dataset file", _PARTS)

    def _judged(self, scope: Scope, place: Place, name: str, value: object) -> Given | None:
        path, line, known = self._document.path, self._document.line(place), dataset_keys()
        if name not in known:
            if name in training_keys():
                self.say(line, name, "error", *_OF_TRAINING)
            else:
                self.findings.append(unknown(name, known, path, line))
            return None
        if scope not in known[name].scopes:
            message = f"sd-scripts does not read it in {_TABLES[scope]}"
            self.say(line, name, "error", message, f"move it to {_wanted(known[name])}")
            return None
        finding, given = judge(known[name], value, path, line)
        self.findings.append(finding)
        return nothing_asked(known[name], value, path, line) if finding.verdict == "neutral" else given


def _wanted(key: Key) -> str:
    return " or ".join(_TABLES[scope] for scope in get_args(Scope) if scope in key.scopes)


_OF_TRAINING = ("an option of the training file, not of the dataset file", "move it to the training file")
_PARTS = "a dataset file has [general], [[datasets]] and [[datasets.subsets]]"
