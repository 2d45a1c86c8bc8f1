"""Teach the model: from pictures, or by somebody else's LoRA."""

from clora_ext import strategies
from clora_ext.config.presets import PRESETS
from clora_ext.config.settings import Settings

from ..host import io, lora_names, lora_path, to_image, ui
from ..state import Dataset, Evolving
from ..teach import Wishes, teach, teach_lora
from .types import CATEGORY, DATASET, EVOLVING, REPORT, evolving_outputs

__all__ = ["AddConcept", "AddLora"]

_DEFAULTS = Settings()
_STRATEGY = io.Combo.Input(
    "strategy",
    options=list(strategies.names()),
    default=_DEFAULTS.strategy,
    tooltip="How the new joins the old. mask: each weight keeps the largest change that any concept asked of "
    "it. merge: changes add up. orthogonal: learns where nothing was learned. naive: the control.",
)
_COPY = io.String.Input(
    "copy_to",
    optional=True,
    default="",
    tooltip="Teach a copy of the project by this name instead, to compare. Empty: teach the project itself.",
)
_RESULTS = [
    io.Image.Output("SHEET", display_name="sheet", tooltip="What was drawn before, and what is drawn now."),
    REPORT.Output("REPORT", display_name="report", tooltip="For the loss plot."),
]


class AddConcept(io.ComfyNode):
    """Teach one more concept."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node looks like."""
        return io.Schema(
            node_id="CloraAddConcept",
            display_name="Clora Add Concept",
            category=CATEGORY,
            description="Train a LoRA on pictures and fold it into the project's model. Cancel saves: queue "
            "again to go on. What has been taught already in the same way is there at once.",
            is_output_node=True,
            inputs=[
                EVOLVING.Input(
                    "project", tooltip="From Start Project, Load Evolving Model or another concept."
                ),
                DATASET.Input("dataset", tooltip="The pictures."),
                _STRATEGY,
                io.Combo.Input(
                    "preset",
                    options=list(PRESETS),
                    default="balanced",
                    tooltip="fast: half of the steps that suit the model; thorough: twice as many.",
                ),
                io.Int.Input(
                    "steps", default=0, min=0, max=100_000, tooltip="Exactly so many. 0: by the preset."
                ),
                io.Int.Input(
                    "rank", default=0, min=0, max=1024, tooltip="Of the LoRA. 0: as suits the model."
                ),
                io.Float.Input(
                    "learning_rate",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.00001,
                    round=0.0000001,
                    tooltip="0: as suits the model.",
                ),
                io.Int.Input(
                    "seed",
                    default=_DEFAULTS.seed,
                    min=0,
                    max=2**63 - 1,
                    control_after_generate=False,
                    tooltip="Decides all that is left to chance. The same seed gives the same model.",
                ),
                io.Int.Input(
                    "resolution",
                    default=0,
                    min=0,
                    max=4096,
                    step=8,
                    tooltip="Pixels a side of the pictures. 0: the model's own. Smaller takes less memory.",
                ),
                io.Boolean.Input("text_encoder", default=False, tooltip="Teach the text encoders too."),
                io.String.Input(
                    "sample_prompt",
                    default="",
                    tooltip="What previews and the sheet show. Empty: the first picture's caption.",
                ),
                io.Int.Input(
                    "preview_every",
                    default=50,
                    min=0,
                    max=100_000,
                    tooltip="Steps from one preview to the next, shown on this node. 0: none.",
                ),
                _COPY,
            ],
            outputs=[*evolving_outputs(), *_RESULTS],
        )

    @classmethod
    def execute(
        cls, project: Evolving, dataset: Dataset, copy_to: str = "", **wishes: object
    ) -> io.NodeOutput:
        """Teach."""
        evolving, report, sheet = teach(project, dataset, Wishes(**wishes), copy_to)
        image = to_image([sheet])
        outputs = (*evolving.outputs, evolving, evolving.triggers, image, report)
        return io.NodeOutput(*outputs, ui=ui.PreviewImage(image, cls=cls))


class AddLora(io.ComfyNode):
    """Fold in a finished LoRA."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node looks like."""
        return io.Schema(
            node_id="CloraAddLora",
            display_name="Clora Add LoRA as Concept",
            category=CATEGORY,
            description="Fold a LoRA from anywhere into the project's model, as a concept like any other.",
            is_output_node=True,
            inputs=[
                EVOLVING.Input(
                    "project", tooltip="From Start Project, Load Evolving Model or another concept."
                ),
                io.Combo.Input(
                    "lora", options=lora_names(), tooltip="kohya's, diffusers', ComfyUI's, OneTrainer's."
                ),
                _STRATEGY,
                io.Float.Input(
                    "weight", default=1.0, min=-10.0, max=10.0, step=0.05, tooltip="Its strength."
                ),
                io.String.Input(
                    "token", default="", tooltip="The word that calls it. Empty: what the file says."
                ),
                io.String.Input("class_name", default="", tooltip="What kind of thing it is. Empty: LoRA."),
                _COPY,
            ],
            outputs=[*evolving_outputs(), *_RESULTS],
        )

    @classmethod
    def execute(
        cls, project: Evolving, lora: str, strategy: str, weight: float, token: str, class_name: str,
        copy_to: str = "",
    ) -> io.NodeOutput:  # fmt: skip
        """Fold."""
        named = (token.strip() or None, class_name.strip() or None)
        evolving, report, sheet = teach_lora(project, lora_path(lora), strategy, weight, named, copy_to)
        image = to_image([sheet])
        outputs = (*evolving.outputs, evolving, evolving.triggers, image, report)
        return io.NodeOutput(*outputs, ui=ui.PreviewImage(image, cls=cls))
