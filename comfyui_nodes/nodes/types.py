"""The pack's own wires, and what many of its nodes have in common."""

from typing import Any

from clora_ext.project import MANIFEST

from ..host import io
from ..state import project_folder

__all__ = ["CATEGORY", "DATASET", "EVOLVING", "REPORT", "evolving_outputs", "state_of"]

CATEGORY = "clora"

EVOLVING = io.Custom("CLORA_PROJECT")
"""A :class:`comfyui_nodes.state.Evolving`."""

DATASET = io.Custom("CLORA_DATASET")
"""A :class:`comfyui_nodes.state.Dataset`."""

REPORT = io.Custom("CLORA_REPORT")
"""A :class:`comfyui_nodes.state.Report`."""


def evolving_outputs() -> list[Any]:
    """What every node gives that opens or changes a project."""
    return [
        io.Model.Output("MODEL", display_name="model", tooltip="Draws with everything learned so far."),
        io.Clip.Output("CLIP", display_name="clip", tooltip="Reads the prompts."),
        io.Vae.Output("VAE", display_name="vae", tooltip="The base's own."),
        EVOLVING.Output(
            "PROJECT", display_name="project", tooltip="The project in this state: go on with it."
        ),
        io.String.Output(
            "TRIGGERS", display_name="triggers", tooltip="The words that call the concepts, a line each."
        ),
    ]


def state_of(name: str) -> int:
    """Changes whenever the project of that name does; 0: there is none."""
    manifest = project_folder(name) / MANIFEST
    return manifest.stat().st_mtime_ns if manifest.exists() else 0
