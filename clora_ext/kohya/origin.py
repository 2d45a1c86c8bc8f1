"""Where a value comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clora_ext.config.knob_fields import knob_fields
from clora_ext.config.settings import Settings

from .judge import Given

__all__ = ["ACTS", "Origin", "Sourced", "of_default", "of_given", "path_from", "settings_as_written"]

ACTS = "sd-scripts' default"
"""The place of a value that acts where no file says anything."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from.

    Attributes:
        place: file and line, or what acts where no file says anything.
        written: key and value, for people.
    """

    place: str
    written: str


_PLAIN = {"flag", "whole", "number", "text", "ending"}
_OF_FOLDERS = frozenset(
    "repeats caption_extension default_caption regularisation loss_weight interpolation "
    "enable_bucket min_bucket_reso max_bucket_reso bucket_reso_steps bucket_no_upscale".split()
)
"""What holds for single folders and is no setting."""
_OF_LORAS = frozenset(
    "lora_dtype save_every_steps save_every_epochs save_last_steps save_last_epochs save_epoch_ratio "
    "log_prefix wandb_name training_comment about_title about_author about_description about_license "
    "about_tags about_usage_hint about_thumbnail about_merged_from about_trigger_phrase about_preprocessor "
    "about_is_negative_embedding".split()
)
"""What is said of the finished LoRA, and of a run's folder for TensorBoard."""

Sourced = dict[str, tuple[Any, Origin]]
"""Values by clora's names."""


def of_given(given: Given) -> Origin:
    """A key of a file."""
    place = str(given.path) if given.line is None else f"{given.path}:{given.line}"
    return Origin(place, f"{given.key.name} = {given.written}")


def of_default(name: str, value: object) -> Origin:
    """What sd-scripts takes by itself."""
    return Origin(ACTS, f"{name} = {value}")


def path_from(folder: Path, written: str) -> Path:
    """A path of a configuration: relative ones start at the configuration's own folder."""
    return folder / Path(written).expanduser()


def settings_as_written(given: Mapping[str, Given]) -> Sourced:
    """What needs no translation: the table says which setting a key becomes, and the value stays."""
    knobs = knob_fields(Settings)
    return {
        one.key.becomes: (one.value, of_given(one))
        for one in given.values()
        if one.key.becomes in {*knobs, *_OF_FOLDERS, *_OF_LORAS} and one.key.kind in _PLAIN
    }
