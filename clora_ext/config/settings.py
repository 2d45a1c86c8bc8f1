"""How a concept is taught: nested frozen settings, each written once. Needs no torch.

Validation is pydantic's, which is imported when settings are checked.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt

from clora_ext.errors import UsageError, did_you_mean

from .algorithm_settings import OPTIMIZERS, AlgorithmSettings, algorithm_problems
from .compute_settings import ComputeSettings, compute_problems
from .data_settings import (
    AugmentationSettings,
    CaptionSettings,
    DataSettings,
    MaskSettings,
    PreservationSettings,
    PromptSettings,
    ValidationSettings,
)
from .knob import Knob
from .knob_fields import knob_fields
from .knob_values import check_knob
from .loss_settings import LossSettings, NoiseSettings
from .network_settings import NetworkSettings, network_problems
from .rate_settings import RateSettings, rate_problems
from .sampling_settings import SamplingSettings
from .schedule_settings import ScheduleSettings, StoppingSettings
from .strategy_names import name_problem

__all__ = [
    "NOT_SHAPING",
    "AdapterSettings",
    "AlgorithmSettings",
    "AugmentationSettings",
    "CaptionSettings",
    "ComputeSettings",
    "DataSettings",
    "LossSettings",
    "MaskSettings",
    "NetworkSettings",
    "NoiseSettings",
    "OptimizerSettings",
    "PreservationSettings",
    "PromptSettings",
    "RateSettings",
    "SamplingSettings",
    "ScheduleSettings",
    "Settings",
    "StoppingSettings",
    "TargetSet",
    "ValidationSettings",
]

TargetSet = Literal["attention", "transformer"]
"""Which of the denoiser's layers are taught."""

NOT_SHAPING = ("sampling", "compute")
"""Groups of settings that change nothing about the model: samples, and what the training costs."""

_IDLE = (
    *("network", "algorithm", "rate", "loss", "noise"),
    *("captions", "augmentation", "masks", "preservation", "prompts", "validation", "stopping"),
)
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
    """How far a step goes."""

    learning_rate: Annotated[float, Gt(0), Knob("Learning rate.", suits_model=True, step=0.00001)] = 2e-3
    weight_decay: Annotated[float, Ge(0), Knob("Weight decay of the optimiser.", step=0.0001)] = 1e-4
    max_grad_norm: Annotated[
        float, Ge(0), Knob("Gradients are clipped to this norm; 0: they are not.", step=0.1)
    ] = 1.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that shapes the teaching of one concept, and its samples.

    The defaults suit the built-in demo model; what suits another, :func:`clora_ext.suggested_settings` tells.

    Attributes:
        strategy: how new knowledge joins old, one of :func:`clora_ext.strategies.names`.
        strategy_options: the strategy's own options by name, as values or as text; see :meth:`checked`.
        seed: decides the adapter's start, the order of pictures and every noise.
        adapter: the LoRA.
        network: variants of it, and what holds it back.
        optimizer: learning rate and its like.
        algorithm: which optimiser.
        schedule: how long.
        stopping: what ends it sooner.
        rate: how the learning rate goes.
        loss: what an error counts.
        noise: which noise pictures are shown with.
        data: batches.
        captions: how they vary.
        augmentation: how pictures vary.
        masks: what counts of them.
        preservation: what the model goes on drawing as before.
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
    network: NetworkSettings = field(default_factory=NetworkSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    algorithm: AlgorithmSettings = field(default_factory=AlgorithmSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    stopping: StoppingSettings = field(default_factory=StoppingSettings)
    rate: RateSettings = field(default_factory=RateSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    noise: NoiseSettings = field(default_factory=NoiseSettings)
    data: DataSettings = field(default_factory=DataSettings)
    captions: CaptionSettings = field(default_factory=CaptionSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    masks: MaskSettings = field(default_factory=MaskSettings)
    preservation: PreservationSettings = field(default_factory=PreservationSettings)
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
        in_steps = self.schedule.epochs is None  # else a plan asks, which counts them
        found = found or [*network_problems(self.network), *algorithm_problems(self.algorithm)]
        found = found or list(self._contradictions())
        return found or (self.rate_problems() if in_steps else [])

    @property
    def teaches_text(self) -> bool:
        """Whether the text encoders are taught, alone or too."""
        return self.adapter.text_encoder or self.network.text_encoder_only

    @property
    def batches(self) -> int:
        """How many are shown in all."""
        return self.schedule.steps * self.algorithm.gradient_accumulation_steps

    def _contradictions(self) -> Iterator[str]:
        """What does not go together."""
        yield from compute_problems(self.compute, dora=self.network.dora)
        chosen = self.algorithm.optimizer_type
        if self.network.ema_decay is not None and OPTIMIZERS[chosen].averages:
            yield f"{chosen} learns an average by itself: leave --ema-decay out"

    def rate_problems(self) -> list[str]:
        """What is wrong with the learning rate's scheduler together with the steps, in words."""
        schedule = self.schedule
        return rate_problems(self.rate, self.optimizer.learning_rate, schedule.warmup_steps, schedule.steps)

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
        compute = self.compute
        rounding = {"torch_compile": compute.torch_compile, "fp8_base": compute.fp8_base}
        found |= {name: True for name, rounds in rounding.items() if rounds}
        return found
