"""How a concept is taught: nested frozen settings, each written once. Needs no torch.

Validation is pydantic's, which is imported when settings are checked.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt

from clora_ext.errors import UsageError, did_you_mean

from .data_settings import (
    AugmentationSettings,
    CaptionSettings,
    DataSettings,
    MaskSettings,
    PromptSettings,
    ValidationSettings,
)
from .knob import Knob
from .knob_fields import knob_fields
from .knob_values import check_knob
from .strategy_names import name_problem

__all__ = [
    "NOT_SHAPING",
    "AdapterSettings",
    "AugmentationSettings",
    "CaptionSettings",
    "ComputeSettings",
    "DataSettings",
    "MaskSettings",
    "OptimizerSettings",
    "PromptSettings",
    "SamplingSettings",
    "ScheduleSettings",
    "Settings",
    "TargetSet",
    "ValidationSettings",
]

TargetSet = Literal["attention", "transformer"]
"""Which of the denoiser's layers are taught."""

NOT_SHAPING = ("sampling", "compute")
"""Groups of settings that change nothing about the model: samples, and what the training costs."""

_IDLE = ("captions", "augmentation", "masks", "prompts", "validation")
"""Groups that change nothing while they have their defaults."""

_SEED_LIMIT = 2**63


@dataclass(frozen=True, slots=True)
class AdapterSettings:
    """The LoRA that is trained."""

    rank: Annotated[int, Ge(1), Le(4096), Knob("Rank of the LoRA.", suits_model=True)] = 8
    alpha: Annotated[
        float | None, Gt(0), Knob("Strength of the LoRA: alpha / rank.", default_text="the rank", step=1.0)
    ] = None
    targets: Annotated[
        TargetSet,
        Knob(
            "Layers of the UNet to teach: attention (as the paper does) or transformer (all layers of its "
            "transformer blocks, as sd-scripts does).",
            suits_model=True,
        ),
    ] = "transformer"
    text_encoder: Annotated[bool, Knob("Teach the text encoders too.")] = False

    @property
    def effective_alpha(self) -> float:
        """Alpha as a number."""
        return float(self.rank) if self.alpha is None else self.alpha


@dataclass(frozen=True, slots=True)
class OptimizerSettings:
    """AdamW."""

    learning_rate: Annotated[
        float, Gt(0), Knob("Learning rate of AdamW.", suits_model=True, step=0.00001)
    ] = 2e-3
    weight_decay: Annotated[float, Ge(0), Knob("Weight decay of AdamW.", step=0.0001)] = 1e-4
    max_grad_norm: Annotated[float, Gt(0), Knob("Gradients are clipped to this norm.", step=0.1)] = 1.0


@dataclass(frozen=True, slots=True)
class ScheduleSettings:
    """How long, and how the learning rate goes: up to its value over the warm-up, then constant.

    A plan turns epochs into steps: its settings have the number of steps that is trained.
    """

    steps: Annotated[int, Ge(1), Knob("Training steps.", default_text="by the preset", suits_model=True)] = (
        200
    )
    epochs: Annotated[
        int | None,
        Ge(1),
        Knob(
            "Rounds through all pictures with their repeats, in the place of steps.",
            default_text="as many as the steps take",
        ),
    ] = None
    warmup_steps: Annotated[int, Ge(0), Knob("Steps over which the learning rate rises from 0.")] = 10


@dataclass(frozen=True, slots=True)
class ComputeSettings:
    """What the same training costs."""

    gradient_checkpointing: Annotated[
        bool,
        Knob("Compute activations twice instead of keeping them: slower, with less memory."),
    ] = False


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """What is looked at while and after a concept is taught; it changes nothing about the model."""

    sample_prompt: Annotated[
        str | None,
        Knob(
            "Prompt of previews and the contact sheet.",
            default_text="one that is no training caption",
        ),
    ] = None
    preview_every: Annotated[
        int,
        Ge(0),
        Knob(
            "Steps from one preview to the next, of the new concept and of the last eight learned before it, "
            "in the project's training folder (previews.png shows all); 0: none.",
        ),
    ] = 0
    preview_every_epochs: Annotated[
        int, Ge(0), Knob("The same in rounds through all pictures, where no steps are given; 0: none.")
    ] = 0
    validate_every: Annotated[
        int,
        Ge(0),
        Knob("Steps from one validation of what is held out to the next; 0: by epochs, else ten in all."),
    ] = 0
    validate_every_epochs: Annotated[
        int, Ge(0), Knob("Rounds through all pictures from one validation to the next.")
    ] = 0
    sample_count: Annotated[int, Ge(1), Le(16), Knob("Samples in each row of the contact sheet.")] = 4
    kept_count: Annotated[
        int,
        Ge(0),
        Le(16),
        Knob(
            "Samples of each earlier concept after the new one is learned, by which a scorer tells what is "
            "kept; without a scorer one of each is drawn. 0: none, and nothing is told of them.",
        ),
    ] = 4
    sample_steps: Annotated[int, Ge(1), Le(1000), Knob("Denoising steps of each sample.")] = 30
    guidance: Annotated[
        float,
        Ge(1),
        Knob("Classifier-free guidance of samples; 1 switches it off.", step=0.5),
    ] = 4.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that shapes the teaching of one concept, and its samples.

    The defaults suit the built-in demo model; what suits another, :func:`clora_ext.suggested_settings` tells.

    Attributes:
        strategy: how new knowledge joins old, one of :func:`clora_ext.strategies.names`.
        strategy_options: the strategy's own options by name, as values or as text; see :meth:`checked`.
        seed: decides the adapter's start, the order of pictures and every noise.
        adapter: the LoRA.
        optimizer: learning rate and its like.
        schedule: how long.
        data: batches.
        captions: how they vary.
        augmentation: how pictures vary.
        masks: what counts of them.
        prompts: how captions and prompts are read.
        validation: what is held out.
        compute: memory against time.
        sampling: previews and contact sheets.
    """

    strategy: str = "distill"
    strategy_options: Mapping[str, Any] = field(default_factory=dict)
    seed: Annotated[
        int,
        Ge(0),
        Lt(_SEED_LIMIT),
        Knob(
            "Decides all that is left to chance. The same seed gives the same model, bit for bit, on the "
            "same processor and versions; on a GPU nearly the same."
        ),
    ] = 0
    adapter: AdapterSettings = field(default_factory=AdapterSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    data: DataSettings = field(default_factory=DataSettings)
    captions: CaptionSettings = field(default_factory=CaptionSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    masks: MaskSettings = field(default_factory=MaskSettings)
    prompts: PromptSettings = field(default_factory=PromptSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    compute: ComputeSettings = field(default_factory=ComputeSettings)
    sampling: SamplingSettings = field(default_factory=SamplingSettings)

    @classmethod
    def of(cls, **values: Any) -> "Settings":  # noqa: ANN401 - a value of any knob
        """The defaults, but for these knobs; see :meth:`with_values`."""
        return cls().with_values(**values)

    def with_values(self, **values: Any) -> "Settings":  # noqa: ANN401 - a value of any knob
        """The same settings, but for these knobs, whatever group each stands in.

        >>> Settings.of(rank=4, steps=50).adapter.rank
        4

        Raises:
            UsageError: there is no such knob; the remedy is the nearest.
        """
        knobs = knob_fields(Settings)
        top: dict[str, Any] = {}
        groups: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            if name in {"strategy", "strategy_options"}:
                top[name] = value
            elif name not in knobs:
                raise UsageError(f"unknown setting {name!r}", fix=did_you_mean(name, tuple(knobs)))
            elif knobs[name].group:
                groups.setdefault(knobs[name].group, {})[name] = value
            else:
                top[name] = value
        changed = {group: replace(getattr(self, group), **given) for group, given in groups.items()}
        return replace(self, **top, **changed)

    def problems(self) -> list[str]:
        """Everything that is wrong with the knobs, in words; the strategy's own options are not asked."""
        values = self.as_dict()
        unknown = name_problem(self.strategy)
        found = [] if unknown is None else ["; ".join(unknown)]
        for name, knob in knob_fields(Settings).items():
            found += check_knob(knob, (values[knob.group] if knob.group else values)[name])
        return found

    def as_dict(self) -> dict[str, Any]:
        """Plain values by group, for JSON."""
        return {**asdict(self), "strategy_options": dict(self.strategy_options)}

    def shaping(self) -> dict[str, Any]:
        """As :meth:`as_dict`, but only what makes another model.

        What a later version can do to pictures, captions and prompts is left out until it is asked for: a
        stopped run of the version before can be continued, a study's results still stand.
        """
        idle = [name for name in _IDLE if getattr(self, name) == getattr(Settings(), name)]
        left_out = {*NOT_SHAPING, *idle}
        found = {name: value for name, value in self.as_dict().items() if name not in left_out}
        if self.validation.keep_best:  # then it matters when it was asked which is the best
            found["validate_every"] = self.sampling.validate_every
        return found
