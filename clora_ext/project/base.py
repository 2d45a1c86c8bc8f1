"""The model that a project started from: where its parts lay, and how they are known again."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, ClassVar

from clora_ext.errors import BaseChanged, ProjectError, UsageError
from clora_ext.families.hub import DEMO_MODEL, find_base
from clora_ext.families.place import ModelPlace
from clora_ext.formats.companion_files import companion_sha256
from clora_ext.formats.models import model_sha256
from clora_ext.formats.prediction import Prediction, kind_of
from clora_ext.formats.statements import Statement

from .values import NO_UNKNOWN_FIELDS, Checked, Sha256, matching, one_of, optional, text, truth

__all__ = ["CHECKPOINT", "Base", "BasePart", "check_said", "recorded_statements"]

CHECKPOINT = "checkpoint"
"""The part that is a whole model: one file, or one folder of diffusers."""

_TRANSFORMER = "transformer"
_MAIN = (CHECKPOINT, _TRANSFORMER)  # one of them is in every base: it holds the weights that are taught
_DEMO = "demo"
_GONE = "say where it lies now: `clora relocate FILE --project PROJECT`, or this command with --base FILE"
_RECORD = "the project"
_FAMILY = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_PART = re.compile(r"[a-z][a-z0-9_]{0,31}")  # also of a variant


def recorded_statements(base: "Base | None") -> tuple[Statement, ...]:
    """What a project has recorded of its base, for whoever opens one of its files."""
    if base is None:
        return ()
    found = base.recorded_prediction
    predicts = () if found is None else (found.statement(found.source),)
    return predicts if base.variant is None else (*predicts, Statement(_RECORD, variant=base.variant))


def check_said(folder: Path, kept: Sequence[Statement], said: Sequence[Statement]) -> None:
    """A project keeps to what is recorded of what its model predicts.

    Args:
        folder: the project's, for complaints.
        kept: what is recorded; see :func:`recorded_statements`.
        said: what the user says.

    Raises:
        UsageError: the user says otherwise.
    """
    for record in (one for one in kept if one.word is not None):
        for one in said:
            if one.word in {None, record.word} and one.zero_snr in {None, record.zero_snr}:
                continue
            asked = " ".join(filter(None, (one.source, one.word)))
            how = f"{record.word}, {'with' if record.zero_snr else 'without'} zero terminal SNR"
            message = f"{asked} does not fit {folder}: it was begun with a model that predicts {how}"
            raise UsageError(message, fix=f"leave {one.source} out, or start a new project: --project DIR")


@dataclass(frozen=True, slots=True)
class BasePart:
    """One file, or one folder, of the base.

    Attributes:
        kind: ``demo`` (ships with clora), ``file``, or ``folder`` (of diffusers).
        path: where it lay when the project began; None for the demo model.
        sha256: of the whole file, or of all files that the folder is read from, in hex.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = NO_UNKNOWN_FIELDS

    kind: Annotated[str, Checked(one_of(_DEMO, "file", "folder"))]
    path: Annotated[str | None, Checked(optional(text))]
    sha256: Sha256

    @property
    def place(self) -> Path:
        """Where it was recorded to lie, whether or not anything is there."""
        return DEMO_MODEL if self.kind == _DEMO else Path(self.path or "")

    def locate(self) -> Path:
        """Where it was recorded to lie.

        Raises:
            ProjectError: nothing is there any more.
        """
        if not self.place.exists():
            raise ProjectError(f"the project's base {self.place} is gone", fix=_GONE)
        return self.place


@dataclass(frozen=True, slots=True)
class Base:
    """The public model that a project started from; never written.

    Attributes:
        family: name of the model's family, such as ``sd1``.
        parts: the files that it consists of, by what they hold. One of them is the main part, whose weights
            are taught: ``checkpoint``, a whole model, or ``transformer``, beside text encoders and VAE in
            files of their own.
        prediction: what its network predicts, ``epsilon`` or ``v``; None: not recorded, the base itself says.
        zero_snr: whether its noise schedule ends in pure noise; None: likewise.
        variant: which of its family's variants it is, such as ``turbo``; None: nobody has said so.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = NO_UNKNOWN_FIELDS

    family: Annotated[str, Checked(matching(_FAMILY))]
    parts: Mapping[Annotated[str, Checked(matching(_PART))], BasePart]
    prediction: Annotated[str | None, Checked(optional(one_of("epsilon", "v")))] = None
    zero_snr: Annotated[bool | None, Checked(optional(truth))] = None
    variant: Annotated[str | None, Checked(optional(matching(_PART)))] = None

    @classmethod
    def of_checkpoint(cls, family: str, kind: str, path: str | None, sha256: str) -> "Base":
        """A base that lies in one file or folder; see :class:`BasePart`."""
        return cls(family, {CHECKPOINT: BasePart(kind, path, sha256)})

    @property
    def main_name(self) -> str:
        """Name of the part whose weights are taught."""
        return next(name for name in _MAIN if name in self.parts)

    @property
    def main(self) -> BasePart:
        """The part whose weights are taught."""
        return self.parts[self.main_name]

    @property
    def kind(self) -> str:
        """Of the main part."""
        return self.main.kind

    @property
    def path(self) -> str | None:
        """Of the main part."""
        return self.main.path

    @property
    def sha256(self) -> str:
        """What identifies the base: the sha256 of its one part; of several, that of their names and hashes.

        >>> Base.of_checkpoint("sd1", "demo", None, 64 * "a").sha256 == 64 * "a"
        True
        """
        if len(self.parts) == 1:
            return next(iter(self.parts.values())).sha256
        lines = (f"{name}\0{part.sha256}\n" for name, part in sorted(self.parts.items()))
        return sha256("".join(lines).encode()).hexdigest()

    @property
    def recorded_prediction(self) -> Prediction | None:
        """What its network predicts; None: it is not recorded."""
        kind = kind_of(self.prediction)
        return None if kind is None else Prediction(kind, bool(self.zero_snr), _RECORD)

    def predicting(self, prediction: Prediction) -> "Base":
        """The same base, with what its network predicts; not of a family that predicts one thing alone."""
        if prediction.kind == "flow":
            return self
        return replace(self, prediction=prediction.kind, zero_snr=prediction.zero_snr)

    @property
    def companions(self) -> Mapping[str, Path]:
        """Files beside the main part, by the component that they hold."""
        return {name: part.place for name, part in self.parts.items() if name != self.main_name}

    def model_place(self, main: Path) -> ModelPlace:
        """All of the model whose main part is ``main``: the base itself, or what a project has made of it."""
        return ModelPlace(main, self.companions, self.family)

    def problems(self) -> list[str]:
        """What no single field shows to be wrong; each reads on from the base's place in its file."""
        found = [] if set(_MAIN) & set(self.parts) else [f".parts has no part called {' or '.join(_MAIN)}"]
        return found + [
            f".parts.{name}.path does not fit a base of the kind {part.kind!r}"
            for name, part in self.parts.items()
            if (part.kind != _DEMO) != bool(part.path)
        ]

    def locate(self) -> Path:
        """Where the main part was recorded to lie.

        Raises:
            ProjectError: nothing is there any more.
        """
        return self.main.locate()

    def find(self, place: Path | None = None) -> Path:
        """Where the main part lies: the very model that is recorded, never another one in its place.

        Args:
            place: where it lies now, or its name on the hub; None: where it was.

        Raises:
            BaseChanged: what lies there is another model.
            ProjectError: nothing lies where it was.
            CheckpointError: it cannot be read.
        """
        file = self.locate() if place is None else find_base(place)
        self.check(file)
        return file

    def moved_to(self, path: Path) -> "Base":
        """The same base, whose main part lies at ``path`` now; the demo model never moves."""
        if self.main.kind == _DEMO:
            return self
        return replace(self, parts={**self.parts, self.main_name: replace(self.main, path=str(path))})

    def check(self, file: Path) -> None:
        """Make sure that ``file`` (or folder) is this base's main part; reads all of it, if it is new.

        Raises:
            BaseChanged: its content is another.
            CheckpointError: it cannot be read.
        """
        found = model_sha256(file)
        if found != self.main.sha256:
            raise self._changed(str(file), found, self.main.sha256)

    def check_companions(self) -> None:
        """Make sure that the files beside the main part are those that are recorded.

        Raises:
            BaseChanged: the content of one is another.
            ProjectError: one is gone.
            CheckpointError: one cannot be read.
        """
        for name, file in self.companions.items():
            found, recorded = companion_sha256(self.parts[name].locate()), self.parts[name].sha256
            if found != recorded:
                message = f"{file} is not the {name.replace('_', ' ')} that the project started with: its "
                message += f"sha256 is {found}, recorded is {recorded}"
                raise BaseChanged(message, fix=f"put the original back (it was {file})")

    def companions_at(self, files: Mapping[str, Path]) -> "Base":
        """The same base, of which these components lie elsewhere now.

        Raises:
            UsageError: the base has no such component in a file of its own.
        """
        for name in files:
            if name not in self.companions:
                what = f"the project's model has no {name.replace('_', ' ')} in a file of its own"
                raise UsageError(what, fix="leave the option out")
        moved = {name: replace(self.parts[name], path=str(file.absolute())) for name, file in files.items()}
        return replace(self, parts={**self.parts, **moved})

    def with_companions(self, files: Mapping[str, Path]) -> "Base":
        """The same base, of which these components lie in files of their own.

        Raises:
            CheckpointError: one cannot be read.
        """
        if not files:
            return self
        beside = {
            name: BasePart("folder" if file.is_dir() else "file", str(file), companion_sha256(file))
            for name, file in files.items()
        }
        return replace(self, parts={_TRANSFORMER: self.main, **beside})

    def check_hash(self, sha256: str) -> None:
        """Make sure that a base with this :attr:`sha256` is this one.

        Raises:
            BaseChanged: it is another.
        """
        if sha256 != self.sha256:
            raise self._changed(self.path or "the demo model", sha256, self.sha256)

    def _changed(self, name: str, found: str, recorded: str) -> BaseChanged:
        if self.kind == _DEMO:
            fix = "install the version of clora that the project was started with, or start a new project"
        else:
            fix = (
                f"put the original back (it was {self.path}), or say where it lies now: `clora relocate FILE`"
            )
        message = (
            f"{name} is not the base that the project started from: its sha256 is {found}, "
            f"recorded is {recorded}"
        )
        return BaseChanged(message, fix=fix)
