"""The seam between the engine and a strategy.

A strategy decides two things about every layer that is taught: how the adapter starts (``begin``) and how
the trained change becomes part of the evolving model (``fold``). Both are pure functions of one layer.
Everything else that a strategy may decide or ask for is optional, with a default that does nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from clora_ext.adapters.delta import Delta, DenseDelta
from clora_ext.adapters.factors import Factors
from clora_ext.adapters.moments import Moment
from clora_ext.adapters.scratch import Scratch
from clora_ext.adapters.sites import Target
from clora_ext.adapters.squared_gradients import SquaredGradients
from clora_ext.prompts import Vocabulary
from clora_ext.prompts.concept_prompts import ConceptPrompts

from .needs import Needs, Replay
from .objective import Denoising, Objective, TrainingAccess

__all__ = [
    "Constraint",
    "Fold",
    "Layer",
    "Needs",
    "Replay",
    "Start",
    "StateLevel",
    "Strategy",
    "keeps_memory",
]

StateLevel = Literal["L0", "L1", "L2"]


@dataclass(frozen=True, slots=True)
class Layer:
    """One weight matrix of the evolving model, never changed in place.

    Attributes:
        name: the tensor's name in the checkpoint.
        origin: W0, the base's weight, (out, in), float32.
        current: W(t-1), base plus everything learned so far, (out, in), float32.
        memory: what this strategy returned from its last fold of this layer; empty at the first concept
            and after a concept that was folded by another strategy.
        inputs: E[x x^T] of the layer's inputs over the prompts that the strategy asked for (:class:`Needs`):
            in ``begin`` before the training, in ``fold`` after it; None: not asked for.
        past_inputs: the sum of those that were kept so far (:attr:`Strategy.keeps_inputs`), what was measured
            for the first concept included; None: nothing.
        gradients: in ``fold``, squared gradients of the trained concept's error by the layer's weight, as the
            strategy asked for (:class:`Needs`); None: not asked for.
        number: t, which concept of the project is being taught, from 1.
    """

    name: str
    origin: Tensor
    current: Tensor
    memory: Mapping[str, Tensor] = field(default_factory=dict)
    inputs: Moment | None = None
    past_inputs: Moment | None = None
    gradients: SquaredGradients | None = None
    number: int = 1

    @property
    def earlier(self) -> Tensor:
        """Everything learned so far: current - origin, (out, in)."""
        return self.current - self.origin

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        out_features, in_features = self.current.shape
        return out_features, in_features


class Constraint(Protocol):
    """What holds for a layer's adapter while it is trained. Subclasses override what they need."""

    def to(self, device: torch.device) -> "Constraint":
        """The same with its tensors on ``device``."""
        del device
        return self

    def project(self, factors: Factors) -> Factors:
        """The nearest factors that are allowed; applied after every optimiser step and to imported LoRAs."""
        return factors

    def project_delta(self, delta: Delta) -> Delta:
        """The nearest change that is allowed, of one that is no pair of factors; for imported adapters.

        By default it is projected as the product of itself and the identity.
        """
        change = delta.delta()
        whole = Factors(change, torch.eye(change.shape[0]), float(change.shape[0]))
        projected = self.project(whole)
        return delta if projected is whole else DenseDelta(projected.delta())

    def penalty(self, factors: Factors) -> Tensor | None:
        """What is added to the loss, a scalar that gradients flow through; None: nothing."""
        del factors
        return None

    def penalty_of_change(self, change: Tensor) -> Tensor | None:
        """The same for a change that is no pair of factors, (out, in), float32.

        By default that of the product of itself and the identity.
        """
        outputs = change.shape[0]
        return self.penalty(Factors(change, torch.eye(outputs, device=change.device), float(outputs)))


@dataclass(frozen=True, slots=True)
class Start:
    """Where training of a layer starts.

    Attributes:
        frozen: the weight that stays fixed, (out, in); frozen + factors.delta() is the layer's ``current``.
        factors: the adapter to train.
        constraint: what holds while it is trained; None: nothing.
    """

    frozen: Tensor
    factors: Factors
    constraint: Constraint | None = None


@dataclass(frozen=True, slots=True)
class Fold:
    """What a layer has become.

    Attributes:
        weight: W(t), (out, in), float32.
        memory: what the strategy wants back at the next concept; constant in size over concepts.
    """

    weight: Tensor
    memory: Mapping[str, Tensor] = field(default_factory=dict)


class Strategy(Protocol):
    """How new knowledge joins old.

    A strategy is a frozen dataclass in a file of its own that subclasses this one; the file's name is the
    strategy's name and its module-level ``STRATEGY`` is the class. The fields are its options.
    """

    state_level: ClassVar[StateLevel] = "L0"
    """What the strategy keeps of past concepts: L0 weights, L1 names and prompts too, L2 statistics too.
    The project's record, which no strategy reads, keeps names, captions and hashes whatever the level."""

    rowwise: ClassVar[bool] = False
    """Whether a row of the result depends on that same row of the layer and the change alone. ``fold`` is
    then given a few rows at a time, unless the strategy keeps memory or asks for the layers' inputs after
    the training: folding takes little memory however large the layers are."""

    for_comparison: ClassVar[bool] = False
    """Whether it is there to be compared with, and recommended to nobody: lists and help name it last."""

    low_rank_only: ClassVar[bool] = False
    """Whether ``fold`` takes pairs of low-rank factors alone. A finished adapter of another kind (LoHa, LoKr,
    DoRA, whole changes) is then refused before anything is done."""

    adds: ClassVar[bool] = False
    """Whether what is folded is the change itself: ``fold`` gives ``current + trained.delta()``. Only then
    can a concept be taken out of the model again, or be weighed anew, by its change (``--keep-delta``)."""

    revision: ClassVar[int] = 1
    """Raised when the same options train or fold otherwise than before: a run that was stopped before that is
    not gone on with, and a study's results from before do not count."""

    keeps_inputs: ClassVar[bool] = False
    """Whether second moments of the layers' inputs are kept (level L2): ``inputs_first`` and every concept's
    ``inputs_after`` are summed up, once for all layers that read the same input, and come back as
    :attr:`Layer.past_inputs`. They are constant in size; see :mod:`clora_ext.adapters.moments`."""

    @property
    def revised(self) -> Mapping[str, int]:
        """What hashes of the way of teaching hold of the revision; the first is left out, as it was."""
        return {"revision": self.revision} if self.revision > 1 else {}

    @property
    def projects(self) -> bool:
        """Whether :meth:`begin` may give constraints that project what is trained.

        They hold for pairs of factors. An adapter with magnitudes (DoRA) changes a weight in all directions
        that it has, whatever its factors are: a training with them is refused before anything is done.
        """
        return False

    def begin(self, layer: Layer, rank: int, alpha: float, rng: torch.Generator) -> Start:
        """The start of a new concept's training on this layer."""
        ...

    def fold(self, layer: Layer, trained: Delta) -> Fold:
        """The layer after the trained change has joined it."""
        ...

    def fold_rows(self, layer: Layer, trained: Delta, scratch: Scratch) -> Tensor:
        """Some rows of what ``fold`` gives, bit for bit, of a strategy that is :attr:`rowwise`.

        Args:
            layer: these rows of it; they lie in memory that is used again for the next rows.
            trained: these rows of the change.
            scratch: for what is computed, the result as well.
        """
        del scratch
        return self.fold(layer, trained).weight

    def adopt(self, layer: Layer, change: Delta) -> Fold:
        """The layer after a finished adapter has joined it, which was trained without this strategy.

        It is given after :meth:`Constraint.project_delta`; by default it is folded as a trained one is.
        """
        return self.fold(layer, change)

    def memory_shapes(self, shape: tuple[int, int], rank: int) -> Mapping[str, tuple[int, ...]]:
        """Names and shapes of the memory that ``fold`` returns for a layer of ``shape`` (out, in).

        The names are the same for every layer.
        """
        del shape, rank
        return {}

    def choose_targets(self, targets: Sequence[Target]) -> Sequence[Target]:
        """The layers to teach, of those that the settings choose."""
        return targets

    def needs(
        self, concept: ConceptPrompts, earlier: Sequence[ConceptPrompts], vocabulary: Vocabulary
    ) -> Needs:
        """What to prepare for teaching ``concept``; the arguments are those of :meth:`replay`."""
        del concept, earlier, vocabulary
        return Needs()

    def replay(
        self, concept: ConceptPrompts, earlier: Sequence[ConceptPrompts], vocabulary: Vocabulary
    ) -> Replay | None:
        """What the model before the training is asked again while it trains; None: nothing.

        Args:
            concept: the new one.
            earlier: what :meth:`keep_prompts` has kept.
            vocabulary: words that the model reads.
        """
        del concept, earlier, vocabulary
        return None

    def row_rate(self) -> float:
        """Learning rate of the trigger's own rows in the text encoders, in the adapter's; 0: they stay."""
        return 0.0

    def rephrases(self) -> float:
        """Share of captions that are said in other words when their pictures are shown; 0: none."""
        return 0.0

    def ema_decay(self) -> float | None:
        """Decay of the average of the steps that is learned, unless the settings say one; None: none is."""
        return None

    def objective(self, default: Denoising, access: TrainingAccess) -> Objective:
        """What training minimises."""
        del access
        return default

    def keep_prompts(
        self, concept: ConceptPrompts, earlier: Sequence[ConceptPrompts]
    ) -> Sequence[ConceptPrompts]:
        """What of the concepts' words is kept beside the tensors; not empty for L1 and L2 only."""
        del concept, earlier
        return ()


def keeps_memory(strategy: Strategy) -> bool:
    """Whether ``fold`` returns tensors that have to be kept."""
    return bool(strategy.memory_shapes((1, 1), 1))
