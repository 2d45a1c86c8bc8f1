"""ComfyUI: the checkpoint in models/checkpoints and a preview beside it."""

from pathlib import Path

from clora_ext.export.atomic import FileSet, file_of
from clora_ext.export.bundle import ExportBundle
from clora_ext.formats.installed import CHECKPOINTS, is_comfyui
from clora_ext.formats.prediction import Prediction

from .base import refuse_folder, unknown_model

__all__ = ["DESTINATION", "ComfyUI"]

_CHECKPOINTS = CHECKPOINTS["comfyui"]
_TRANSFORMERS = _CHECKPOINTS.parent / "diffusion_models"
_INSIDE = "ComfyUI"  # the portable edition keeps the program one folder deeper


class ComfyUI:
    """A folder of the program, or one that it is given with ``--base-directory``.

    Of a model in parts it has the others already: its transformer goes alone.
    """

    title = "ComfyUI"
    takes_everything = False

    def place(self, folder: Path, model: ExportBundle) -> FileSet:
        """Checkpoint and preview."""
        if not is_comfyui(folder):
            inside = folder / _INSIDE
            looked_for = f"main.py with comfy/, or {_CHECKPOINTS.as_posix()}/"
            fix = f"name {inside}" if is_comfyui(inside) else "name the folder that ComfyUI is started in"
            raise refuse_folder(folder, self.title, looked_for, fix)
        target = folder / (_TRANSFORMERS if model.is_alone else _CHECKPOINTS)
        preview = target / f"{model.name}.preview.png"
        checkpoint = model.checkpoint(target / f"{model.name}.safetensors")
        if model.preview is None:
            return FileSet((checkpoint,), remove=(preview,))
        return FileSet((file_of(preview, model.preview), checkpoint))

    def remark(self, model: ExportBundle) -> str:
        """Models of other sizes, and what ComfyUI cannot see of what a model predicts."""
        return unknown_model(model, self.title) or _unseen(model)

    def next_step(self, model: ExportBundle) -> str:
        """Where it appears."""
        node = "Load Diffusion Model" if model.is_alone else "Load Checkpoint"
        return f"in ComfyUI, press R and choose {model.name}.safetensors in {node}"


def _unseen(model: ExportBundle) -> str:
    """ComfyUI looks for the tensor ``v_pred``, and for ``ztsnr`` beside it, in SDXL only."""
    prediction = model.card.prediction
    seen = prediction.kind == "v" and model.family.name == "sdxl"
    if seen or prediction.kind == "flow" or prediction == Prediction():
        return ""
    sampling = {"epsilon": "eps", "v": "v_prediction"}[prediction.kind]
    return (
        f"ComfyUI cannot see what this model predicts ({prediction.words}): put ModelSamplingDiscrete behind "
        f"Load Checkpoint, with sampling {sampling} and zsnr {str(prediction.zero_snr).lower()}"
    )


DESTINATION = ComfyUI()
