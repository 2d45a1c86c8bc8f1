"""What shapes do not tell of a model: which of its family's variants it is. Needs no torch.

A family's data name the usual one as ``variant``; under ``named`` stand others, with what names of files
say, what follows from it and other suggested settings; ``usual_name`` is what names of the usual one say,
where that is not its own.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clora_ext.errors import UsageError, did_you_mean
from clora_ext.formats.text import quoted

__all__ = ["RECORD", "ToldVariant", "Variant", "tell_variant", "variants_in"]

_METADATA = ("modelspec.title", "modelspec.architecture")
RECORD = "the project"
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
        source: who says so: ``--variant``, :data:`RECORD`, a name, metadata; empty: nobody, so it is the
            usual one.
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
    return (Variant(usual, usual.capitalize(), data.get("usual_name", usual)), *others)


def tell_variant(
    title: str,
    variants: Sequence[Variant],
    file: Path,
    metadata: Mapping[str, str],
    said: str | None,
    recorded: str | None = None,
) -> ToldVariant | None:
    """Which variant a model is; None: its family has none. The user counts most, then the project's record.

    Args:
        title: of the family.
        variants: of the family, the usual one first.
        file: of the model; its name may say so.
        metadata: of its header, which may say so.
        said: what the user says; None: nothing.
        recorded: what a project has recorded; None: nothing.

    Raises:
        UsageError: there is no such variant.
    """
    names = [one.name for one in variants]
    told, source = (recorded, RECORD) if said is None else (said, "--variant")
    if said is not None and not variants:
        raise UsageError(f"{title} has no variants to tell apart", fix="leave --variant out")
    if told is not None and told not in names:
        message = f"{title} has no variant {quoted(told)}, which {source} names"
        raise UsageError(message, fix=f"say --variant: {did_you_mean(told, names)}")
    if not variants:
        return None
    if told is not None:
        return _told(variants, variants[names.index(told)], source)
    name = next((part for part in file.parts if part.startswith(_HUB)), file.name)
    hints = [(f"its name {name}", name)]
    hints += [(key, metadata[key]) for key in _METADATA if key in metadata]
    found, source = variants[0], ""
    for who, words in hints:
        fitting = [one for one in variants if one.is_named(words)]
        if len(fitting) == 1:
            found, source = fitting[0], f"{who} ({metadata[who]})" if who in metadata else who
            break
    return _told(variants, found, source)


def _told(variants: Sequence[Variant], found: Variant, source: str) -> ToldVariant:
    return ToldVariant(found, source, tuple(one.name for one in variants if one.name != found.name))
