"""A pipeline that diffusers puts together from blocks, as the folder that it reads."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clora_ext.formats.folder_files import INDICES

__all__ = ["ModularParts"]


@dataclass(frozen=True)
class ModularParts:
    """The parts of one, written as diffusers' ``ModularPipeline.save_pretrained`` does.

    That names the folder in which it writes, which is nobody's any more when it is moved; without a name,
    what lies in the folder is found.

    Attributes:
        components: what is saved, by name.
        pipeline: diffusers' class of the whole.
        blocks: its class of the blocks.
    """

    components: Mapping[str, Any]
    pipeline: str
    blocks: str

    def save_pretrained(self, folder: Path, *, safe_serialization: bool = True) -> None:
        """Write a new folder."""
        from diffusers import __version__

        index: dict[str, Any] = {
            "_blocks_class_name": self.blocks,
            "_class_name": self.pipeline,
            "_diffusers_version": __version__,
        }
        for name, part in self.components.items():
            options = {"safe_serialization": True} if safe_serialization and _has_weights(part) else {}
            part.save_pretrained(folder / name, **options)
            kind = [type(part).__module__.partition(".")[0], type(part).__name__]
            place = {"pretrained_model_name_or_path": None, "revision": None, "subfolder": name}
            index[name] = [*kind, {**place, "type_hint": kind, "variant": None}]
        text = json.dumps(index, indent=2, sort_keys=True) + "\n"
        (folder / INDICES[1]).write_text(text, encoding="utf-8")


def _has_weights(part: Any) -> bool:  # noqa: ANN401 - of several libraries
    return hasattr(part, "state_dict")
