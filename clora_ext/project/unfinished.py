"""What is said of a project that has learned nothing yet, with or without a run that has stopped."""

from pathlib import Path

from clora_ext.errors import ProjectError
from clora_ext.formats.training_state import StoppedRun

__all__ = ["nothing_learned", "nothing_to_undo"]

_GO_ON = "run the same `clora add-concept` command again to go on"


def nothing_learned(folder: Path, run: StoppedRun | None) -> ProjectError:
    """The complaint of whoever needs a model."""
    if run is None:
        return ProjectError(f"{folder} holds no model yet", fix="teach a first concept")
    message = f"{folder} has learned nothing yet: its first concept is unfinished ({run.words})"
    return ProjectError(message, fix=f"{_GO_ON}; there is a model when it is done")


def nothing_to_undo(folder: Path, run: StoppedRun | None, training: Path) -> ProjectError:
    """The complaint about undoing where no concept is.

    Args:
        folder: the project's.
        run: that has stopped.
        training: the folder where its state lies.
    """
    message = f"{folder} holds no concept: there is nothing to undo"
    if run is None:
        return ProjectError(message)
    message += f"; its next concept is unfinished ({run.words})"
    return ProjectError(message, fix=f"{_GO_ON}; to drop what was trained, delete {training}")
