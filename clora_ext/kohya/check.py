"""Configurations of sd-scripts, and clora's own, read whole: every fault of every file at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .dataset_file import DatasetFile, read_dataset_file
from .document import Document, Unreadable, read_document
from .finding import Finding, Verdict, in_order
from .recognise import by_ending, foreign_program, is_dataset_file
from .rules import check_both, check_dataset, check_together
from .run_file import RunFile, is_run_file, read_run_file
from .training_file import TrainingFile, read_training_file

__all__ = ["Checked", "check"]


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found.

    Attributes:
        files: in the order in which they were named; a dataset file that a training file names comes last.
        training: the training file; None: none was named, or it could not be read.
        dataset: the dataset file; likewise.
        run: clora's own file of a run; likewise.
        findings: about every key of every file, by file and line.
    """

    files: tuple[Path, ...]
    training: TrainingFile | None
    dataset: DatasetFile | None
    run: RunFile | None
    findings: tuple[Finding, ...]


def check(files: Sequence[Path]) -> Checked:
    """Read and judge files together, with the dataset file that one of them names; writes nothing."""
    reader = _Reader()
    for path in files:
        reader.read(path)
    reader.follow()
    reader.compare()
    return Checked(
        tuple(reader.files),
        reader.training,
        reader.dataset,
        reader.run,
        tuple(in_order(reader.findings, reader.files)),
    )


class _Reader:
    """Collects what the files say."""

    def __init__(self) -> None:
        self.files: list[Path] = []
        self.training: TrainingFile | None = None
        self.dataset: DatasetFile | None = None
        self.run: RunFile | None = None
        self.findings: list[Finding] = []

    def read(self, path: Path) -> None:
        """One file, whichever it is."""
        if path in self.files:
            return
        self.files.append(path)
        document = self._document(path)
        if document is not None:
            self._sort(document)

    def follow(self) -> None:
        """The dataset file that the training file names; its path starts at the training file's folder."""
        named = None if self.training is None else self.training.given.get("dataset_config")
        if named is None:
            return
        path = named.path.parent / Path(named.value).expanduser()
        if self.dataset is not None:
            if path.resolve() != self.dataset.path.resolve():
                message = f"not read: {self.dataset.path} was named beside it"
                self._say(named.path, "note", message, line=named.line, key="dataset_config")
            return
        if not path.is_file():
            message = f"there is no file {path}"
            self._say(named.path, "error", message, line=named.line, key="dataset_config")
            return
        self.read(path)

    def compare(self) -> None:
        """What the files say together."""
        self.findings += check_both(self.training, self.dataset)

    def _document(self, path: Path) -> Document | None:
        foreign = by_ending(path.suffix)
        if foreign is not None:
            self._say(path, "refuse", *foreign)
            return None
        try:
            return read_document(path)
        except Unreadable as error:
            self._say(path, "error", error.reason, error.fix, error.line)
            return None

    def _sort(self, document: Document) -> None:
        foreign = foreign_program(document)
        if not document.values:
            self._say(document.path, "error", "is empty")
        elif is_run_file(document):
            self._take_run(read_run_file(document))
        elif foreign is not None:
            self._say(document.path, "refuse", *foreign)
        elif is_dataset_file(document):
            self._take_dataset(read_dataset_file(document))
        else:
            self._take_training(read_training_file(document))

    def _take_run(self, file: RunFile) -> None:
        if self.run is not None:
            self._say(file.path, "error", f"is a second file of a run beside {self.run.path}", "name one")
            return
        self.run = file
        self.findings += file.findings

    def _take_dataset(self, file: DatasetFile) -> None:
        if self.dataset is not None:
            self._say(file.path, "error", f"is a second dataset file beside {self.dataset.path}", "name one")
            return
        self.dataset = file
        self.findings += [*file.findings, *check_dataset(file)]

    def _take_training(self, file: TrainingFile) -> None:
        if self.training is not None:
            self._say(
                file.path, "error", f"is a second training file beside {self.training.path}", "name one"
            )
            return
        self.training = file
        together = check_together(file)
        judged = {one.key for one in together}
        alone = [one for one in file.findings if one.message or one.key not in judged]
        self.findings += [*alone, *together]

    def _say(
        self,
        path: Path,
        verdict: Verdict,
        message: str,
        suggestion: str = "",
        line: int | None = None,
        key: str = "",
    ) -> None:
        self.findings.append(Finding(path, line, key, verdict, message, suggestion))
