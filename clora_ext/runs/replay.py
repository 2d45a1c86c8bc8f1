"""What the model before a training is asked again during it: prompts are read while it is that model."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clora_ext.prompts import vocabulary_of
from clora_ext.prompts.concept_prompts import ConceptPrompts

from .prepared import PreparedRun

if TYPE_CHECKING:
    import torch

    from clora_ext.families.base import Conditioning, Model
    from clora_ext.strategies.base import Replay, Strategy
    from clora_ext.strategies.objective import OwnReplay
    from clora_ext.training.replay import TrajectoryReplay

__all__ = ["EncodedReplay", "encode_replay", "replayed", "times_a_plain_step"]


@dataclass(frozen=True, slots=True)
class EncodedReplay:
    """What is asked, and what each of its prompts says to the model before the training.

    Attributes:
        replay: as the strategy wants it.
        conditions: by prompt, on the processor.
        shape: of a picture's latents.
    """

    replay: "Replay"
    conditions: "Mapping[str, Conditioning]"
    shape: tuple[int, ...]

    def _known(self, prompts: Sequence[str], model: "Model", device: "torch.device") -> "Conditioning":
        """What the prompts said before the training, which they say still."""
        from clora_ext.config.precision import to_device

        known = model.collate([self.conditions[prompt] for prompt in prompts])
        return {name: to_device(value, device) for name, value in known.items()}

    def own(
        self, run: PreparedRun, model: "Model", without_adapter: Callable[[], AbstractContextManager[None]]
    ) -> "OwnReplay | None":
        """The step's own pictures; None: they are not asked again."""
        from clora_ext.training.own_replay import OwnPictures

        if not self.replay.own:
            return None
        settings = run.plan.settings
        return OwnPictures(model, self.replay, settings.seed, without_adapter, settings.adapter.text_encoder)

    def during(
        self,
        run: PreparedRun,
        model: "Model",
        without_adapter: Callable[[], AbstractContextManager[None]],
        device: "torch.device",
    ) -> "TrajectoryReplay":
        """The points of every training step."""
        from clora_ext.training.replay import TrajectoryReplay

        def condition(prompts: Sequence[str]) -> "Conditioning":
            # None of the prompts holds the new token, so a changed row of its own changes none of them.
            if run.plan.settings.adapter.text_encoder:
                return _read(model, prompts, run.plan.sample_size)
            return self._known(prompts, model, device)

        return TrajectoryReplay(
            model=model,
            replay=self.replay,
            encoded=self.conditions,
            condition=condition,
            shape=self.shape,
            seed=run.plan.settings.seed,
            without_adapter=without_adapter,
            device=device,
        )


def replayed(strategy: "Strategy", batch_size: int) -> int:
    """How many pictures' worth of points a strategy asks again in every training step; 0: none."""
    from clora_ext.training.replay import points_per_step

    replay = _asked_beside(strategy, batch_size)
    return 0 if replay is None else points_per_step(replay)


def times_a_plain_step(strategy: "Strategy", batch_size: int) -> float:
    """What a step costs by what the strategy asks again; 1: nothing."""
    from clora_ext.training.replay import replay_cost

    replay = _asked_beside(strategy, batch_size)
    return 1.0 if replay is None else replay_cost(replay, batch_size)


def _asked_beside(strategy: "Strategy", batch_size: int) -> "Replay | None":
    """What a strategy asks again of any concept."""
    replay = strategy.replay(ConceptPrompts("", "", ()), (), vocabulary_of(lambda word: False))
    return None if replay is None else replay.beside(batch_size)


def encode_replay(run: PreparedRun, model: "Model") -> EncodedReplay | None:
    """Read the prompts of everything that will be asked; None: the strategy asks for nothing.

    Args:
        run: its strategy says what is asked.
        model: without an adapter yet.
    """
    import torch

    from clora_ext.training.replay import replay_prompts

    plan = run.plan
    vocabulary = vocabulary_of(lambda word: len(model.tokens(word)) == 1)
    wished = plan.strategy.replay(run.concept, run.earlier, vocabulary)
    if wished is None:
        return None
    replay = wished.beside(plan.settings.data.batch_size)
    prompts = replay_prompts(replay, plan.settings.seed, plan.settings.schedule.steps)
    with torch.no_grad():
        read = {prompt: _read(model, [prompt], plan.sample_size) for prompt in prompts}
    conditions = {
        prompt: {name: value.float().cpu() for name, value in condition.items()}
        for prompt, condition in read.items()
    }
    return EncodedReplay(replay, conditions, model.latent_shape(plan.sample_size))


def _read(model: "Model", prompts: Sequence[str], size: int) -> "Conditioning":
    """What the denoiser is given for square pictures with these prompts."""
    from clora_ext.families.base import SizeConditioning

    square = SizeConditioning((size, size), (0, 0), (size, size))
    return model.condition(prompts, [square] * len(prompts))
