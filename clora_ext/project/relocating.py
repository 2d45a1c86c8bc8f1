"""Write down where a project's base lies now: it was moved, renamed, or is on another machine."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from clora_ext.families.hub import place_of

from .folder import Project

__all__ = ["relocate"]


def relocate(project: Path, base: Path, companions: Mapping[str, Path] = MappingProxyType({})) -> Project:
    """Record that the project's base lies at ``base`` now, or on the hub by that name.

    Nothing else changes: it must be the very same model. The demo model never moves.

    Args:
        project: its folder.
        base: where the base lies now.
        companions: where the text encoder and the VAE of a model in parts lie now, by component.

    Raises:
        BaseChanged: it is another model.
        ProjectError: there is no project.
        ProjectLocked: a run works in it.
        CheckpointError: it cannot be read.
        StorageError: the disk is full or refuses.
    """
    Project.open(project).base_file(base)  # before a lock is taken; a hub may have to be asked
    with Project.writing(project) as opened:
        if opened.base is not None:
            found = opened.base.companions_at(companions)
            found.check_companions()
            opened.relocate(found.moved_to(place_of(opened.base_file(base))))
        return opened
