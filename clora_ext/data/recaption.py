"""The captions that pictures would have under another concept, without decoding them again."""

from dataclasses import replace
from pathlib import Path

from clora_ext.data.captions import find_caption
from clora_ext.data.concept import Concept
from clora_ext.data.layout import Group
from clora_ext.data.scan import Dataset, layout_of
from clora_ext.data.subset import Subset
from clora_ext.data.varied_captions import plain_caption

__all__ = ["captions_as"]


def captions_as(dataset: Dataset, concept: Concept) -> Dataset:
    """The same pictures with the captions of ``concept``; notes stay those of the scan.

    Raises:
        DatasetError: the folder has changed since the scan.
        Unusable: a caption file cannot be read any more.
    """
    groups = {subset: groups_of(subset) for subset in dict.fromkeys(one.subset for one in dataset.pictures)}
    pictures = []
    for picture in dataset.pictures:
        group = groups[picture.subset][picture.path.parent]
        caption = find_caption(group.captions.get(picture.path, ()), group.words, concept, picture.subset)
        text = plain_caption(picture.subset.captions, caption.text)
        pictures.append(replace(picture, caption=text, caption_from=caption.source))
    return replace(dataset, pictures=tuple(pictures))


def groups_of(subset: Subset) -> dict[Path, Group]:
    """A subset's folders by their paths."""
    return {group.folder: group for group in layout_of(subset).groups}
