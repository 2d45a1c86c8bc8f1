"""See what the model knows."""

from clora_ext import GenerateRequest
from clora_ext.sampling.loss_plot import loss_plot

from ..host import io, to_image, ui
from ..report import about, compared, concept_prompt, drawn
from ..state import Evolving, Report
from .types import CATEGORY, EVOLVING, REPORT

__all__ = ["ConceptPrompt", "Draw", "ForgettingReport", "LossPlot", "ProjectInfo"]

_LOOKING = f"{CATEGORY}/looking"


class ConceptPrompt(io.ComfyNode):
    """The words that call a concept."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node looks like."""
        return io.Schema(
            node_id="CloraConceptPrompt",
            display_name="Clora Concept Prompt",
            category=_LOOKING,
            description="A prompt with a concept's trigger words in it.",
            inputs=[
                EVOLVING.Input("project", tooltip="Whose concept."),
                io.Int.Input("concept", default=0, min=0, max=1000, tooltip="Its number. 0: the last one."),
                io.String.Input(
                    "prompt",
                    multiline=True,
                    default="a photo of {concept}",
                    tooltip="{concept} becomes token and class, {token} and {class} each alone.",
                ),
            ],
            outputs=[io.String.Output("PROMPT", display_name="prompt", tooltip="For CLIP Text Encode.")],
        )

    @classmethod
    def execute(cls, project: Evolving, concept: int, prompt: str) -> io.NodeOutput:
        """Fill it in."""
        return io.NodeOutput(concept_prompt(project, concept, prompt))


class Draw(io.ComfyNode):
    """Draw with clora's own sampler."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node looks like."""
        return io.Schema(
            node_id="CloraDraw",
            display_name="Clora Draw",
            category=_LOOKING,
            description="Draw with clora's own sampler, also models that ComfyUI does not know, such as the "
            "built-in demo model.",
            inputs=[
                EVOLVING.Input("project", tooltip="What to draw with."),
                io.String.Input("prompt", multiline=True, default="", tooltip="What the pictures show."),
                io.Int.Input("count", default=4, min=1, max=64, tooltip="How many."),
                io.Int.Input("steps", default=30, min=1, max=1000, tooltip="Denoising steps."),
                io.Float.Input("guidance", default=4.0, min=1.0, max=30.0, step=0.5, tooltip="1: none."),
                io.Int.Input("seed", default=0, min=0, max=2**62, tooltip="Of the first picture."),
                io.Int.Input(
                    "size",
                    optional=True,
                    default=0,
                    min=0,
                    max=8192,
                    step=16,
                    tooltip="Side of the pictures, pixels. 0: the model's own.",
                ),
            ],
            outputs=[io.Image.Output("IMAGE", display_name="image", tooltip="The pictures.")],
        )

    @classmethod
    def execute(
        cls, project: Evolving, prompt: str, count: int, steps: int, guidance: float, seed: int, size: int = 0
    ) -> io.NodeOutput:
        """Draw."""
        wish = GenerateRequest(
            prompt, count=count, steps=steps, guidance=guidance, seed=seed, size=size or None
        )
        return io.NodeOutput(to_image(drawn(project, wish)))


class ForgettingReport(io.ComfyNode):
    """Every concept over the versions of the model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node looks like."""
        return io.Schema(
            node_id="CloraForgettingReport",
            display_name="Clora Forgetting Report",
            category=_LOOKING,
            description="A row for each concept, a column for each version of the model: drawn when it was "
            "learned, and by the model after every later concept, by the same prompt with the same noise.",
            is_output_node=True,
            inputs=[EVOLVING.Input("project", tooltip="What to look at.")],
            outputs=[
                io.Image.Output("IMAGE", display_name="image", tooltip="The grid."),
                io.String.Output("REPORT", display_name="report", tooltip="How much each has changed."),
            ],
        )

    @classmethod
    def execute(cls, project: Evolving) -> io.NodeOutput:
        """Draw them again."""
        picture, text = compared(project)
        image = to_image([picture])
        return io.NodeOutput(image, text, ui=ui.PreviewImage(image, cls=cls))


class LossPlot(io.ComfyNode):
    """The loss over the steps."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node looks like."""
        return io.Schema(
            node_id="CloraLossPlot",
            display_name="Clora Loss Plot",
            category=_LOOKING,
            description="How the loss went while a concept was taught.",
            is_output_node=True,
            inputs=[REPORT.Input("report", tooltip="From Add Concept.")],
            outputs=[io.Image.Output("IMAGE", display_name="image", tooltip="The plot.")],
        )

    @classmethod
    def execute(cls, report: Report) -> io.NodeOutput:
        """Plot."""
        image = to_image([loss_plot(report.losses, f"concept {report.result.number}")])
        return io.NodeOutput(image, ui=ui.PreviewImage(image, cls=cls))


class ProjectInfo(io.ComfyNode):
    """What the project holds."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What the node looks like."""
        return io.Schema(
            node_id="CloraProjectInfo",
            display_name="Clora Project Info",
            category=_LOOKING,
            description="The project's history: base, concepts, strategies, sizes.",
            is_output_node=True,
            inputs=[EVOLVING.Input("project", tooltip="What to tell of.")],
            outputs=[io.String.Output("TEXT", display_name="text", tooltip="Markdown.")],
        )

    @classmethod
    def execute(cls, project: Evolving) -> io.NodeOutput:
        """Tell."""
        text = about(project)
        return io.NodeOutput(text, ui=ui.PreviewText(text))
