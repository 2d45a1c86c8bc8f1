"""What the model before a training is asked again during it: prompts are read while it is that model."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clora_ext.config.processes import Place
from clora_ext.config.settings import Settings
from clora_ext.prompts import reads_as_one, vocabulary_of
from clora_ext.prompts.concept_prompts import ConceptPrompts

from .plan import Plan
from .prepared import PreparedRun

if TYPE_CHECKING:
    import torch

    from clora_ext.families.model import Conditioning, Model
    from clora_ext.strategies.base import Replay, Strategy
    from clora_ext.strategies.objective import OwnReplay
    from clora_ext.training.own_words import OwnWords
    from clora_ext.training.replay import TrajectoryReplay

__all__ = [
    "EncodedReplay",
    "encode_replay",
    "own_words",
    "replay_of",
    "replayed",
    "times_a_plain_step",
]


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
        self,
        run: PreparedRun,
        model: "Model",
        without_adapter: Callable[[], AbstractContextManager[None]],
        place: Place,
    ) -> "OwnReplay | None":
        """The step's own pictures; None: they are not asked again."""
        from clora_ext.training.own_replay import OwnPictures

        words = own_words(self.replay, run.plan)
        if words is None:
            return None
        return OwnPictures(model, words, without_adapter, run.plan.settings.teaches_text, place)

    def during(
        self,
        run: PreparedRun,
        model: "Model",
        without_adapter: Callable[[], AbstractContextManager[None]],
        device: "torch.device",
        place: Place,
    ) -> "TrajectoryReplay":
        """The points of every training step."""
        from clora_ext.training.replay import TrajectoryReplay

        def condition(prompts: Sequence[str]) -> "Conditioning":
            # None of the prompts holds the new token, so a changed row of its own changes none of them.
            if run.plan.settings.teaches_text:
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
            place=place,
        )


def replayed(strategy: "Strategy", settings: Settings) -> int:
    """How many pictures' worth of points are asked again in every training step; 0: none."""
    from clora_ext.training.replay import points_per_step

    batch_size = settings.data.batch_size
    replay = _asked_beside(strategy, batch_size)
    preserved = batch_size if settings.preservation.preserve_class else 0
    return preserved + (0 if replay is None else points_per_step(replay))


def times_a_plain_step(strategy: "Strategy", settings: Settings) -> float:
    """What a step costs by what is asked again; 1: nothing is."""
    from clora_ext.training.replay import cost_beside, replay_cost

    batch_size = settings.data.batch_size
    replay = _asked_beside(strategy, batch_size)
    preserved = cost_beside(batch_size, batch_size, batch_size) if settings.preservation.preserve_class else 0
    return 1 + preserved + (0 if replay is None else replay_cost(replay, batch_size))


def _asked_beside(strategy: "Strategy", batch_size: int) -> "Replay | None":
    """What a strategy asks again of any concept."""
    replay = strategy.replay(ConceptPrompts("", "", ()), (), vocabulary_of(lambda word: False))
    return None if replay is None else replay.beside(batch_size)


def replay_of(plan: Plan, concept: ConceptPrompts, earlier: Sequence[ConceptPrompts]) -> "Replay | None":
    """What the strategy wants the model before to be asked again; None: nothing.

    Args:
        plan: of the run.
        concept: the new one in words.
        earlier: past concepts in words.
    """
    read = plan.context.family.reader(plan.context.header)
    wished = plan.strategy.replay(concept, earlier, vocabulary_of(reads_as_one(read)))
    return None if wished is None else wished.beside(plan.settings.data.batch_size)


def own_words(replay: "Replay", plan: Plan) -> "OwnWords | None":
    """Those that the step's own pictures are asked again by; None: they are not asked again."""
    from clora_ext.training.own_words import OwnWords

    return OwnWords(replay.own, replay.reworded, plan.settings.seed) if replay.own else None


def encode_replay(run: PreparedRun, model: "Model") -> EncodedReplay | None:
    """Read the prompts of everything that will be asked; None: the strategy asks for nothing.

    Args:
        run: its strategy says what is asked.
        model: without an adapter yet.
    """
    import torch

    from clora_ext.config.precision import to_keep
    from clora_ext.training.replay import replay_prompts

    plan, replay = run.plan, replay_of(run.plan, run.concept, run.earlier)
    if replay is None:
        return None
    prompts = replay_prompts(replay, plan.settings.seed, plan.settings.batches)
    with torch.no_grad():
        conditions = {
            prompt: {name: to_keep(value) for name, value in _read(model, [prompt], plan.sample_size).items()}
            for prompt in prompts
        }
    return EncodedReplay(replay, conditions, model.latent_shape(plan.sample_size))


def _read(model: "Model", prompts: Sequence[str], size: int) -> "Conditioning":
    """What the denoiser is given for square pictures with these prompts."""
    from clora_ext.families.model import SizeConditioning

    square = SizeConditioning((size, size), (0, 0), (size, size))
    return model.condition(prompts, [square] * len(prompts))
