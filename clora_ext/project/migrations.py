"""Manifests of older formats, made into the present one: functions on plain values, applied when reading.

The file itself is written in the present format by the next commit or undo, never by reading. A migration is
frozen: what it needs of its time stands here as literals, so that it gives the same whatever the settings are
today. What a damaged manifest holds in place of a table or a list is left to whoever reads the records.
"""

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["FORMAT_VERSION", "migrated"]

FORMAT_VERSION = 6
"""Of the manifests that this clora writes.

1: the first. 2: memories keep residuals, which a reader of 1 would not see. 3: the base has named parts,
settings stand in groups. 4: what the base predicts is recorded. 5: changes of concepts may be kept, and
concepts weighed anew. 6: which variant of its family the base is.
"""


def migrated(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """A manifest of any format up to :data:`FORMAT_VERSION` in that one; ``content`` stays as it is.

    >>> migrated({"format_version": 1})
    {'format_version': 6}
    """
    for migration in _MIGRATIONS[content["format_version"] - 1 :]:
        content = migration(content)
    return content


def _m001_to_002(content: Mapping[str, Any]) -> dict[str, Any]:
    """The change was in the memories; the evolving model reads those of either kind."""
    return {**content, "format_version": 2}


def _m002_to_003(content: Mapping[str, Any]) -> dict[str, Any]:
    """One file as the base becomes its part ``checkpoint``; flat settings go into their groups."""
    new = {**content, "format_version": 3}
    if isinstance(content.get("base"), dict):
        new["base"] = _base_003(content["base"])
    if isinstance(content.get("concepts"), list):
        new["concepts"] = [_concept_003(concept) for concept in content["concepts"]]
    return new


def _base_003(base: Mapping[str, Any]) -> dict[str, Any]:
    part = {name: base[name] for name in ("kind", "path", "sha256") if name in base}
    rest = {name: value for name, value in base.items() if name not in part}
    return {**rest, "parts": {"checkpoint": part}}


def _concept_003(concept: object) -> object:
    if not isinstance(concept, dict) or not isinstance(concept.get("settings"), dict):
        return concept
    return {**concept, "settings": _settings_003(concept["settings"])}


_GROUPS_003 = {
    "rank": "adapter",
    "alpha": "adapter",
    "targets": "adapter",
    "text_encoder": "adapter",
    "learning_rate": "optimizer",
    "weight_decay": "optimizer",
    "max_grad_norm": "optimizer",
    "steps": "schedule",
    "warmup_steps": "schedule",
    "batch_size": "data",
    "resolution": "data",
    "gradient_checkpointing": "compute",
}
"""Every setting of format 2 that format 3 has in a group; the others stay where they were."""

# Format 1 began without these; what was taught then was taught so.
_MISSING_003 = {"targets": "attention", "text_encoder": False, "gradient_checkpointing": False}


def _settings_003(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a training in groups; what is kept of a LoRA that was folded in has none of them."""
    if not _GROUPS_003.keys() & settings.keys():
        return dict(settings)
    complete = {**_MISSING_003, **settings}
    groups: dict[str, dict[str, Any]] = {}
    for name, group in _GROUPS_003.items():
        if name in complete:
            groups.setdefault(group, {})[name] = complete.pop(name)
    return {**complete, **groups}


def _m003_to_004(content: Mapping[str, Any]) -> dict[str, Any]:
    """What the base predicts was read from it by every run, and still is where nothing is recorded."""
    new = {**content, "format_version": 4}
    if isinstance(content.get("base"), dict):
        new["base"] = {"prediction": None, "zero_snr": None, **content["base"]}
    return new


def _m004_to_005(content: Mapping[str, Any]) -> dict[str, Any]:
    """No change was kept, and every concept had the weight that it was taught with."""
    new = {**content, "format_version": 5}
    if isinstance(content.get("concepts"), list):
        none = {"delta": None, "reweighting": None}
        new["concepts"] = [
            {**none, **concept} if isinstance(concept, dict) else concept for concept in content["concepts"]
        ]
    return new


def _m005_to_006(content: Mapping[str, Any]) -> dict[str, Any]:
    """Each run said or guessed anew which variant the base is."""
    new = {**content, "format_version": 6}
    if isinstance(content.get("base"), dict):
        new["base"] = {"variant": None, **content["base"]}
    return new


_MIGRATIONS: tuple[Callable[[Mapping[str, Any]], dict[str, Any]], ...] = (
    _m001_to_002,
    _m002_to_003,
    _m003_to_004,
    _m004_to_005,
    _m005_to_006,
)
