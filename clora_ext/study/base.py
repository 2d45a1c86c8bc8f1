"""The model that every run of a study starts from."""

from dataclasses import dataclass
from pathlib import Path

from clora_ext import families
from clora_ext.families.base import Family
from clora_ext.families.hub import DEMO_MODEL, find_base
from clora_ext.families.place import ModelPlace, find_place
from clora_ext.formats.header import Header
from clora_ext.formats.models import model_sha256

from .file import StudyFile

__all__ = ["StudyBase", "find_study_base"]


@dataclass(frozen=True, slots=True)
class StudyBase:
    """The base.

    Attributes:
        place: its file or folder, and what lies beside it.
        is_demo: whether it is the built-in model.
        sha256: what identifies it.
        family: what kind of model it is.
        header: of its file.
    """

    place: ModelPlace
    is_demo: bool
    sha256: str
    family: Family
    header: Header

    @property
    def path(self) -> Path:
        """Its file or folder."""
        return self.place.path


def find_study_base(study: StudyFile, place: Path) -> StudyBase:
    """The base that the study names: a path from ``place``, or what ``--base`` takes; else the demo model.

    Raises:
        CheckpointError: there is none, or it cannot be used.
    """
    if study.base is None:
        path = DEMO_MODEL
    else:
        beside = place / study.base
        path = beside if beside.exists() else find_base(Path(study.base))
    found = find_place(path, {})
    header = found.header()
    family = families.detect(header, path)
    return StudyBase(found, study.base is None, model_sha256(path), family, header)
