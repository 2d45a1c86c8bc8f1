"""The project folder: what has been learned, where its files lie, and how one state becomes the next."""

from .folder import DiskUsage, Project
from .manifest import FORMAT_VERSION, Manifest
from .records import Base, ConceptRecord, Image, State

__all__ = [
    "FORMAT_VERSION",
    "Base",
    "ConceptRecord",
    "DiskUsage",
    "Image",
    "Manifest",
    "Project",
    "State",
]
