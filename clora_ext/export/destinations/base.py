"""What a destination is given and what it says."""

from pathlib import Path
from typing import Protocol

from clora_ext.errors import UsageError
from clora_ext.export.atomic import FileSet
from clora_ext.export.bundle import ExportBundle
from clora_ext.export.card import SMALL

__all__ = ["Destination", "refuse_folder", "unknown_model", "zero_snr_remark"]


class Destination(Protocol):
    """A program that models are exported to."""

    title: str
    """What people call it."""

    takes_everything: bool
    """Whether text encoder and VAE must come along, where the model has them in files of their own."""

    def place(self, folder: Path, model: ExportBundle) -> FileSet:
        """What to write where, below or at ``folder``; reads the disk and changes nothing.

        Raises:
            UsageError: the folder is not one of this program; says what was looked for.
        """
        ...

    def remark(self, model: ExportBundle) -> str:
        """What the user should know about this model in this program; may be empty."""
        ...

    def next_step(self, model: ExportBundle) -> str:
        """What to do now, in one line."""
        ...


def refuse_folder(folder: Path, title: str, looked_for: str, fix: str) -> UsageError:
    """The complaint about a folder that is not the program's."""
    what = "does not exist" if not folder.exists() else f"is not a {title} folder"
    return UsageError(f"{folder} {what}; looked for {looked_for}", fix=fix)


def zero_snr_remark(model: ExportBundle, title: str) -> str:
    """A remark for web interfaces if the model's noise schedule ends in pure noise; may be empty."""
    if not model.card.prediction.zero_snr:
        return ""
    return (
        f"this model was trained with zero terminal SNR: where {title} does not set it by itself, choose "
        "Zero Terminal SNR in Settings, Sampler parameters, Noise schedule for sampling"
    )


def unknown_model(model: ExportBundle, title: str) -> str:
    """A remark if the program cannot load a model of these sizes."""
    if model.card.architecture != SMALL:
        return ""
    return (
        f"{title} knows no model of these sizes (the demo model is clora's own): it will not load this file"
    )
