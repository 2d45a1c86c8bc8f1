"""What the user asks for: one more concept, from pictures or from a finished LoRA. Needs no torch."""

from dataclasses import dataclass
from pathlib import Path

from clora_ext.config.settings import Settings

__all__ = ["Lora", "Pictures", "Request"]


@dataclass(frozen=True, slots=True)
class Pictures:
    """A folder of pictures to train on.

    Attributes:
        folder: images; a kohya folder (``10_sks dog``); or a parent of kohya folders.
        skip_bad: leave out unusable files instead of refusing all.
        convert: accept pictures that look different as 8-bit RGB.
        export_lora: file outside of the project to keep the trained adapter in, in kohya's format; None: it
            is kept nowhere.
    """

    folder: Path
    skip_bad: bool = False
    convert: bool = False
    export_lora: Path | None = None


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA that was trained elsewhere.

    Attributes:
        file: a safetensors file of any dialect; it is only read.
        weight: its strength, as in ``<lora:name:0.8>``.
    """

    file: Path
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """One more concept for a project's model.

    Attributes:
        source: what it is learned from.
        project: folder of the evolving model; made if it does not exist.
        base: what a new project starts from: a safetensors file, a diffusers folder, or, where there is no
            such path, the name of a model on the Hugging Face hub (which is then fetched); None: the built-in
            demo model.
        token: rare word that will call the concept; None: from the folder's name or what the LoRA's file
            says, else the next unused one.
        class_name: what kind of thing it is; None: from the folder's name; of a LoRA, ``LoRA``.
        settings: how to teach; None: as suits the model. Of a finished LoRA, strategy and samples count.
        keep: earlier checkpoints to keep for undo.
    """

    source: Pictures | Lora
    project: Path = Path("clora-model")
    base: Path | None = None
    token: str | None = None
    class_name: str | None = None
    settings: Settings | None = None
    keep: int = 1
