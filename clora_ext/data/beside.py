"""What lies beside pictures and belongs to them: captions, masks."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "CAPTION_SUFFIXES",
    "Captions",
    "find_masks",
    "is_document",
    "match_captions",
    "match_masks",
    "same_stem",
]

CAPTION_SUFFIXES = (".txt", ".caption")
# OneTrainer keeps these two endings for itself: such a file is never a picture to it, wherever it lies.
ALWAYS = re.compile(r".+-(masklabel|condlabel)", re.IGNORECASE | re.DOTALL)
OF_LOSS = re.compile(r"(.+)(?:-masklabel|[-_. ]masks?)", re.IGNORECASE | re.DOTALL)
# What other programs and people call them. As a picture may be called so too, there has to be its picture.
WITH_A_PICTURE = re.compile(r"(.+)[-_. ](masks?|cond|conditioning|control|depth)", re.IGNORECASE | re.DOTALL)
DOCUMENTS = frozenset({"readme", "license", "licence", "copying", "notice", "credits", "attribution"})
DOCUMENTS |= {"changelog", "prompt", "prompts", "sample_prompts"}


@dataclass(frozen=True, slots=True)
class Captions:
    """The caption files of a folder, by what they belong to.

    Attributes:
        of: those of each picture that has any, sorted by name.
        idle: those of no picture, sorted by name.
    """

    of: Mapping[Path, tuple[Path, ...]]
    idle: tuple[Path, ...]


def normal(name: str) -> str:
    """``name`` in Unicode NFC: macOS and Windows write one and the same name in different characters."""
    return unicodedata.normalize("NFC", name)


def full_name(name: str) -> str:
    """The name of a picture as captions are compared with it: NFC, its ending in lower case.

    >>> full_name("Snow.PNG")
    'Snow.png'
    """
    path = Path(name)
    return normal(path.stem) + path.suffix.lower()


def is_document(path: Path) -> bool:
    """Whether a text is named as what lies in many folders and is no caption: README.txt and the like."""
    return path.suffix.lower() == ".txt" and path.stem.casefold() in DOCUMENTS


def match_captions(images: Sequence[Path], captions: Sequence[Path]) -> Captions:
    """Which caption belongs to which picture; both are sorted.

    ``a.png.txt`` is for ``a.png`` alone; ``a.txt`` is for every picture named ``a``, but for those that share
    this name with others and have a caption by their full name.
    """
    by_full: dict[str, list[Path]] = {}
    by_stem: dict[str, list[Path]] = {}
    full_names = {full_name(image.name) for image in images}
    for caption in captions:
        whole = full_name(caption.stem)
        if whole in full_names:
            by_full.setdefault(whole, []).append(caption)
        else:
            by_stem.setdefault(normal(caption.stem), []).append(caption)
    shared = set(same_stem(images))
    found: dict[Path, tuple[Path, ...]] = {}
    for image in images:
        own, common = by_full.get(full_name(image.name), []), by_stem.get(normal(image.stem), [])
        files = own if own and image in shared else sorted([*own, *common])
        if files:
            found[image] = tuple(files)
    used = {caption for files in found.values() for caption in files}
    return Captions(found, tuple(path for path in captions if path not in used))


def same_stem(images: Iterable[Path]) -> tuple[Path, ...]:
    """Pictures whose name differs from another's in nothing but the ending, sorted."""
    by_stem: dict[str, list[Path]] = {}
    for image in images:
        by_stem.setdefault(normal(image.stem), []).append(image)
    return tuple(sorted(image for group in by_stem.values() if len(group) > 1 for image in group))


def match_masks(images: Sequence[Path], masks: Iterable[Path]) -> Mapping[Path, Path]:
    """Which mask says what counts of which picture: ``a-masklabel.png`` or ``a_mask.png`` of ``a.png``.

    Conditions, control pictures and depth maps say nothing of the kind.
    """
    by_name: dict[str, list[Path]] = {}
    for image in images:
        for name in {normal(image.stem), full_name(image.name)}:
            by_name.setdefault(name, []).append(image)
    found: dict[Path, Path] = {}
    for mask in masks:
        named = OF_LOSS.fullmatch(normal(mask.stem))
        for image in () if named is None else by_name.get(named[1], ()):
            found.setdefault(image, mask)
    return found


def find_masks(images: Sequence[Path]) -> frozenset[Path]:
    """Those of ``images`` that are masks or conditions of others and no pictures to learn, by their names."""
    names = {normal(image.stem) for image in images} | {full_name(image.name) for image in images}

    def is_mask(stem: str) -> bool:
        named = WITH_A_PICTURE.fullmatch(stem)
        return ALWAYS.fullmatch(stem) is not None or (
            named is not None and not names.isdisjoint({named[1], full_name(named[1])})
        )

    return frozenset(image for image in images if is_mask(normal(image.stem)))
