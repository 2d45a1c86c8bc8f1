"""Text encoder and VAE beside a transformer: where they are kept, and whether they fit. Needs no torch."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from clora_ext.families.companion import Companion
from clora_ext.formats.companion_files import flow_vae_pieces
from clora_ext.formats.flow_keys import FLOW_PREFIX
from clora_ext.formats.header import Header
from clora_ext.formats.language_model import language_model_pieces

if TYPE_CHECKING:
    from .layout import FlowLayout

__all__ = ["companions_of"]


def companions_of(family: "FlowLayout") -> Mapping[str, Companion]:
    """Both, by component."""

    def check(model: Header, own: Header, file: Path) -> None:
        transformer = {name: info for name, info in model.tensors.items() if name.startswith(FLOW_PREFIX)}
        family.config(Header({**transformer, **own.tensors}), file)

    return {
        "text_encoder": Companion(
            component="text_encoder",
            title=f"{family.text.title} text encoder",
            option="--text-encoder-file",
            folders=("text_encoders", "clip"),
            usual=family.text.usual,
            read=partial(language_model_pieces, prefix=family.text.prefix, sees=family.text.sees),
            check=check,
        ),
        "vae": Companion(
            component="vae",
            title=family.vae.title,
            option="--vae-file",
            folders=("vae",),
            usual=family.vae.usual,
            read=flow_vae_pieces,
            check=check,
        ),
    }
