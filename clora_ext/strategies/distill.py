"""Hold on to what the model drew before: it is its own teacher, for past concepts and for everything else.

The new concept is trained as an adapter over W(t-1), and in the same step the network has to answer as it
did without the adapter at points on its own sampling trajectories, by prompts of past concepts and of things
that nobody taught (anchors): loss = error + strength * mean |answer - answer without the adapter|^2. The
change is added: W(t) = W(t-1) + tau. So nothing is generated before the training, no second model is held,
and of past concepts only words are kept. Learning without Forgetting (arXiv 1606.09282) with sampling
trajectories in the place of data; of diffusion models, compare arXiv 2305.04978.

Some of the step's own pictures are asked as well, by words that do not call the new concept: nowhere else is
an earlier concept of the same kind, another style or another dog, so near to becoming the new one.

Past concepts are asked for in many phrasings, and the new one, shown by its captions alone, is then bound to
how these are phrased rather than to its token: some are said in other words.

What is learned is an average of the last steps: what each of them moves by chance evens out.

The trigger's own row in the text encoders' tables of tokens learns too (arXiv 2208.01618): the concept is
bound to its word and less to its class.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from clora_ext.adapters.delta import Delta
from clora_ext.adapters.factors import fresh
from clora_ext.config.knob import Knob
from clora_ext.families.model import Model
from clora_ext.prompts import ReplayPrompts, Vocabulary
from clora_ext.prompts.concept_prompts import ConceptPrompts

from .base import Fold, Layer, Replay, Start, StateLevel, Strategy
from .objective import (
    Denoising,
    Example,
    NoisedBatch,
    Objective,
    OwnReplay,
    ReplayBatch,
    TrainingAccess,
)

__all__ = ["STRATEGY", "Distill"]

_MOST_CAPTIONS = 8

_EMA_DECAY = 0.98
"""The chance in each step's pictures, noises and points moves what the model answers to everything; the mean
of the last fifty steps or so moves it less, and is the concept as well (measured in docs/strategies.md)."""


@dataclass(frozen=True, slots=True)
class Distill(Strategy):
    """W(t) = W(t-1) + tau, where tau changes as little as it can of what the model answers elsewhere."""

    strength: Annotated[
        float, Ge(0), Knob("Weight of answering as before; 0 holds on to nothing, as merge does.")
    ] = 2.5
    items: Annotated[
        int | None,
        Ge(1),
        Le(64),
        Knob(
            "Points of trajectories that are asked again in a step.",
            default_text="three eighths of the batch size",
        ),
    ] = None
    anchors: Annotated[float, Ge(0), Le(1), Knob("Share of prompts about things that nobody taught.")] = 0.3
    own_pictures: Annotated[
        int | None,
        Ge(0),
        Le(64),
        Knob(
            "Pictures of each step that are asked again by words that do not call the concept, those of an "
            "earlier one of its kind among them, which binds it to its trigger word.",
            default_text="three eighths of the batch size",
        ),
    ] = None
    token_rate: Annotated[
        float,
        Ge(0),
        Knob(
            "Learning rate of the trigger word's own row in the text encoders, as a multiple of the "
            "adapter's; 0: fixed."
        ),
    ] = 10.0
    rephrased: Annotated[
        float,
        Ge(0),
        Le(1),
        Knob(
            "Share of captions that are said in other words, so that the concept answers to more phrasings "
            "than those of its captions."
        ),
    ] = 0.5

    state_level: ClassVar[StateLevel] = "L1"
    rowwise: ClassVar[bool] = True
    adds: ClassVar[bool] = True
    revision: ClassVar[int] = 6

    def begin(self, layer: Layer, rank: int, alpha: float, rng: torch.Generator) -> Start:
        """A fresh adapter over the current weight: without it, the network is the model before."""
        return Start(layer.current, fresh(layer.shape, rank, alpha, rng))

    def fold(self, layer: Layer, trained: Delta) -> Fold:
        """Add the delta."""
        return Fold(layer.current + trained.delta())

    def replay(
        self, concept: ConceptPrompts, earlier: Sequence[ConceptPrompts], vocabulary: Vocabulary
    ) -> Replay | None:
        """Prompts of past concepts and anchors."""
        if not self.strength:
            return None
        prompts = ReplayPrompts(concept, earlier, vocabulary, self.anchors)
        return Replay(prompts.draw, self.items, own=self.own_pictures, reworded=prompts.reworded)

    def row_rate(self) -> float:
        """None where nothing is held on to."""
        return self.token_rate if self.strength else 0.0

    def rephrases(self) -> float:
        """None where nothing is held on to."""
        return self.rephrased if self.strength else 0.0

    def ema_decay(self) -> float | None:
        """None where nothing is held on to."""
        return _EMA_DECAY if self.strength else None

    def objective(self, default: Denoising, access: TrainingAccess) -> Objective:
        """The usual error, and the distance from the answers before."""
        if access.replay is None:
            return default
        return _Distillation(default, access.replay, access.own, self.strength)

    def keep_prompts(
        self, concept: ConceptPrompts, earlier: Sequence[ConceptPrompts]
    ) -> Sequence[ConceptPrompts]:
        """Token, class and some captions of every concept."""
        kept = ConceptPrompts(concept.token, concept.class_name, concept.prompts[:_MOST_CAPTIONS])
        return (*earlier, kept)


@dataclass(frozen=True, slots=True)
class _Distillation:
    """The usual error on the new concept, and ``strength`` times the distance from the answers before."""

    default: Denoising
    replay: Callable[[int], ReplayBatch]
    own: OwnReplay | None
    strength: float

    def loss(
        self, model: Model, batch: Sequence[Example], seed: int, step: int, device: torch.device
    ) -> Tensor:
        """One forward pass for all, where the pictures are of one size."""
        shown = self.default.show(model, batch, seed, step, device)
        asked = [self.replay(step)]
        own = None if self.own is None else self.own(shown, batch, step)
        asked += [] if own is None else [own]
        weight = sum(one.weight for one in asked)
        asked = [one for one in asked if _needs_answers(one, shown)]
        predicted, answers = _predict(model, shown, asked)
        if not asked:
            return self.default.error(model, shown, predicted)
        errors = [
            nn.functional.mse_loss(now.float(), one.answers) * one.counted
            for now, one in zip(answers, asked, strict=True)
        ]
        distance = torch.stack(errors).sum() / weight
        return self.default.error(model, shown, predicted) + self.strength * distance


def _needs_answers(asked: ReplayBatch, shown: NoisedBatch) -> bool:
    """Whether the network has to be asked: another process may have all points, in a pass of their own."""
    if not asked.is_filler:
        return len(asked.times) > 0
    return asked.latents.shape[1:] != shown.noised.shape[1:]


def _predict(
    model: Model, shown: NoisedBatch, asked: Sequence[ReplayBatch]
) -> tuple[Tensor, Sequence[Tensor]]:
    """What the network says to all of them now."""
    size = shown.noised.shape[1:]
    alike = [place for place, one in enumerate(asked) if one.latents.shape[1:] == size]
    together = model.predict(
        torch.cat([shown.noised, *(asked[place].latents for place in alike)]),
        torch.cat([shown.times, *(asked[place].times for place in alike)]),
        model.collate([shown.condition, *(asked[place].condition for place in alike)]),
    )
    counts = [len(shown.times), *(len(asked[place].times) for place in alike)]
    predicted, *said = torch.split(together, counts)
    answers = dict(zip(alike, said, strict=True))
    return predicted, [
        answers[place] if place in answers else model.predict(one.latents, one.times, one.condition)
        for place, one in enumerate(asked)
    ]


STRATEGY = Distill
