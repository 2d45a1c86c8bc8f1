"""Automatic1111's web interface: checkpoint, preview and card; a configuration for v-prediction."""

from pathlib import Path

from clora_ext.export.atomic import FileSet
from clora_ext.export.bundle import ExportBundle

from .base import refuse_folder, unknown_model
from .webui import LOOKED_FOR, is_webui, sidecars

__all__ = ["DESTINATION", "Automatic1111"]

_SD1 = "stable-diffusion-v1"


class Automatic1111:
    """A folder of the program."""

    title = "Automatic1111"

    def place(self, folder: Path, model: ExportBundle) -> FileSet:
        """Checkpoint and sidecars."""
        if not is_webui(folder):
            fix = "name the folder that webui.py lies in"
            raise refuse_folder(folder, self.title, LOOKED_FOR, fix)
        if (folder / "modules_forge").is_dir():
            raise refuse_folder(folder, self.title, "no modules_forge/", "this is Forge: use --to forge")
        card = {"description": model.card.description, "notes": model.card.notes}
        config = _sd1_config() if _is_v(model) and model.card.architecture == _SD1 else None
        return sidecars(folder, model, card, config)

    def remark(self, model: ExportBundle) -> str:
        """Models of other sizes, and v-prediction that the program cannot be told of."""
        if _is_v(model) and model.card.architecture != _SD1:
            return "this model predicts v; Automatic1111 needs a .yaml beside it that clora does not write"
        return unknown_model(model, self.title)

    def next_step(self, model: ExportBundle) -> str:
        """Where it appears."""
        return f"in the web interface, refresh the list of checkpoints and choose {model.name}"


def _is_v(model: ExportBundle) -> bool:
    return model.card.prediction == "v"


def _sd1_config() -> dict[str, object]:
    """Stable Diffusion 1 that predicts v, for the classes of CompVis' and Stability AI's `ldm` package.

    The numbers are those of the model (https://github.com/CompVis/stable-diffusion, v1-inference).
    """
    levels = [1, 2, 4, 4]
    unet = {
        "image_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": 320,
        "attention_resolutions": [4, 2, 1],
        "num_res_blocks": 2,
        "channel_mult": levels,
        "num_heads": 8,
        "use_spatial_transformer": True,
        "transformer_depth": 1,
        "context_dim": 768,
        "use_checkpoint": False,
        "legacy": False,
    }
    autoencoder = {
        "double_z": True,
        "z_channels": 4,
        "resolution": 256,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 128,
        "ch_mult": levels,
        "num_res_blocks": 2,
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    first_stage = {"embed_dim": 4, "ddconfig": autoencoder, "lossconfig": {"target": "torch.nn.Identity"}}
    params = {
        "parameterization": "v",
        "linear_start": 0.00085,
        "linear_end": 0.012,
        "timesteps": 1000,
        "num_timesteps_cond": 1,
        "first_stage_key": "jpg",
        "cond_stage_key": "txt",
        "image_size": 64,
        "channels": 4,
        "cond_stage_trainable": False,
        "conditioning_key": "crossattn",
        "scale_factor": 0.18215,
        "use_ema": False,
        "unet_config": {"target": "ldm.modules.diffusionmodules.openaimodel.UNetModel", "params": unet},
        "first_stage_config": {"target": "ldm.models.autoencoder.AutoencoderKL", "params": first_stage},
        "cond_stage_config": {"target": "ldm.modules.encoders.modules.FrozenCLIPEmbedder"},
    }
    return {"model": {"target": "ldm.models.diffusion.ddpm.LatentDiffusion", "params": params}}


DESTINATION = Automatic1111()
