"""Where in a project's folder everything lies."""

from pathlib import Path

from .litter import CHECKPOINTS, MEMORY, SHEETS
from .records import BASE_SHEET, later_sample_name, sheet_name

__all__ = ["ProjectPaths"]


class ProjectPaths:
    """The places inside a project.

    Attributes:
        folder: where the project lies.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def checkpoints_dir(self) -> Path:
        """Folder of checkpoints; write a new one there as ``new.safetensors``, then adopt it."""
        return self.folder / CHECKPOINTS

    @property
    def memory_dir(self) -> Path:
        """Folder of memories; write a new one there as ``new.safetensors``, then adopt it."""
        return self.folder / MEMORY

    @property
    def sheets_dir(self) -> Path:
        """Folder of contact sheets."""
        return self.folder / SHEETS

    def new_sheet(self, number: int, token: str, class_name: str) -> Path:
        """Where the contact sheet of a concept is to be written."""
        return self.sheets_dir / sheet_name(number, token, class_name)

    @property
    def base_sheet(self) -> Path:
        """Where what the base draws of what nobody has taught lies; may not exist."""
        return self.sheets_dir / BASE_SHEET

    def later_sample(self, number: int, content_hash: str) -> Path:
        """Where a sample of a concept by the model of that content hash lies; may not exist."""
        return self.sheets_dir / later_sample_name(number, content_hash)
