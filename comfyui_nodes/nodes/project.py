"""Projects: begin one, load one, go back."""

from typing import Any, get_args

from clora_ext import families
from clora_ext.formats.prediction import PredictionKind

from ..host import io, listed, listed_path, model_names
from ..state import (
    DEMO,
    LISTS,
    Evolving,
    go_back,
    open_project,
    project_folder,
    project_names,
    start_project,
)
from .types import CATEGORY, EVOLVING, evolving_outputs, state_of

__all__ = ["LoadEvolvingModel", "StartProject", "Undo"]


_AS_IT_SAYS = "as its files say"
_TRUTH = {"yes": True, "no": False}
_FOUND = "the one that fits"


def _variants() -> list[str]:
    """Names of variants of any family, each once."""
    return sorted({one.name for name in families.names() for one in families.load(name).variants})


def _companion_input(component: str, title: str) -> Any:
    """The choice of a file of what a model may lack."""
    return io.Combo.Input(
        component,
        optional=True,
        options=[_FOUND, *listed(LISTS[component])],
        default=_FOUND,
        tooltip=f"The {title} of a model whose file is a transformer alone; others have their own.",
    )


class StartProject(io.ComfyNode):
    """Begin to teach a model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node looks like."""
        return io.Schema(
            node_id="CloraStartProject",
            display_name="Clora Start Project",
            category=CATEGORY,
            description="Begin to teach a model. Its file itself is never written.",
            inputs=[
                io.Combo.Input(
                    "checkpoint",
                    options=[*model_names(), DEMO],
                    tooltip="The model to start from: Stable Diffusion 1.5, SDXL, Z-Image, Flux.2 klein, "
                    "Anima or Krea 2 (all four in diffusion_models/), or clora's small one.",
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
                _companion_input("text_encoder", "text encoder"),
                _companion_input("vae", "VAE"),
                io.Combo.Input(
                    "variant",
                    optional=True,
                    options=[_AS_IT_SAYS, *_variants()],
                    default=_AS_IT_SAYS,
                    tooltip="Which variant the model is, where shapes do not tell and neither its name nor "
                    "its metadata says it: of Z-Image base or turbo, of Flux.2 klein base, distilled or kv, "
                    "of Anima base, turbo or aesthetic, of Krea 2 raw or turbo.",
                ),
            ],
            outputs=evolving_outputs(),
        )

    @classmethod
    def execute(
        cls, checkpoint: str, name: str, prediction: str = _AS_IT_SAYS, zero_snr: str = _AS_IT_SAYS,
        text_encoder: str = _FOUND, vae: str = _FOUND, variant: str = _AS_IT_SAYS,
    ) -> io.NodeOutput:  # fmt: skip
        """Open or begin."""
        kind = None if prediction == _AS_IT_SAYS else prediction
        chosen = {"text_encoder": text_encoder, "vae": vae}
        named = {one: listed_path(LISTS[one], file) for one, file in chosen.items() if file != _FOUND}
        which = None if variant == _AS_IT_SAYS else variant
        evolving = start_project(name, checkpoint, (kind, _TRUTH.get(zero_snr)), named, which)
        return io.NodeOutput(*evolving.outputs, evolving, evolving.triggers)

    @classmethod
    def fingerprint_inputs(cls, name: str, **inputs: str) -> Any:
        """Looks again when the project has changed, whoever has changed it."""
        return name, tuple(sorted(inputs.items())), state_of(name)


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
