"""A VAE that takes the place of the checkpoint's own while a concept is learned."""

from pathlib import Path
from typing import Any

from clora_ext.formats.models import model_sha256

from .context import ProjectContext

__all__ = ["other_vae"]


def other_vae(file: Path, context: ProjectContext) -> dict[str, Any]:
    """What the manifest keeps of it, once it is known to fit.

    Args:
        file: a VAE, or a whole model with one.
        context: of the project whose model is taught.

    Raises:
        CheckpointError: it is no VAE, or one of other layers than the model's.
    """
    context.family.check_vae(context.header, file)
    return {"other_vae": {"vae": file.name, "vae_sha256": model_sha256(file)}}
