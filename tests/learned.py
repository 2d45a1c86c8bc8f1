"""Concepts that many tests begin with: taught once, then copied."""

import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from clora_ext import Pictures, Request, Result, add_concept

__all__ = ["Learned"]


class Learned:
    """Teaches what no test has asked for yet, and gives copies of what was taught.

    For tests of what comes after; what a run does itself is seen by :func:`clora_ext.add_concept` alone.

    Args:
        folder: for the projects, which no test changes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._results: dict[tuple[str, ...], Result] = {}

    def __call__(self, *requests: Request) -> Result:
        """Have the first request's project learn these, one after another; give the last one's result."""
        project = requests[0].project
        assert not project.exists()
        assert {request.project for request in requests} == {project}
        asked = tuple(map(_words, requests))
        if asked not in self._results:
            folder = self._folder / str(len(self._results)) / project.name
            folder.parent.mkdir()
            *_, self._results[asked] = [add_concept(replace(one, project=folder)) for one in requests]
        found = self._results[asked]
        shutil.copytree(found.project, project)

        def moved(file: Path) -> Path:
            return project / file.relative_to(found.project)

        sheet = None if found.sheet is None else moved(found.sheet)
        return replace(found, project=project, checkpoint=moved(found.checkpoint), sheet=sheet)


def _words(request: Request) -> str:
    """All that is asked, wherever the pictures lie."""
    assert isinstance(request.source, Pictures)
    folder = request.source.folder
    assert request.source == Pictures(folder), "what is written beside the project is not copied"
    names = sorted(file.name for file in folder.iterdir())
    digests = [sha256((folder / name).read_bytes()).hexdigest() for name in names]
    place = replace(request, project=Path(), source=Pictures(Path(folder.name)))
    return f"{place} {names} {digests}"
