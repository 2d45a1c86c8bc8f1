"""Projects: begin one, load one, go back."""

from typing import Any, get_args

from clora_ext.formats.prediction import PredictionKind

from ..host import checkpoint_names, io
from ..state import DEMO, Evolving, go_back, open_project, project_folder, project_names, start_project
from .types import CATEGORY, EVOLVING, evolving_outputs, state_of

__all__ = ["LoadEvolvingModel", "StartProject", "Undo"]


_AS_IT_SAYS = "as its files say"
_TRUTH = {"yes": True, "no": False}


class StartProject(io.ComfyNode):
    """Begin to teach a model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node looks like."""
        return io.Schema(
            node_id="CloraStartProject",
            display_name="Clora Start Project",
            category=CATEGORY,
            description="Begin to teach a checkpoint. The checkpoint itself is never written.",
            inputs=[
                io.Combo.Input(
                    "checkpoint",
                    options=[*checkpoint_names(), DEMO],
                    tooltip="The model to start from: Stable Diffusion 1.5, SDXL, or clora's small one.",
                ),
                io.String.Input(
                    "name",
                    default="my-model",
                    tooltip="Of the project: a folder in output/clora. If it exists, it is continued.",
                ),
                io.Combo.Input(
                    "prediction",
                    optional=True,
                    options=[_AS_IT_SAYS, *get_args(PredictionKind)],
                    default=_AS_IT_SAYS,
                    tooltip="What the checkpoint predicts, where no file says it. The project keeps to it.",
                ),
                io.Combo.Input(
                    "zero_snr",
                    optional=True,
                    options=[_AS_IT_SAYS, *_TRUTH],
                    default=_AS_IT_SAYS,
                    tooltip="Whether the checkpoint was trained on a noise schedule that ends in pure noise "
                    "(zero terminal SNR).",
                ),
            ],
            outputs=evolving_outputs(),
        )

    @classmethod
    def execute(
        cls, checkpoint: str, name: str, prediction: str = _AS_IT_SAYS, zero_snr: str = _AS_IT_SAYS
    ) -> io.NodeOutput:
        """Open or begin."""
        kind = None if prediction == _AS_IT_SAYS else prediction
        evolving = start_project(name, checkpoint, (kind, _TRUTH.get(zero_snr)))
        return io.NodeOutput(*evolving.outputs, evolving, evolving.triggers)

    @classmethod
    def fingerprint_inputs(
        cls, checkpoint: str, name: str, prediction: str = _AS_IT_SAYS, zero_snr: str = _AS_IT_SAYS
    ) -> Any:
        """Looks again when the project has changed, whoever has changed it."""
        return checkpoint, name, prediction, zero_snr, state_of(name)


class LoadEvolvingModel(io.ComfyNode):
    """Go on with a project."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node looks like."""
        return io.Schema(
            node_id="CloraLoadModel",
            display_name="Clora Load Evolving Model",
            category=CATEGORY,
            description="Load a project as it is now, with everything that it has learned.",
            inputs=[
                io.Combo.Input(
                    "project",
                    options=project_names(),
                    tooltip="A folder in output/clora. What the command line teaches there is seen at once.",
                )
            ],
            outputs=evolving_outputs(),
        )

    @classmethod
    def execute(cls, project: str) -> io.NodeOutput:
        """Load."""
        evolving = open_project(project_folder(project))
        return io.NodeOutput(*evolving.outputs, evolving, evolving.triggers)

    @classmethod
    def fingerprint_inputs(cls, project: str) -> Any:
        """Looks again when the project has changed, whoever has changed it."""
        return project, state_of(project)


class Undo(io.ComfyNode):
    """Go back to fewer concepts."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node looks like."""
        return io.Schema(
            node_id="CloraUndo",
            display_name="Clora Undo",
            category=CATEGORY,
            description="Go back to the first so many concepts. A project that has no more stays as it is.",
            inputs=[
                EVOLVING.Input("project", tooltip="The project to go back in."),
                io.Int.Input(
                    "concepts",
                    default=0,
                    min=0,
                    max=1000,
                    tooltip="How many concepts to keep. As far back as earlier models were kept.",
                ),
            ],
            outputs=evolving_outputs(),
        )

    @classmethod
    def execute(cls, project: Evolving, concepts: int) -> io.NodeOutput:
        """Undo one after another."""
        evolving = go_back(project, concepts)
        return io.NodeOutput(*evolving.outputs, evolving, evolving.triggers)
