"""The project folder: what has been learned, where its files lie, and how one state becomes the next."""

from .copying import copy_project
from .folder import DiskUsage, Project
from .manifest import FORMAT_VERSION, MANIFEST, Manifest
from .records import Base, ConceptRecord, Image, State

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST",
    "Base",
    "ConceptRecord",
    "DiskUsage",
    "Image",
    "Manifest",
    "Project",
    "State",
    "copy_project",
]
