"""Every text that the steps of a training ask the text encoders for: a function of the plan alone."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from clora_ext.config.processes import Place
from clora_ext.data import batches

from .objective import class_words
from .plan import Plan
from .prepared import in_words
from .replay import own_words, replay_of
from .step_captions import step_captions

if TYPE_CHECKING:
    from clora_ext.training.own_words import OwnWords

__all__ = ["run_texts"]


def run_texts(plan: Plan, place: Place) -> tuple[str, ...]:
    """Each once, in the order in which they are first asked for, from the step on at which the run goes on.

    Not among them is what is drawn and what is asked along trajectories, which is read before any training.

    Args:
        plan: of pictures.
        place: of the process, which asks for its part of each batch.
    """
    return tuple(dict.fromkeys([*_of_pictures(plan), *_of_steps(plan, place)]))


def _of_pictures(plan: Plan) -> Iterator[str]:
    """Captions as they are measured by, before the training, during it and after."""
    yield from (one.caption for one in (*plan.dataset.pictures, *plan.dataset.held_out))


def _of_steps(plan: Plan, place: Place) -> Iterator[str]:
    settings = plan.settings
    shown = batches(plan.bucketed, settings.data.batch_size, settings.seed)
    caption_at = step_captions(plan, plan.context.family.reader(plan.context.header))
    words = _words(plan)
    done = plan.resume_step * settings.algorithm.gradient_accumulation_steps
    for number in range(done, settings.batches):
        captions = [
            plan.dataset.pictures[index].caption if caption_at is None else caption_at(index, number)
            for index in shown.batch_at(number)
        ]
        part = place.part(len(captions))
        yield from captions[part.start : part.stop]
        for own in words:
            yield from (text for which, text in own.at(captions, number) if which in part)


def _words(plan: Plan) -> "Sequence[OwnWords]":
    """By which a step's own pictures are asked again."""
    concept, earlier = in_words(plan), plan.context.kept_prompts(plan.settings.strategy)
    replay = replay_of(plan, concept, earlier)
    found = (None if replay is None else own_words(replay, plan), class_words(plan, concept))
    return [one for one in found if one is not None]
