"""Automatic1111's web interface: checkpoint, preview and card; a configuration for v-prediction."""

from pathlib import Path

from clora_ext.errors import UsageError
from clora_ext.export.atomic import FileSet
from clora_ext.export.bundle import ExportBundle
from clora_ext.export.ldm_config import V_CONFIGS
from clora_ext.formats.installed import is_webui

from .base import refuse_folder, unknown_model, zero_snr_remark
from .webui import LOOKED_FOR, sidecars

__all__ = ["DESTINATION", "Automatic1111"]


class Automatic1111:
    """A folder of the program."""

    title = "Automatic1111"
    takes_everything = False

    def place(self, folder: Path, model: ExportBundle) -> FileSet:
        """Checkpoint and sidecars."""
        if not is_webui(folder):
            fix = "name the folder that webui.py lies in"
            raise refuse_folder(folder, self.title, LOOKED_FOR, fix)
        if (folder / "modules_forge").is_dir():
            raise refuse_folder(folder, self.title, "no modules_forge/", "this is Forge: use --to forge")
        if model.card.prediction.kind == "flow":
            message = f"{self.title} cannot load {model.family.title}"
            raise UsageError(message, fix="export it --to comfyui, or --to forge of a new Forge Neo")
        card = {"description": model.card.description, "notes": model.card.notes}
        config = V_CONFIGS.get(model.card.architecture) if _is_v(model) else None
        return sidecars(folder, model, card, config)

    def remark(self, model: ExportBundle) -> str:
        """Models of other sizes, v-prediction that the program cannot be told of, and zero terminal SNR."""
        if _is_v(model) and model.card.architecture not in V_CONFIGS:
            return "this model predicts v; Automatic1111 needs a .yaml beside it that clora does not write"
        return unknown_model(model, self.title) or zero_snr_remark(model, self.title)

    def next_step(self, model: ExportBundle) -> str:
        """Where it appears."""
        return f"in the web interface, refresh the list of checkpoints and choose {model.name}"


def _is_v(model: ExportBundle) -> bool:
    return model.card.prediction.kind == "v"


DESTINATION = Automatic1111()
