"""The model and what it has learned, as files."""

from ..files import save, save_lora
from ..host import io
from ..state import Evolving
from .types import CATEGORY, EVOLVING

__all__ = ["ExportLora", "SaveCheckpoint"]


class SaveCheckpoint(io.ComfyNode):
    """One checkpoint that every program loads."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node looks like."""
        return io.Schema(
            node_id="CloraSaveCheckpoint",
            display_name="Clora Save Checkpoint",
            category=CATEGORY,
            description="Write the model as one .safetensors file, with preview and card, for ComfyUI, "
            "Automatic1111 and Forge.",
            is_output_node=True,
            inputs=[
                EVOLVING.Input("project", tooltip="What to write."),
                io.String.Input(
                    "name", default="my-model", tooltip="Of the file. One that exists is replaced."
                ),
                io.Combo.Input(
                    "target",
                    options=["comfyui", "a1111", "both"],
                    tooltip="comfyui: into its models. a1111: into webui_folder, or output/clora-a1111.",
                ),
                io.Combo.Input(
                    "dtype",
                    options=["as stored", "fp16", "bf16", "fp32"],
                    tooltip="Precision. as stored: that of the base; fp32 becomes fp16.",
                ),
                io.String.Input(
                    "webui_folder",
                    optional=True,
                    default="",
                    tooltip="The web UI's folder, if ComfyUI was started with CLORA_ANY_FOLDER=1.",
                ),
                io.Boolean.Input(
                    "all_in_one",
                    optional=True,
                    default=False,
                    tooltip="Of a model in parts, for ComfyUI: text encoder and VAE in the same file.",
                ),
            ],
            outputs=[
                io.String.Output("PATHS", display_name="paths", tooltip="What was written, a line each.")
            ],
        )

    @classmethod
    def execute(
        cls, project: Evolving, name: str, target: str, dtype: str, webui_folder: str = "", *,
        all_in_one: bool = False,
    ) -> io.NodeOutput:  # fmt: skip
        """Export."""
        programs = ("comfyui", "a1111") if target == "both" else (target,)
        wish = None if dtype == "as stored" else dtype
        paths = [
            save(project, program, name, wish, webui_folder, all_in_one=all_in_one) for program in programs
        ]
        text = "\n".join(map(str, paths))
        return io.NodeOutput(text, ui={"text": (text,)})


class ExportLora(io.ComfyNode):
    """What was learned, as one LoRA."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node looks like."""
        return io.Schema(
            node_id="CloraExportLora",
            display_name="Clora Export LoRA",
            category=CATEGORY,
            description="Write everything learned since the base as one LoRA, in the format that suits the "
            "model.",
            is_output_node=True,
            inputs=[
                EVOLVING.Input("project", tooltip="What to write."),
                io.String.Input("name", default="my-lora", tooltip="Of the file, in output/loras."),
                io.Int.Input("rank", default=64, min=1, max=1024, tooltip="Larger: more exact, larger file."),
            ],
            outputs=[io.String.Output("PATH", display_name="path", tooltip="The file.")],
        )

    @classmethod
    def execute(cls, project: Evolving, name: str, rank: int) -> io.NodeOutput:
        """Extract."""
        written = save_lora(project, name, rank)
        text = f"{written.path}\n{100 * written.captured:.1f} % of what was learned"
        if written.left_out:
            text += f"\nwithout {len(written.left_out)} changed norms, biases or embeddings"
        return io.NodeOutput(str(written.path), ui={"text": (text,)})
