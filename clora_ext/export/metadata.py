"""The header's metadata of an exported model: modelspec, history, thumbnail, within what viewers read."""

from collections.abc import Iterator, Mapping, Sequence

from clora_ext.formats.header import TensorInfo, encode_header
from clora_ext.formats.history import HISTORY_KEY, encode_history
from clora_ext.project import Base, ConceptRecord

from .card import SMALL, Card

__all__ = ["HASH_KEY", "LARGEST_HEADER", "UNSEALED", "make_metadata"]

HASH_KEY = "modelspec.hash_sha256"
"""Metadata key: sha256 of every byte after the header."""

UNSEALED = "0x" + "0" * 64
"""What stands there until the bytes are known: as long as a hash."""

LARGEST_HEADER = 1 << 20
"""Bytes: above this ComfyUI does not show a file's metadata."""

_MODELSPEC = "modelspec."
_CLORA = "clora."
_SETTINGS = ("steps", "rank", "alpha", "learning_rate", "batch_size", "resolution")
_FEWEST = 100
_FLUX_2 = "https://github.com/black-forest-labs/flux2"
_LAYOUTS = {
    SMALL: "clora",
    "anima-preview": "https://huggingface.co/circlestone-labs/Anima",
    "z-image": "https://github.com/Tongyi-MAI/Z-Image",
    "krea-2": "https://github.com/krea-ai/krea-2",
    "flux-2-klein-4b": _FLUX_2,
    "flux-2-klein-9b": _FLUX_2,
}
_LONGEST = 200


def make_metadata(
    card: Card,
    base: Base,
    concepts: Sequence[ConceptRecord],
    kept: Mapping[str, str],
    thumbnail: str | None,
    tensors: Mapping[str, TensorInfo],
) -> dict[str, str]:
    """The richest metadata with which the header stays below :data:`LARGEST_HEADER`.

    The hash of the bytes stands open: :data:`UNSEALED`. What goes first when there is too much: what other
    programs wrote into the base, settings of concepts, the thumbnail, the oldest concepts.

    Args:
        card: the model in words.
        base: what it was made from.
        concepts: what it has learned, oldest first.
        kept: the checkpoint's metadata; what modelspec said of the base is replaced.
        thumbnail: data URL.
        tensors: in the order of :func:`clora_ext.formats.header.layout`.
    """
    chosen: dict[str, str] = {}
    for candidate in _candidates(card, base, concepts, kept, thumbnail):
        chosen = candidate
        if len(encode_header(tensors, chosen)) < LARGEST_HEADER:
            break
    return chosen


def _candidates(
    card: Card,
    base: Base,
    concepts: Sequence[ConceptRecord],
    kept: Mapping[str, str],
    thumbnail: str | None,
) -> Iterator[dict[str, str]]:
    """From everything to the least."""
    foreign = {
        key: value
        for key, value in kept.items()
        if not key.startswith(_MODELSPEC) and _is_unicode(key + value)
    }
    own = {key: value for key, value in foreign.items() if key.startswith(_CLORA)}
    spec = _modelspec(card)
    picture = {} if thumbnail is None else {f"{_MODELSPEC}thumbnail": thumbnail}
    full = {HISTORY_KEY: _history(base, [_entry(one) for one in concepts], len(concepts))}
    brief = {HISTORY_KEY: _history(base, [_brief(one) for one in concepts], len(concepts))}
    newest = {HISTORY_KEY: _history(base, [_brief(one) for one in concepts[-_FEWEST:]], len(concepts))}
    yield {**foreign, **spec, **picture, **full}
    yield {**own, **spec, **picture, **full}
    yield {**own, **spec, **picture, **brief}
    yield {**own, **spec, **brief}
    yield {**own, **spec, **newest}


def _is_unicode(text: str) -> bool:
    """Not so if JSON's escapes spelled half a character: such text cannot be written."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _modelspec(card: Card) -> dict[str, str]:
    """The fields of https://github.com/Stability-AI/ModelSpec that are known."""
    # The reference implementation of the layout that the file is in.
    layout = _LAYOUTS.get(card.architecture, "https://github.com/Stability-AI/generative-models")
    fields: dict[str, str | None] = {
        "sai_model_spec": "1.0.1",
        "architecture": card.architecture,
        "implementation": layout,
        "title": card.title,
        "resolution": f"{card.resolution}x{card.resolution}",
        "description": card.description,
        "date": card.created,
        "license": card.licence,
        "merged_from": card.merged_from,
        "prediction_type": card.prediction.kind,
        "predict_key": card.prediction.kind,
        "hash_sha256": UNSEALED,
        "tags": ", ".join(("clora", *card.tags[-_FEWEST:])),
    }
    if card.triggers:
        fields["trigger_phrase"] = card.trigger_phrase
        fields["usage_hint"] = card.usage_hint
    return {f"{_MODELSPEC}{key}": value for key, value in fields.items() if value is not None}


def _history(base: Base, entries: Sequence[Mapping[str, object]], count: int) -> str:
    about: dict[str, object] = {"base": {"family": base.family, "sha256": base.sha256}}
    if len(entries) < count:
        about["left_out"] = count - len(entries)
    return encode_history(entries, about)


def _entry(concept: ConceptRecord) -> dict[str, object]:
    """One concept with the settings that say most."""
    settings = {name: concept.setting(name) for name in _SETTINGS}
    return {
        **_brief(concept),
        "created": concept.created,
        "pictures": len(concept.images),
        "seed": concept.seed,
        **{name: value for name, value in settings.items() if isinstance(value, int | float)},
        "content_hash": concept.content_hash,
    }


def _brief(concept: ConceptRecord) -> dict[str, object]:
    return {
        "token": concept.token[:_LONGEST],
        "class": concept.class_name[:_LONGEST],
        "strategy": concept.strategy[:_LONGEST],
    }
