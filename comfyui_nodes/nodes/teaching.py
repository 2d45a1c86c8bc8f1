"""Teach the model: from pictures, or by somebody else's LoRA."""

from clora_ext import strategies
from clora_ext.config.presets import PRESETS, preset_summaries
from clora_ext.config.settings import Settings

from ..host import io, listed, listed_path, to_image, ui
from ..knobs import knob_input, requested_values
from ..state import Dataset, Evolving
from ..teach import teach, teach_lora
from .types import CATEGORY, DATASET, EVOLVING, REPORT, evolving_outputs

__all__ = ["AddConcept", "AddLora"]

_KNOBS = (
    "steps", "rank", "learning_rate", "seed", "resolution", "text_encoder", "sample_prompt", "preview_every",
)  # fmt: skip
"""What Add Concept shows of the settings; the order is that of stored workflows."""
_MEMORY_KNOBS = ("batch_size", "gradient_checkpointing")
"""For cards with little memory; older workflows have none of them, and no value in their places."""
_OWN_DEFAULTS = {"preview_every": 50}  # here a preview is seen at once

_STRATEGY = io.Combo.Input(
    "strategy",
    options=[*strategies.recommended(), *strategies.for_comparison()],
    default=Settings().strategy,
    tooltip="How the new joins the old. distill: answers as before everywhere else. gram: changes little of "
    "what layers answered. merge: changes add up. mask: each weight keeps the largest change. "
    "orthogonal: learns where nothing was learned. naive: the control. "
    "Those at the end of the list are there for comparison: see docs/strategies.md.",
)
_COPY = io.String.Input(
    "copy_to",
    optional=True,
    default="",
    tooltip="Teach a copy of the project by this name instead, to compare. Empty: teach the project itself.",
)
_STRATEGY_OPTIONS = io.String.Input(
    "strategy_options",
    optional=True,
    multiline=True,
    default="",
    tooltip="The strategy's own options, NAME=VALUE, one a line; docs/settings.md lists them. Empty: its "
    "defaults.",
)
_MEMORY = io.Float.Input(
    "memory",
    optional=True,
    default=0.0,
    min=0.0,
    max=1024.0,
    step=1.0,
    round=0.1,
    tooltip="GB of a card that the training is made to fit into, such as 8, with what you have chosen "
    "yourself left as it is; ComfyUI's console tells how. 0: it is not.",
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
                    tooltip=preset_summaries(),
                ),
                *(knob_input(name, _OWN_DEFAULTS.get(name)) for name in _KNOBS),
                _COPY,
                _STRATEGY_OPTIONS,
                *(knob_input(name, optional=True) for name in _MEMORY_KNOBS),
                _MEMORY,
            ],
            outputs=[*evolving_outputs(), *_RESULTS],
        )

    @classmethod
    def execute(
        cls, project: Evolving, dataset: Dataset, copy_to: str = "", strategy_options: str = "",
        memory: float = 0.0, *, strategy: str, preset: str, **knobs: object,
    ) -> io.NodeOutput:  # fmt: skip
        """Teach."""
        options = strategies.read_pairs(strategy_options.splitlines())
        requested = {"strategy": strategy, "strategy_options": options, **requested_values(knobs)}
        evolving, report, sheet = teach(project, dataset, preset, requested, copy_to, memory)
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
                    "lora", options=listed("loras"), tooltip="LoRA, LoHa, LoKr or DoRA, from any trainer."
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
                _STRATEGY_OPTIONS,
            ],
            outputs=[*evolving_outputs(), *_RESULTS],
        )

    @classmethod
    def execute(
        cls, project: Evolving, lora: str, strategy: str, weight: float, token: str, class_name: str,
        copy_to: str = "", strategy_options: str = "",
    ) -> io.NodeOutput:  # fmt: skip
        """Fold."""
        named = (token.strip() or None, class_name.strip() or None)
        options = strategies.read_pairs(strategy_options.splitlines())
        joined = (strategy, strategies.typed_options(strategy, options))
        evolving, report, sheet = teach_lora(
            project, listed_path("loras", lora), joined, weight, named, copy_to
        )
        image = to_image([sheet])
        outputs = (*evolving.outputs, evolving, evolving.triggers, image, report)
        return io.NodeOutput(*outputs, ui=ui.PreviewImage(image, cls=cls))
