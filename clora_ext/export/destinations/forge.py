"""Forge and Forge Neo: checkpoint, preview and card with the kind of model; a configuration for v-prediction.

Forge Neo goes on where Forge stopped, and loads models of flow matching: their transformer from the folder of
checkpoints, text encoder and VAE from ``models/text_encoder`` and ``models/VAE`` (its wiki, Download Models).
"""

from pathlib import Path

from clora_ext.errors import UsageError
from clora_ext.export.atomic import FileSet
from clora_ext.export.bundle import ExportBundle
from clora_ext.formats.installed import is_webui

from .base import refuse_folder, unknown_model, zero_snr_remark
from .webui import LOOKED_FOR, sidecars

__all__ = ["DESTINATION", "Forge"]

_VERSIONS = {"stable-diffusion-v1": "SD1", "stable-diffusion-xl-v1-base": "SDXL"}
# The file with which a Forge loads the models of a family; newer ones have more of them.
_ENGINES = {
    "anima": "anima",
    "flux2_klein_4b": "flux2",
    "flux2_klein_9b": "flux2",
    "krea2": "krea",
    "z_image": "zimage",
}


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
        if _is_flow(model):
            _check_loads(folder, model)
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
        choose = f"refresh the list of checkpoints and choose {model.name}"
        if _is_flow(model):
            beside = "its text encoder from models/text_encoder and its VAE from models/VAE"
            return f"in Forge Neo, {choose}, and under VAE / Text Encoder {beside}"
        return f"in Forge, {choose}"


def _is_flow(model: ExportBundle) -> bool:
    return model.card.prediction.kind == "flow"


def _check_loads(folder: Path, model: ExportBundle) -> None:
    """A model of flow matching, of which only newer Forges know the family.

    Raises:
        UsageError: this one does not, or not in one file.
    """
    engine = folder / "backend" / "diffusion_engine" / f"{_ENGINES.get(model.family.name)}.py"
    if not engine.is_file():
        message = f"the Forge in {folder} cannot load {model.family.title}: it has no {engine.name}"
        raise UsageError(message, fix="a new Forge Neo can; or export it --to comfyui")
    if not model.is_alone:
        message = f"Forge Neo loads the transformer of {model.family.title} from a file of its own"
        fix = "leave --all-in-one out; of a base that is one file with everything, export it --to comfyui"
        raise UsageError(message, fix=fix)


DESTINATION = Forge()
