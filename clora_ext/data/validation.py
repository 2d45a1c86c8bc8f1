"""Pictures that are held out of a training to validate it, chosen by their content."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from clora_ext.data.picture import Picture
from clora_ext.data.scan import Dataset
from clora_ext.errors import DatasetError

__all__ = ["held_out_of"]


def held_out_of(dataset: Dataset, share: float, seed: int) -> Dataset:
    """The dataset with a share of the concept's pictures held out.

    Which they are follows from their content and the seed alone: not from names, order or other pictures, so
    a resumed run holds out the same, and a picture that lies in two folders is held out of both. No picture
    is in both parts.

    Args:
        dataset: of all pictures.
        share: of the concept's pictures, 0 to 1; at least one is held out, and at least one is not.
        seed: another one holds out others.

    Raises:
        DatasetError: there is one picture alone.
    """
    if not share:
        return dataset
    contents = sorted({one.sha256 for one in dataset.taught}, key=lambda content: _place(content, seed))
    if len(contents) == 1:
        raise DatasetError("one picture cannot be held out of itself", fix="leave out --validation-split")
    count = min(len(contents) - 1, max(1, round(share * len(contents))))
    chosen = frozenset(contents[:count])
    return replace(
        dataset,
        pictures=_without(dataset.pictures, chosen),
        held_out=tuple(one for one in dataset.taught if one.sha256 in chosen),
    )


def _place(content: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}/{content}".encode()).hexdigest()


def _without(pictures: Sequence[Picture], chosen: frozenset[str]) -> tuple[Picture, ...]:
    """Those that are trained on: a picture of the class that is also one of the concept's is not."""
    return tuple(one for one in pictures if one.sha256 not in chosen)
