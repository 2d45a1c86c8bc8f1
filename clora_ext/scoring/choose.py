"""A scorer by its name: ``demo``, or a kind and where its weights lie, such as ``dinov2:./dinov2-small``."""

from pathlib import Path
from typing import TYPE_CHECKING

from clora_ext.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from .scorer import Scorer

__all__ = ["KINDS", "check_scorer", "open_scorer"]

KINDS = {
    "demo": "",
    "clip": "openai/clip-vit-base-patch32",
    "dino": "facebook/dino-vits16",
    "dinov2": "facebook/dinov2-small",
    "csd": "",
}
"""Every kind, with the name on the hub that is meant where none is given; empty: there is none."""


def check_scorer(name: str) -> None:
    """Make sure that the scorer is there; loads nothing. What the hub gives is fetched now.

    Raises:
        UsageError: there is no such kind, or it needs a place.
        CheckpointError: its weights are missing, another model's, or a pickle.
    """
    kind, where = _parsed(name)
    if kind == "csd":
        from .csd import check_csd

        check_csd(Path(where))
    elif kind != "demo":
        from .encoders import check_folder
        from .weights import find_folder

        check_folder(kind, find_folder(where))


def open_scorer(name: str) -> "Scorer":
    """The scorer, ready to score, on the accelerator if there is one.

    Raises:
        UsageError: as :func:`check_scorer`.
        CheckpointError: likewise, or tensors are missing.
    """
    from clora_ext.config.precision import pick_precision

    from .csd import load_csd
    from .demo import load_demo_scorer
    from .encoders import load_clip, load_vision
    from .weights import find_folder

    kind, where = _parsed(name)
    if kind == "demo":
        return load_demo_scorer()
    device = pick_precision().device
    if kind == "csd":
        return load_csd(Path(where), device)
    folder = find_folder(where)
    return load_clip(folder, device) if kind == "clip" else load_vision(kind, folder, device)


def _parsed(name: str) -> tuple[str, str]:
    """Kind and place.

    >>> _parsed("dinov2:./weights"), _parsed("clip")
    (('dinov2', './weights'), ('clip', 'openai/clip-vit-base-patch32'))
    """
    kind, _, where = name.partition(":")
    if kind not in KINDS:
        raise UsageError(f"unknown scorer {kind!r:.80}", fix=did_you_mean(kind, tuple(KINDS)))
    if kind == "demo" and where:
        raise UsageError("the scorer demo ships with clora", fix="name it without a place: demo")
    if kind == "csd" and not where:
        raise UsageError("the scorer csd needs its weights", fix="csd:FILE.safetensors")
    return kind, where or KINDS[kind]
