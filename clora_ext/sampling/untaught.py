"""What nobody has taught: what the base draws of it, and how far a later model's drawings are from that."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clora_ext.config.settings import PromptSettings
from clora_ext.errors import writing
from clora_ext.project.outcome import Drift, Estimate
from clora_ext.prompts import vocabulary_of
from clora_ext.scoring import Scorer

from .contact_sheet import Row, cells_of, contact_sheet, fitted

if TYPE_CHECKING:
    from PIL.Image import Image

    from clora_ext.families.model import Model

__all__ = [
    "BaseDrawings",
    "drift",
    "read_base_drawings",
    "remember_untaught",
    "untaught_prompts",
    "write_base_drawings",
]

_KEY = "clora"
_PROMPTS = 6
_SEED, _STEPS, _GUIDANCE = 11, 10, 4.0
_NEGATIVE = ""
_MOST_PIXELS = 1 << 24


@dataclass(frozen=True, slots=True)
class BaseDrawings:
    """One drawing for each prompt, by the base.

    Attributes:
        pictures: as they lie in the sheet, by prompt.
        size: side of what was drawn, pixels.
    """

    pictures: "Mapping[str, Image]"
    size: int


def untaught_prompts(
    knows_word: Callable[[str], bool], taught: Collection[str], most: int = _PROMPTS
) -> tuple[str, ...]:
    """Some everyday things, evenly spread over the alphabet.

    >>> untaught_prompts({"cat", "dog", "owl"}.__contains__, ["dog"])
    ('a photo of a cat', 'a photo of an owl')

    Args:
        knows_word: whether the model's tokenizer holds a word as one token.
        taught: words that belong to a concept.
        most: how many.
    """
    nouns = [noun for noun in vocabulary_of(knows_word).nouns if noun not in taught]
    count = min(most, len(nouns))
    chosen = [nouns[number * len(nouns) // count] for number in range(count)]
    return tuple(f"a photo of {'an' if noun[0] in 'aeiou' else 'a'} {noun}" for noun in chosen)


def remember_untaught(model: "Model", prompts: Sequence[str], size: int) -> None:
    """Have the model encode the prompts, so that they can be drawn when the text encoders are gone."""
    for prompt in prompts:
        _plain(model).remember_prompt(prompt, _NEGATIVE, size)


def write_base_drawings(model: "Model", prompts: Sequence[str], size: int, target: Path) -> None:
    """Draw with the base, and keep that as a contact sheet, which records how it was drawn."""
    from PIL import PngImagePlugin

    drawn = {prompt: _drawn(model, prompt, size) for prompt in prompts}
    text = PngImagePlugin.PngInfo()
    text.add_text(_KEY, json.dumps({"prompts": list(drawn), "size": size}))
    sheet = contact_sheet([Row(prompt, [image]) for prompt, image in drawn.items()], size)
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(target, format="PNG", pnginfo=text)


def read_base_drawings(sheet: Path) -> BaseDrawings | None:
    """What :func:`write_base_drawings` has written; None: nothing that can be used lies there."""
    from PIL import Image

    try:
        with Image.open(sheet, formats=("PNG",)) as opened:
            if opened.width * opened.height > _MOST_PIXELS:
                return None
            content = json.loads(opened.info.get(_KEY, ""))
            rows = cells_of(opened.convert("RGB"), len(content["prompts"]))
        pictures = {str(prompt): row[0] for prompt, row in zip(content["prompts"], rows, strict=True)}
        return BaseDrawings(pictures, int(content["size"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError, SyntaxError, ZeroDivisionError):
        return None


def drift(model: "Model", base: BaseDrawings, taught: Collection[str], scorer: Scorer | None) -> Drift | None:
    """How far the model has moved; None: every prompt belongs to a concept by now.

    Args:
        model: that is asked.
        base: what the base drew.
        taught: words that belong to a concept; prompts that say one are left out.
        scorer: tells how far by meaning; None: pixels alone are compared.
    """
    asked = {
        prompt: image for prompt, image in base.pictures.items() if not set(prompt.split()) & set(taught)
    }
    if not asked:
        return None
    now = [fitted(_drawn(model, prompt, base.size), base.size) for prompt in asked]
    then = list(asked.values())
    changes = Estimate.of([_change(*pair) for pair in zip(then, now, strict=True)])
    if scorer is None:
        return Drift(len(asked), changes)
    from clora_ext.scoring.measures import paired_drift

    distances = paired_drift(scorer.images(then), scorer.images(now)).tolist()
    return Drift(len(asked), changes, Estimate.of(distances), scorer.name)


def _drawn(model: "Model", prompt: str, size: int) -> "Image":
    options: dict[str, Any] = {"seeds": [_SEED], "steps": _STEPS, "guidance": _GUIDANCE}
    return _plain(model).sample(prompt, negative=_NEGATIVE, size=size, **options)[0]


def _plain(model: "Model") -> "Model":
    """Read as usual, whatever concepts may need: the base is compared with."""
    return model.reading(PromptSettings())


def _change(first: "Image", second: "Image") -> float:
    """Mean absolute difference, 0 to 1."""
    from PIL import ImageChops, ImageStat

    return sum(ImageStat.Stat(ImageChops.difference(first, second)).mean) / (3 * 255)
