"""Several folders as one dataset: regularisation pictures last, as many of them as of the others."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from clora_ext.data.picture import Picture
from clora_ext.data.scan import Dataset
from clora_ext.errors import DatasetError

__all__ = ["joined"]


def joined(datasets: Sequence[Dataset]) -> Dataset:
    """One dataset of all.

    A picture that lies in two folders is shown for each of them.

    Raises:
        DatasetError: no picture shows the concept, or regularisation pictures stand beside none that does.
    """
    pictures = [picture for one in datasets for picture in one.pictures]
    taught = [picture for picture in pictures if not picture.subset.regularisation]
    if not taught:
        raise DatasetError("there are regularisation pictures alone", fix="name the concept's pictures too")
    others = [picture for picture in pictures if picture.subset.regularisation]
    numbers = dict.fromkeys(picture.subset.dataset for picture in others)
    balanced = [
        picture
        for number in numbers
        for picture in _balanced(
            sum(one.repeats for one in taught if one.subset.dataset == number),
            [one for one in others if one.subset.dataset == number],
        )
    ]
    return Dataset(
        root=_shared([one.root for one in datasets]),
        pictures=(*taught, *balanced),
        rejected=tuple(bad for one in datasets for bad in one.rejected),
        notes=(*(note for one in datasets for note in one.notes), *_left_out(len(others) - len(balanced))),
    )


def _balanced(wanted: int, others: Sequence[Picture]) -> list[Picture]:
    """Regularisation pictures with the repeats that make them as many as the concept's, as sd-scripts does.

    In turn, first each as often as its folder says, then once more, until there are enough; the last of them
    may make them a few more, and those that are not reached are left out.
    """
    if not wanted:
        raise DatasetError(
            "a dataset holds regularisation pictures and none of the concept",
            fix="put them into the dataset of the concept's pictures",
        )
    repeats = [0] * len(others)
    while sum(repeats) < wanted:
        is_first = not any(repeats)
        for place, picture in enumerate(others):
            if sum(repeats) >= wanted:
                break
            repeats[place] += picture.repeats if is_first else 1
    return [replace(one, repeats=times) for one, times in zip(others, repeats, strict=True) if times]


def _left_out(count: int) -> tuple[str, ...]:
    some = "1 regularisation picture is" if count == 1 else f"{count} regularisation pictures are"
    return (f"{some} not needed: there are more of them than of the concept's",) if count else ()


def _shared(folders: Sequence[Path]) -> Path:
    """The folder that holds all of them, as it was written where there is only one."""
    if len(set(folders)) == 1:
        return folders[0]
    try:
        return Path(os.path.commonpath([folder.absolute() for folder in folders]))
    except ValueError:  # on Windows, of different drives
        return folders[0]
