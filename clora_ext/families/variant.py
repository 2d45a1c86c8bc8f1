"""What shapes do not tell of a model: which of its family's variants it is. Needs no torch.

A family's data name the usual one as ``variant``; under ``named`` stand others, with what names of files
say, what follows from it and other suggested settings.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clora_ext.errors import UsageError, did_you_mean
from clora_ext.formats.text import quoted

__all__ = ["ToldVariant", "Variant", "tell_variant", "variants_in"]

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
    """

    name: str
    title: str
    pattern: str = ""
    advice: str = ""
    suggested: Mapping[str, Any] = field(default_factory=dict)

    def is_named(self, words: str) -> bool:
        """Whether words are a name of it."""
        letters = re.sub(r"[^a-z0-9]", "", words.lower())
        return bool(self.pattern) and re.search(self.pattern, letters) is not None


@dataclass(frozen=True, slots=True)
class ToldVariant:
    """Which variant a model is taken for.

    Attributes:
        variant: the one.
        source: who says so; empty: nobody, it is the usual one.
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
        other = " or ".join(f"--variant {name}" for name in self.others)
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
        Variant(one["variant"], one["title"], one["name"], one["advice"], one.get("suggested_settings", {}))
        for one in named
    )
    return (Variant(usual, usual.capitalize(), usual), *others)


def tell_variant(
    title: str,
    variants: Sequence[Variant],
    file: Path,
    metadata: Mapping[str, str],
    said: str | None,
) -> ToldVariant | None:
    """Which variant a model is; None: its family has none.

    Args:
        title: of the family.
        variants: of the family, the usual one first.
        file: of the model; its name may say so.
        metadata: of its header, which may say so.
        said: what the user says; None: nothing.

    Raises:
        UsageError: there is no such variant.
    """
    names = [one.name for one in variants]
    if said is not None and not variants:
        raise UsageError(f"{title} has no variants to tell apart", fix="leave --variant out")
    if said is not None and said not in names:
        raise UsageError(f"{title} has no variant {quoted(said)}", fix=did_you_mean(said, names))
    if not variants:
        return None
    name = next((part for part in file.parts if part.startswith(_HUB)), file.name)
    hints = [(f"its name {name}", name)]
    hints += [(key, metadata[key]) for key in _METADATA if key in metadata]
    found, source = variants[0], ""
    for who, words in hints:
        fitting = [one for one in variants if one.is_named(words)]
        if len(fitting) == 1:
            found, source = fitting[0], f"{who} ({metadata[who]})" if who in metadata else who
            break
    if said is not None:
        found, source = variants[names.index(said)], "--variant"
    return ToldVariant(found, source, tuple(name for name in names if name != found.name))
