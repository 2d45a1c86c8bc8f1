"""The finished LoRA as a training file wants it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clora_ext.runs.lora_output import LoraDtype, LoraOutput

__all__ = ["lora_of"]

_ABOUT = "about_"
_DTYPES: Mapping[str, LoraDtype] = {"float": "fp32", "fp16": "fp16", "bf16": "bf16"}
_NUMBERS = {
    "save_every_steps": "every_steps",
    "save_every_epochs": "every_epochs",
    "save_last_steps": "last_steps",
    "save_last_epochs": "last_epochs",
    "save_epoch_ratio": "epoch_ratio",
}


def lora_of(path: Path, values: Mapping[str, Any]) -> LoraOutput:
    """How it is kept at ``path``, by values under clora's names."""
    return LoraOutput(
        path,
        dtype=_DTYPES[values.get("lora_dtype", "fp16")],
        about={
            name.removeprefix(_ABOUT): str(one) for name, one in values.items() if name.startswith(_ABOUT)
        },
        comment=values.get("training_comment", ""),
        **{name: values[key] for key, name in _NUMBERS.items() if key in values},
    )
