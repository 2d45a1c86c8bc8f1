"""Pictures that are held out of a training to validate it, chosen by their content."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from clora_ext.data.picture import Picture
from clora_ext.data.scan import Dataset
from clora_ext.data.subset import Subset
from clora_ext.errors import DatasetError

__all__ = ["held_out_of"]


def held_out_of(dataset: Dataset, share: float, seed: int) -> Dataset:
    """The dataset with a share of the concept's pictures held out; of folders that ask for it, another one.

    Which they are follows from their content and the seed alone: not from names, order or other pictures, so
    a resumed run holds out the same, and a picture that lies in two folders is held out of both. No picture
    is in both parts.

    Args:
        dataset: of all pictures.
        share: of the concept's pictures, 0 to 1; at least one is held out, and at least one is not. That of
            a folder counts more; there, 1 is all of it.
        seed: another one holds out others; likewise.

    Raises:
        DatasetError: there is one picture alone.
    """
    groups: dict[tuple[float, int], set[str]] = {}
    whole = {one.sha256 for one in dataset.taught if one.subset.validation_split == 1}
    for one in dataset.taught:
        if one.sha256 not in whole:
            groups.setdefault(_rule(one.subset, share, seed), set()).add(one.sha256)
    chosen = frozenset(whole).union(*(_chosen(contents, *rule) for rule, contents in groups.items()))
    if not chosen:
        return dataset
    if all(one.sha256 in chosen for one in dataset.taught):
        raise DatasetError("every picture is held out by one folder or another", fix="hold out fewer")
    return replace(
        dataset,
        pictures=_without(dataset.pictures, chosen),
        held_out=tuple(one for one in dataset.taught if one.sha256 in chosen),
    )


def _rule(subset: Subset, share: float, seed: int) -> tuple[float, int]:
    """Share and seed that hold for a folder."""
    own_share, own_seed = subset.validation_split, subset.validation_seed
    return share if own_share is None else own_share, seed if own_seed is None else own_seed


def _chosen(contents: set[str], share: float, seed: int) -> list[str]:
    """Of the folders that hold out the same share by the same seed."""
    if not share:
        return []
    if len(contents) == 1:
        raise DatasetError("one picture cannot be held out of itself", fix="leave out --validation-split")
    count = min(len(contents) - 1, max(1, round(share * len(contents))))
    return sorted(contents, key=lambda content: _place(content, seed))[:count]


def _place(content: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}/{content}".encode()).hexdigest()


def _without(pictures: Sequence[Picture], chosen: frozenset[str]) -> tuple[Picture, ...]:
    """Those that are trained on: a picture of the class that is also one of the concept's is not."""
    return tuple(one for one in pictures if one.sha256 not in chosen)
