"""A project: the folder that holds the evolving model and everything needed to go on."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

from clora_ext.errors import ProjectError, UsageError, writing
from clora_ext.families.place import ModelPlace
from clora_ext.formats.training_state import STATE_FILE, StoppedRun, read_stopped_run

from .base import Base
from .disk_usage import DiskUsage, disk_usage
from .litter import TRAINING, sweep, training_name
from .manifest import MANIFEST, Manifest, read_manifest
from .recorded import RecordedProject
from .records import ConceptRecord, State
from .session import session
from .state_files import check_complete, force_to_disk, names_of, unused_name
from .storage import replace_text, sync_folder
from .unfinished import nothing_learned, nothing_to_undo

__all__ = ["Project"]


class Project(RecordedProject):
    """A project folder at one moment; made by :meth:`open`, :meth:`find`, :meth:`begun` or :meth:`writing`.

    It is in the state W(t-1) or W(t), never between: new files are written under names that nothing refers
    to, and one replacement of the manifest makes them the project's state.

    Attributes:
        folder: where it lies.
    """

    def __init__(self, folder: Path, manifest: Manifest | None) -> None:
        super().__init__(folder, manifest)
        self._writable = False

    @staticmethod
    def exists(folder: Path | str) -> bool:
        """Whether there is a project, usable or not."""
        return os.path.lexists(Path(folder) / MANIFEST)

    @classmethod
    def find(cls, folder: Path | str) -> "Project | None":
        """As :meth:`open`; None: there is no project, nor the beginning of one."""
        project = cls(Path(folder), read_manifest(Path(folder)))
        return None if project.manifest is None and project.unfinished is None else project

    @classmethod
    def begun(cls, folder: Path | str) -> "Project":
        """As :meth:`find`, also of one of which nothing is there yet, since another process begins it."""
        return cls(Path(folder), read_manifest(Path(folder)))

    @classmethod
    def open(cls, folder: Path | str) -> "Project":
        """Read a project; takes no lock and changes nothing.

        One whose very first run has stopped is a project too, of which nothing is recorded yet.

        Raises:
            ProjectError: there is none, or its manifest cannot be used.
        """
        project = cls.find(folder)
        if project is None:
            what = "holds no project" if Path(folder).exists() else "does not exist"
            fix = f"start one by teaching a first concept: clora add-concept --project {folder} IMAGES"
            raise ProjectError(f"{folder} {what}", fix=fix)
        return project

    @classmethod
    @contextmanager
    def writing(cls, folder: Path | str) -> Iterator["Project"]:
        """Open a project to change it, or begin a new one; holds its lock and sweeps litter.

        A new project of which nothing was committed and nothing can be resumed is removed at the end.

        Raises:
            ProjectError: the folder cannot be a project.
            ProjectLocked: another run works in it.
            StorageError: the disk is full.
        """
        folder = Path(folder)
        with session(folder) as manifest:
            project = cls(folder, manifest)
            project._writable = True  # only here, where the lock is held
            try:
                yield project
            finally:
                project._writable = False

    def base_file(self, place: Path | None = None) -> Path:
        """Where the project's base lies; see :meth:`Base.find`. ProjectError: the project has none yet."""
        if self.base is None:
            raise nothing_learned(self.folder, self.unfinished)
        return self.base.find(place)

    def model_file(self, base: Path | None = None) -> Path:
        """The model as it is now; before the first concept, the base, which ``base`` says the place of."""
        return self.checkpoint_path or self.base_file(base)

    def model_place(
        self, base: Path | None = None, companions: Mapping[str, Path] = MappingProxyType({})
    ) -> ModelPlace:
        """All files of the model as it is now; see :meth:`model_file`.

        Args:
            base: where the base lies now; None: where it was.
            companions: where files beside it lie now, by component; of others: where they were.

        Raises:
            BaseChanged: one of those that are named is another.
        """
        file = self.model_file(base)
        if self.base is None:
            return ModelPlace(file)
        found = self.base.companions_at(companions)
        if companions:
            found.check_companions()
        return found.model_place(file)

    @property
    def training_dir(self) -> Path:
        """Folder for the state of the run that learns the next concept; may not exist yet.

        It bears the concept's number, so that what is left of a committed run is never taken for a new one.
        """
        return self.folder / TRAINING / training_name(self.number + 1)

    @property
    def unfinished(self) -> StoppedRun | None:
        """The run that would have learned the next concept and has stopped, or is at it now; None: none."""
        return read_stopped_run(self.training_dir / STATE_FILE)

    def start(self, base: Base) -> None:
        """Set the base, or the new place of the same base; written with the next commit.

        Raises:
            BaseChanged: the project has concepts, and this is another base.
            ProjectError: the project is open for reading only.
        """
        self._check_writable()
        if self.concepts:
            self.check_base(base.sha256)
        now = self._manifest or Manifest(base, (), ())
        self._manifest = Manifest(base, now.concepts, now.states)

    def relocate(self, base: Base) -> None:
        """Write down at once where the same base lies now; raises as :meth:`start` and :meth:`commit` do."""
        self.check_base(base.sha256)
        self.start(base)
        self._replace(self._started())

    def check_base(self, sha256: str) -> None:
        """Make sure that a file with this sha256 is the project's base; else raise BaseChanged."""
        self._started().base.check_hash(sha256)

    def adopt(self, number: int, content_hash: str, *, checkpoint: Path, memory: Path) -> State:
        """Give new files their final names; the project does not refer to them before :meth:`commit`.

        A name in use is never taken, even if the content is the same: the memories may still differ.

        Args:
            number: of the concept that they hold.
            content_hash: of the checkpoint's tensors.
            checkpoint: file in :attr:`checkpoints_dir`.
            memory: file in :attr:`memory_dir`.

        Raises:
            StorageError: a file cannot be renamed.
        """
        self._check_writable()
        name = unused_name(content_hash, names_of(self._manifest.states if self._manifest else ()))
        for file, folder in ((memory, self.memory_dir), (checkpoint, self.checkpoints_dir)):
            with writing(folder / name):
                os.replace(file, folder / name)
        return State(number, content_hash, name, name)

    def adopt_delta(self, content_hash: str, file: Path) -> str:
        """Give a kept change, a file in :attr:`deltas_dir`, its final name, for its concept's record to bear.

        Args:
            content_hash: of the state that the concept has made.
            file: the change.

        Raises:
            StorageError: the file cannot be renamed.
        """
        self._check_writable()
        name = unused_name(content_hash, {record.delta or "" for record in self.concepts})
        with writing(self.deltas_dir / name):
            os.replace(file, self.deltas_dir / name)
        return name

    def commit(self, record: ConceptRecord, state: State, *, keep: int = 1) -> None:
        """Make ``state`` the project's state, in one step.

        Then earlier states beyond ``keep`` are removed, and with them the finished run's training state.

        Args:
            record: of the new concept.
            state: its files; see :meth:`adopt`.
            keep: how many earlier states stay for :meth:`undo`.

        Raises:
            ProjectError: record, state and project do not fit, or a file is not complete.
            StorageError: the disk is full or refuses.

        Whatever is raised, the project is as it was.
        """
        self._check_writable()
        if keep < 0:
            raise UsageError(f"keep must not be negative, it is {keep}", fix="0 keeps no earlier model")
        now = self._started()
        states = (*now.states, state)[-(keep + 1) :]
        self._replace(Manifest(now.base, (*now.concepts, record), states))

    def undo(self) -> ConceptRecord:
        """Go back one concept, in one step; give the record of the removed one.

        Raises:
            ProjectError: there is nothing to undo, the state before was not kept, or its files are damaged.
            StorageError: the disk is full or refuses.
        """
        self._check_writable()
        if not self.concepts:
            raise nothing_to_undo(self.folder, self.unfinished, self.training_dir)
        now, last = self._started(), self.concepts[-1]
        if not self.undoable:
            message = (
                f"concept {last.number} ({last.token}) cannot be undone: the model before it was not kept"
            )
            fix = "from now on, `clora add-concept --keep N` keeps N earlier models, 1 unless told otherwise"
            raise ProjectError(message, fix=fix)
        self._replace(Manifest(now.base, now.concepts[:-1], now.states[:-1]))
        return last

    def verify(self) -> None:
        """Make sure that the current state's files are complete by their headers; else raise ProjectError."""
        if self.current is not None:
            check_complete(self._files(self.current))

    def disk_usage(self) -> DiskUsage:
        """Bytes by kind; links are not followed."""
        return disk_usage(self.folder, self.memory_path)

    def _check_writable(self) -> None:
        if not self._writable:
            message = f"{self.folder} is open for reading only"
            raise ProjectError(message, fix="open it by `with Project.writing(folder) as project`")

    def _started(self) -> Manifest:
        if self._manifest is None:
            raise ProjectError(f"{self.folder} has no base yet", fix="set one by Project.start")
        return self._manifest

    def _replace(self, manifest: Manifest) -> None:
        """From one state to another: check, force to the disk, replace the manifest, and only then sweep."""
        text = manifest.encode()
        manifest = Manifest.decode(text, "the new manifest")  # what is written can be read again
        self._secure(manifest)
        replace_text(self.folder / MANIFEST, text)
        self._manifest = manifest
        # The files of the state before go only when the new manifest is sure to outlive a power cut. What
        # cannot be removed now is swept when the project is next opened for writing.
        if sync_folder(self.folder):
            with suppress(OSError):
                sweep(self.folder, manifest)

    def _secure(self, manifest: Manifest) -> None:
        """Everything that the new current state refers to must be whole and on the disk."""
        if not manifest.states:
            return
        files, newest = self._files(manifest.states[-1]), manifest.concepts[-1]
        is_new = len(manifest.concepts) > self.number
        if is_new and newest.delta is not None:
            files.append(self.deltas_dir / newest.delta)
        check_complete(files)
        if is_new and newest.sheet is not None:
            files.append(self.sheets_dir / newest.sheet)
        force_to_disk(files)

    def _files(self, state: State) -> list[Path]:
        """Checkpoint and memory of ``state``."""
        return [self.checkpoints_dir / state.checkpoint, self.memory_dir / state.memory]
