"""Teach cross-attention alone, and only in directions that no prompt of a past concept reads.

The null space of past inputs (gradient projection memory, arXiv 2103.09762, with its criterion of energy; by
their second moments, arXiv 2103.07113) on the weights that Custom Diffusion trains (arXiv 2212.04488):
``attn2.to_k`` and ``attn2.to_v``, whose only input is the text encoder's states. K: the states of past
concepts' prompts and of the empty one, all positions of each, in rows; K = U S V^T, and V_k holds the share
``energy`` of K's squared norm. The rows of ``down`` are projected at the start and after every optimiser
step, down <- down (I - V_k V_k^T), so that tau K^T = 0 and the denoiser answers protected prompts as before.
W(t) = W(t-1) + tau.

It protects prompts, not concepts: other words for a past concept are protected as far as their states lie in
the same directions. Of past concepts, words are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from clora_ext.adapters.delta import Delta
from clora_ext.adapters.factors import fresh
from clora_ext.adapters.sites import Target
from clora_ext.config.knob import Knob
from clora_ext.prompts import Vocabulary
from clora_ext.prompts.concept_prompts import ConceptPrompts

from .base import Fold, Layer, Needs, Start, StateLevel, Strategy
from .orthogonal import AvoidDirections

__all__ = ["STRATEGY", "KvNull"]

_READERS_OF_TEXT = ("attn2.to_k", "attn2.to_v")


@dataclass(frozen=True, slots=True)
class KvNull(Strategy):
    """W(t) = W(t-1) + tau with tau K^T = 0, in cross-attention's keys and values alone."""

    energy: Annotated[
        float, Gt(0), Le(1), Knob("Share of the squared norm of past prompts' text states that is protected.")
    ] = 0.999
    prompts: Annotated[int, Ge(1), Le(8), Knob("Prompts that are kept of each concept, and protected.")] = 4

    state_level: ClassVar[StateLevel] = "L1"
    for_comparison: ClassVar[bool] = True
    adds: ClassVar[bool] = True
    rowwise: ClassVar[bool] = True

    @property
    def projects(self) -> bool:
        """Always."""
        return True

    def choose_targets(self, targets: Sequence[Target]) -> Sequence[Target]:
        """The layers whose input is the text alone."""
        return [target for target in targets if target.module.endswith(_READERS_OF_TEXT)]

    def needs(
        self, concept: ConceptPrompts, earlier: Sequence[ConceptPrompts], vocabulary: Vocabulary
    ) -> Needs:
        """What the layers read of past concepts' prompts."""
        del concept, vocabulary
        return Needs(
            inputs_before=tuple(dict.fromkeys(prompt for past in earlier for prompt in past.prompts))
        )

    def begin(self, layer: Layer, rank: int, alpha: float, rng: torch.Generator) -> Start:
        """A fresh adapter over the current weight that reads nothing of what is protected.

        A layer is full when fewer than ``rank`` free directions are left; then the least read directions are
        opened again, so that always in - k >= rank.
        """
        factors = fresh(layer.shape, rank, alpha, rng)
        if layer.inputs is None:
            return Start(layer.current, factors)
        held = AvoidDirections(_leading(layer.inputs.dense(), self.energy, layer.shape[1] - rank))
        return Start(layer.current, held.project(factors), held)

    def fold(self, layer: Layer, trained: Delta) -> Fold:
        """Add the delta."""
        return Fold(layer.current + trained.delta())

    def keep_prompts(
        self, concept: ConceptPrompts, earlier: Sequence[ConceptPrompts]
    ) -> Sequence[ConceptPrompts]:
        """Token, class, and prompts to protect: the plainest one and captions."""
        plain = f"a photo of {concept.trigger}"
        chosen = tuple(dict.fromkeys([plain, *concept.prompts]))[: self.prompts]
        return (*earlier, ConceptPrompts(concept.token, concept.class_name, chosen))


def _leading(moment: Tensor, energy: float, limit: int) -> Tensor:
    """The fewest leading eigenvectors (in, k) that hold ``energy`` of the trace, at the most ``limit``."""
    values, vectors = torch.linalg.eigh(moment)  # ascending
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    before = values.cumsum(0) - values
    # Below the rounding of float32 sums there is nothing to protect.
    count = int(
        ((before < energy * values.sum()) & (values > values[0] * torch.finfo(torch.float32).eps)).sum()
    )
    leading: Tensor = vectors[:, : min(count, limit)].float()
    return leading


STRATEGY = KvNull
