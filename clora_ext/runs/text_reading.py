"""What becomes of the text encoders while a concept is trained: decided once, for the plan and the run."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from clora_ext.config.processes import Place
from clora_ext.formats.text import counted, escaped, size

from .baseline import has_own_scorer
from .plan import Plan
from .prepared import in_words
from .replay import replay_of
from .run_texts import run_texts
from .step_captions import varies
from .step_examples import pixels_change
from .token_rows import own_rows
from .weight_bytes import weight_bytes

if TYPE_CHECKING:
    from clora_ext.config.precision import Precision
    from clora_ext.prompts.concept_prompts import ConceptPrompts

__all__ = ["TextReading", "text_reading"]


@dataclass(frozen=True, slots=True)
class TextReading:
    """How the steps of a training are told what the text encoders say.

    Attributes:
        kept: where that is: with each picture; by text, in the machine's memory or on the disk; nowhere: they
            are asked in every step.
        stays: whether the text encoders are there during the training.
        learns: whether they learn, or rows of their tables do.
        texts: that are read before the training, where it is kept by text.
        note: what a user should know of it; empty: nothing.
        memory: bytes of what is kept by text in the machine's memory.
    """

    kept: Literal["pictures", "memory", "disk", "nowhere"]
    stays: bool
    learns: bool = False
    texts: tuple[str, ...] = ()
    note: str = ""
    memory: int = 0


def text_reading(plan: Plan, precision: "Precision", place: Place) -> TextReading:
    """What becomes of the text encoders in a training.

    Where they learn, they are asked in every step. Where every picture is always shown by one caption and in
    one cut, what they say is kept with the picture. Else it is kept by text: in the machine's memory if it
    takes no more than the text encoders themselves, or in the folder of kept encodings; if it takes more and
    there is no folder, they stay.

    Args:
        plan: of pictures.
        precision: where and how its model is computed.
        place: of this process, which asks for its part of each batch.
    """
    judges = has_own_scorer(plan)  # by prompts of its own, before and after
    if _learns(plan):
        return TextReading("nowhere", stays=True, learns=True)
    if not _is_asked_anew(plan):
        return TextReading("pictures", stays=judges)
    if judges:
        return TextReading("nowhere", stays=True)
    texts, encoders = run_texts(plan, place), weight_bytes(plan, precision)["text_encoder"]
    needed = _said_bytes(plan, precision, texts)
    if needed is None or needed <= encoders:
        return TextReading("memory", stays=False, texts=texts, memory=needed or 0)
    many = (
        f"what the text encoder says of the {counted(len(texts), 'text')} of the steps takes {size(needed)}"
    )
    if plan.cache_dir is not None:
        return TextReading(
            "disk", stays=False, texts=texts, note=f"{many}: it is kept in {escaped(plan.cache_dir)}"
        )
    stays = f"{many}, more than its own {size(encoders)}: it stays in memory and is asked in every step"
    return TextReading("nowhere", stays=True, note=f"{stays}; with --cache-dir it would leave")


def _learns(plan: Plan) -> bool:
    """Whether gradients flow through the text encoders."""
    return plan.settings.teaches_text or bool(own_rows(plan, *_words(plan)))


def _is_asked_anew(plan: Plan) -> bool:
    """Whether a step asks for more than each picture's caption and cut, of which SDXL is told."""
    if plan.settings.preservation.preserve_class or varies(plan) or pixels_change(plan):
        return True
    replay = replay_of(plan, *_words(plan))
    return replay is not None and bool(replay.own)


def _words(plan: Plan) -> "tuple[ConceptPrompts, tuple[ConceptPrompts, ...]]":
    """The new concept and the past ones."""
    return in_words(plan), plan.context.kept_prompts(plan.settings.strategy)


def _said_bytes(plan: Plan, precision: "Precision", texts: tuple[str, ...]) -> int | None:
    """Of all texts; None: the model's configuration does not tell."""
    import torch

    is_half = precision.frozen == torch.bfloat16  # what is float16 is kept wider
    family, header = plan.context.family, plan.context.header
    return family.said_bytes(header, texts, plan.settings.prompts, is_half=is_half)
