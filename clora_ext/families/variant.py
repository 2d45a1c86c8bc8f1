"""What shapes do not tell of a model: which of its family's variants it is. Needs no torch.

A family's data name the usual one as ``variant``; under ``named`` stand others, with what names of files
say, what follows from it, other suggested settings, whether it is distilled, and other times; ``usual_name``
is what names of the usual one say, where that is not its own.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clora_ext.errors import UsageError, did_you_mean
from clora_ext.formats.header import Header
from clora_ext.formats.statements import Statement
from clora_ext.formats.text import quoted

__all__ = ["VARIANT_KEY", "VARIANT_OPTION", "ToldVariant", "Variant", "tell_variant", "variants_in"]

VARIANT_OPTION = "--variant"
"""Who says it when the user does."""

VARIANT_KEY = "clora.variant"
"""Metadata key of a checkpoint that clora has made of a variant."""

_METADATA = ("modelspec.title", "modelspec.architecture")
_HUB = "models--"  # folders of the hub's cache, in which a model's own folder has a number for a name


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the variants of a family.

    Attributes:
        name: by which a user says that it is this one.
        title: what people call it.
        pattern: of its names, small letters and digits alone; empty: no name says so.
        advice: what follows for whoever teaches it; empty: nothing.
        suggested: settings, by name, that suit it other than the family's models in general.
        is_distilled: whether diffusers' pipeline is told so of it: then it has times of its own, or refuses
            guidance.
        times: of the family's data of that name, what is otherwise.
    """

    name: str
    title: str
    pattern: str = ""
    advice: str = ""
    suggested: Mapping[str, Any] = field(default_factory=dict)
    is_distilled: bool = False
    times: Mapping[str, Any] = field(default_factory=dict)

    def is_named(self, words: str) -> bool:
        """Whether words are a name of it."""
        letters = re.sub(r"[^a-z0-9]", "", words.lower())
        return bool(self.pattern) and re.search(self.pattern, letters) is not None


@dataclass(frozen=True, slots=True)
class ToldVariant:
    """Which variant a model is taken for.

    Attributes:
        variant: the one.
        source: who says so: ``--variant``, the project, a folder's index, a name, metadata; empty: nobody,
            so it is the usual one.
        others: names of the others.
    """

    variant: Variant
    source: str
    others: tuple[str, ...]

    @property
    def note(self) -> str:
        """For people: what it is taken for, why, and what follows."""
        advice = f": {self.variant.advice}" if self.variant.advice else ""
        if self.source:
            return f"taken for {self.variant.title}, as {self.source} says{advice}"
        other = " or ".join(f"{VARIANT_OPTION} {name}" for name in self.others)
        return (
            f"taken for {self.variant.title}: nothing says which it is; if it is another, say {other}{advice}"
        )

    def as_dict(self) -> dict[str, str]:
        """Plain values for JSON."""
        return {"name": self.variant.name, "source": self.source}


def variants_in(data: Mapping[str, Any]) -> tuple[Variant, ...]:
    """The variants that a family's data name, the usual one first; none where one is like another."""
    usual = data.get("variant")
    if usual is None:
        return ()
    named = [one for one in data["named"] if "variant" in one]
    others = (
        Variant(
            one["variant"],
            one["title"],
            one["name"],
            one["advice"],
            one.get("suggested_settings", {}),
            is_distilled=one.get("distilled", False),
            times=one.get("times", {}),
        )
        for one in named
    )
    return (Variant(usual, usual.capitalize(), data.get("usual_name", usual)), *others)


def tell_variant(title: str, variants: Sequence[Variant], file: Path, header: Header) -> ToldVariant | None:
    """Which variant a model is; None: its family has none.

    What is said beside it counts most (:attr:`Header.statements`: by the user, then by the project), then
    clora's own metadata, a folder's index, its name, other metadata.

    Args:
        title: of the family.
        variants: of the family, the usual one first.
        file: of the model; its name may say so.
        header: of the model.

    Raises:
        UsageError: there is no such variant.
    """
    said = next((one for one in header.statements if one.variant is not None), None)
    if said is not None:
        return _told(variants, _named(title, variants, said), said.source)
    if not variants:
        return None
    for who, fitting in _hints(variants, file, header):
        if len(fitting) == 1:
            return _told(variants, fitting[0], who)
    return _told(variants, variants[0], "")


def _named(title: str, variants: Sequence[Variant], said: Statement) -> Variant:
    """The one that a statement names.

    Raises:
        UsageError: there is no such variant.
    """
    if not variants:
        raise UsageError(f"{title} has no variants to tell apart", fix=f"leave {VARIANT_OPTION} out")
    names, name = [one.name for one in variants], str(said.variant)
    if name not in names:
        message = f"{title} has no variant {quoted(name)}, which {said.source} names"
        raise UsageError(message, fix=f"say {VARIANT_OPTION}: {did_you_mean(name, names)}")
    return variants[names.index(name)]


def _hints(variants: Sequence[Variant], file: Path, header: Header) -> Iterator[tuple[str, list[Variant]]]:
    """Who may say which variant it is, and those that fit what is said."""
    own = header.metadata.get(VARIANT_KEY)
    yield "clora's own metadata", [one for one in variants if one.name == own]
    for said in header.statements:
        if said.is_distilled:
            yield said.source, [one for one in variants if one.is_distilled]
    name = next((part for part in file.parts if part.startswith(_HUB)), file.name)
    yield f"its name {name}", [one for one in variants if one.is_named(name)]
    for key in _METADATA:
        words = header.metadata.get(key, "")
        yield f"{key} ({words})", [one for one in variants if one.is_named(words)]


def _told(variants: Sequence[Variant], found: Variant, source: str) -> ToldVariant:
    return ToldVariant(found, source, tuple(one.name for one in variants if one.name != found.name))
