"""The project folder: what has been learned, where its files lie, and how one state becomes the next."""

from .base import Base, BasePart
from .copying import copy_project
from .disk_usage import DiskUsage
from .folder import Project
from .manifest import MANIFEST, Manifest
from .migrations import FORMAT_VERSION
from .records import ConceptRecord, Image, Reweighting, State
from .relocating import relocate

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST",
    "Base",
    "BasePart",
    "ConceptRecord",
    "DiskUsage",
    "Image",
    "Manifest",
    "Project",
    "Reweighting",
    "State",
    "copy_project",
    "relocate",
]
