"""Keep the concept's class what it was: pictures asked without the token are answered as before."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clora_ext.families.model import Model
from clora_ext.strategies.objective import Denoising, Example, Objective, OwnReplay

__all__ = ["ClassPreservation"]


@dataclass(frozen=True, slots=True)
class ClassPreservation:
    """Another objective, and ``weight`` times the distance from the answers before at the step's pictures.

    Differential output preservation with a class word, as ai-toolkit has it: the model before the training
    is the teacher, where DreamBooth's prior preservation (arXiv 2208.12242) needs pictures of the class.

    Attributes:
        objective: what is minimised besides.
        denoising: which noised pictures a step is shown.
        own: the same pictures, asked by captions without the token.
        weight: of the distance.
    """

    objective: Objective
    denoising: Denoising
    own: OwnReplay
    weight: float

    def loss(
        self, model: Model, batch: Sequence[Example], seed: int, step: int, device: torch.device
    ) -> Tensor:
        """See :meth:`clora_ext.strategies.objective.Objective.loss`."""
        shown = self.denoising.show(model, batch, seed, step, device)
        asked = self.own(shown, batch, step)
        if asked is None or not len(asked.times):
            return self.objective.loss(model, batch, seed, step, device)
        said = model.predict(asked.latents, asked.times, asked.condition)
        distance = nn.functional.mse_loss(said.float(), asked.answers)
        if asked.share is not None:
            distance = distance * asked.counted / asked.share
        return self.objective.loss(model, batch, seed, step, device) + self.weight * distance
