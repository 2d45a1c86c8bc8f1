"""Forge: checkpoint, preview and card with the kind of model; a configuration for v-prediction."""

from pathlib import Path

from clora_ext.export.atomic import FileSet
from clora_ext.export.bundle import ExportBundle
from clora_ext.formats.installed import is_webui

from .base import refuse_flow, refuse_folder, unknown_model, zero_snr_remark
from .webui import LOOKED_FOR, sidecars

__all__ = ["DESTINATION", "Forge"]

_VERSIONS = {"stable-diffusion-v1": "SD1", "stable-diffusion-xl-v1-base": "SDXL"}


class Forge:
    """A folder of the program."""

    title = "Forge"
    takes_everything = False

    def place(self, folder: Path, model: ExportBundle) -> FileSet:
        """Checkpoint and sidecars."""
        if not is_webui(folder) or not (folder / "modules_forge").is_dir():
            fix = (
                "this is Automatic1111: use --to a1111" if is_webui(folder) else "name the folder of webui.py"
            )
            raise refuse_folder(folder, self.title, f"{LOOKED_FOR} and modules_forge/", fix)
        refuse_flow(model, self.title)
        version = _VERSIONS.get(model.card.architecture, "Unknown")
        card = {
            "description": model.card.description,
            "notes": model.card.notes,
            "sd_version_str": f"SdVersion.{version}",
        }
        # Of the file, Forge reads this one entry.
        is_v = model.card.prediction.kind == "v"
        config = {"model": {"params": {"parameterization": "v"}}} if is_v else None
        return sidecars(folder, model, card, config)

    def remark(self, model: ExportBundle) -> str:
        """Models of other sizes, and zero terminal SNR."""
        return unknown_model(model, self.title) or zero_snr_remark(model, self.title)

    def next_step(self, model: ExportBundle) -> str:
        """Where it appears."""
        return f"in Forge, refresh the list of checkpoints and choose {model.name}"


DESTINATION = Forge()
