"""What LoRA files say about themselves in their header: read with distrust, written as kohya's tools do."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from clora_ext.formats.text import one_line

from .kinds import LoraKind

__all__ = ["Details", "model_metadata", "name_of", "training_metadata", "triggers_of"]

_LONGEST = 200
_MOST_TRIGGERS = 8
_DECOMPOSED = json.dumps({"algo": "lora", "dora_wd": "True"})
_READ_AT_ONCE = 75  # tokens


@dataclass(frozen=True, slots=True)
class Details:
    """What a LoRA file tells about itself. What is empty is left out.

    Attributes:
        name: the alias in ``<lora:NAME:1>`` and the title on its card.
        trigger: what to write into a prompt.
        description: one sentence.
        base_name: file name of the model that it was made for.
        base_hash: sha256 of that file.
        resolution: side of a square picture, pixels; 0: the family's.
        prediction: what the model predicts: ``epsilon`` or ``v``.
        zero_snr: whether it was trained on a noise schedule that ends in pure noise.
        clip_skip: layer of the text encoder that was read, counted from its end.
        max_token_length: how many tokens of a caption were read.
        about: what stands in the place of what is said above, by modelspec's names without ``modelspec.``.
        comment: of the training.
        tags: folder -> tag -> in how many captions it stands; web interfaces show them as trigger words.
        date: when it was made, with its time zone. It makes equal content differ in its bytes.
        extra: further metadata, such as lineage; may not begin with ``ss_``, ``sshs_`` or ``modelspec.``.
    """

    name: str
    trigger: str = ""
    description: str = ""
    base_name: str = ""
    base_hash: str = ""
    resolution: int = 0
    prediction: str = ""
    zero_snr: bool = False
    clip_skip: int = 1
    max_token_length: int = 75
    about: Mapping[str, str] = field(default_factory=dict)
    comment: str = ""
    tags: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    date: datetime | None = None
    extra: Mapping[str, str] = field(default_factory=dict)


def training_metadata(
    details: Details, kind: LoraKind, rank: str, alpha: str, *, decomposed: bool = False
) -> dict[str, str]:
    """sd-scripts' metadata (``ss_``), as text.

    Args:
        details: what the caller knows.
        kind: of the family.
        rank: of all layers, or ``Dynamic``.
        alpha: likewise.
        decomposed: whether it has magnitudes, of which sd-scripts' own LoRA knows nothing.
    """
    side = details.resolution or kind.resolution
    entries = {
        "ss_base_model_version": kind.base_version,
        "ss_v2": "False",
        "ss_network_module": "lycoris.kohya" if decomposed else "networks.lora",
        "ss_network_args": _DECOMPOSED if decomposed else "",
        "ss_network_dim": rank,
        "ss_network_alpha": alpha,
        "ss_resolution": f"({side}, {side})",
        "ss_output_name": details.name,
        "ss_sd_model_name": details.base_name,
        "ss_new_sd_model_hash": details.base_hash,
        "ss_tag_frequency": json.dumps(details.tags, sort_keys=True) if details.tags else "",
        "ss_v_parameterization": "True" if details.prediction == "v" else "",
        "ss_clip_skip": str(details.clip_skip) if details.clip_skip > 1 else "",
        "ss_max_token_length": str(details.max_token_length)
        if details.max_token_length > _READ_AT_ONCE
        else "",
        "ss_training_comment": details.comment,
        "ss_zero_terminal_snr": "True" if details.zero_snr else "",
        "ss_training_started_at": str(details.date.timestamp()) if details.date else "",
    }
    return {key: text for key, text in entries.items() if text}


def model_metadata(details: Details, kind: LoraKind) -> dict[str, str]:
    """modelspec's metadata, version 1.0.1, as text."""
    side = details.resolution or kind.resolution
    entries = {
        "sai_model_spec": "1.0.1",
        "architecture": kind.architecture,
        "implementation": kind.implementation,
        "title": details.name,
        "resolution": f"{side}x{side}",
        "description": details.description,
        "trigger_phrase": details.trigger,
        "prediction_type": details.prediction,
        "date": details.date.isoformat(timespec="seconds") if details.date else "",
        **details.about,
    }
    return {f"modelspec.{key}": text for key, text in entries.items() if text}


def name_of(metadata: Mapping[str, str]) -> str:
    """The LoRA's name by its own account, safe to show; empty if it has none."""
    names = (one_line(metadata.get(key, ""), _LONGEST) for key in ("ss_output_name", "modelspec.title"))
    return next((name for name in names if name), "")


def triggers_of(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """What to write into a prompt, by the file's own account, safe to show.

    The trigger phrase if there is one, else the most frequent tags of its training captions.
    """
    phrase = one_line(metadata.get("modelspec.trigger_phrase", ""), _LONGEST)
    if phrase:
        return (phrase,)
    counts = _tag_counts(metadata.get("ss_tag_frequency", ""))
    return tuple(sorted(counts, key=lambda tag: (-counts[tag], tag))[:_MOST_TRIGGERS])


def _tag_counts(text: str) -> Counter[str]:
    """Tags of all folders, counted; empty if the text is not what sd-scripts writes."""
    counts: Counter[str] = Counter()
    try:
        folders = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return counts
    for tags in folders.values() if isinstance(folders, dict) else ():
        for tag, count in tags.items() if isinstance(tags, dict) else ():
            if isinstance(count, int) and count > 0 and (cleaned := one_line(tag, _LONGEST)):
                counts[cleaned] += count
    return counts
