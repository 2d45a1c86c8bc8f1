"""The captions that pictures would have under another concept, without decoding them again."""

from dataclasses import replace

from clora_ext.data.captions import find_caption
from clora_ext.data.concept import Concept
from clora_ext.data.layout import find_layout
from clora_ext.data.scan import Dataset

__all__ = ["captions_as"]


def captions_as(dataset: Dataset, concept: Concept) -> Dataset:
    """The same pictures with the captions of ``concept``; notes stay those of the scan.

    Raises:
        DatasetError: the folder has changed since the scan.
        Unusable: a caption file cannot be read any more.
    """
    groups = {group.folder: group for group in find_layout(dataset.root).groups}
    pictures = []
    for picture in dataset.pictures:
        group = groups[picture.path.parent]
        caption = find_caption(group.captions.get(picture.path, ()), group.words, concept)
        pictures.append(replace(picture, caption=caption.text, caption_from=caption.source))
    return replace(dataset, pictures=tuple(pictures))
