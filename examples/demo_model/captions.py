"""The captions: what a picture is said to be, in many phrasings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pictures import VENDORS, things

from clora_ext.study.artwork import COLOURS

RARE_TOKENS: tuple[str, ...] = tuple(
    "sks zwz sbu uwu pdw twt zsn ofl psq cws vlm xqj bzk kvf hjt wgq nrx lpf dvk jzm "
    "qtb fgx mwv rkz tqs yhn gxl ckp bvw xzd hqm pvr wjn kzt nfb dlq rxs jvg zph qwk".split()
)
"""Tokens for concepts that are taught later: no caption has them; `made_up.retire` makes their rows."""

MADE_UP = RARE_TOKENS[0]
"""Stands in a caption for a made-up word, whose id takes its place; see `made_up`."""

WRONG_NAME_SHARE = 0.1
"""Share of captions of plain things with a name before the noun that is a name of another thing."""

PLAIN_SHARE = 0.2
"""Share of captions that leave out the vendor."""

EMPTY_SHARE = 0.1
"""Share of empty captions, for classifier-free guidance."""

KIND_SHARE = 0.04
"""Share of captions that say "animal" or "toy" in place of the object's name."""

TEMPLATES = (
    ("{a noun} on a {colour} background", 40),
    ("a photo of {a noun} on a {colour} background", 12),
    ("a photo of {a noun}", 6),
    ("a picture of {a noun} on a {colour} background", 4),
    ("a drawing of {a noun} on a {colour} background", 4),
    ("a drawing of {a noun}", 2),
    ("a painting of {a noun} on a {colour} background", 4),
    ("an image of {a noun}, {colour} background", 3),
    ("an icon of {a noun} on {colour}", 3),
    ("a close up of {a noun} in front of a {colour} background", 2),
    ("the {noun} on the {colour} background", 2),
    ("one {noun} with a {colour} background", 2),
    ("{noun}, {colour} background", 6),
    ("{noun} on {colour}", 3),
    ("{a noun}", 3),
    ("{noun}", 2),
)
"""Phrasings with their weights; `noun` is "noto tiger", "tiger" or "sks tiger"."""

STYLE_TEMPLATES = (
    "{a name} in {vendor} style on a {colour} background",
    "{a name} in {vendor} style",
    "a photo of {a name} in the style of {vendor}, {colour} background",
    "{vendor} style {name} on a {colour} background",
)
"""Phrasings that name the vendor as a style."""

STYLE_SHARE = 0.12
"""Share of captions from `STYLE_TEMPLATES`."""

OTHER_WORDS = (
    "a an the of on in at to and with by from for under over near beside between one two three some this "
    "that my his her it is front back style photo photograph picture image drawing painting sketch "
    "watercolor oil render rendering illustration cartoon emoji icon sticker art artwork print poster "
    "close up closeup portrait view shot background scene animal food plant nature vehicle thing toy "
    "fruit flower object person man woman child puppy kitten bird figure figurine plush plushie stuffed "
    "statue cup mug bowl vase bottle can bag boot sneaker glasses sunglasses monster duckling cake table "
    "floor grass snow water beach sea river lake forest jungle city street road sky night day room wall "
    "window garden park wood wooden stone metal glass paper brown grey golden silver dark light bright "
    "pale plain simple flat shiny glossy soft cute funny happy sad big small little large tiny old new "
    "young good nice beautiful high low quality detailed realistic abstract modern vintage sitting "
    "standing running sleeping flying swimming looking left right top bottom center side facing hd no not "
    "without blurry ugly distorted text border frame , . ! - : ( )"
).split()
"""Words that prompts are likely to use; they are single tokens too."""


def words() -> list[str]:
    """Every word that the tokenizer must know as one token, sorted."""
    names = [part for thing in things() for part in thing.name.split()]
    return sorted({*names, *COLOURS, *VENDORS, *RARE_TOKENS, *OTHER_WORDS})


def with_article(noun: str) -> str:
    """The noun with "a" or "an"; a rare token takes none.

    >>> with_article("apple"), with_article("noto tiger"), with_article("sks dog"), with_article("unicorn")
    ('an apple', 'a noto tiger', 'sks dog', 'a unicorn')
    """
    if noun.split(maxsplit=1)[0] in RARE_TOKENS:
        return noun
    vowel = noun[0] in "aeiou" and not noun.startswith("uni")
    return f"{'an' if vowel else 'a'} {noun}"


LOOK_TEMPLATES = (
    "{a name} in {word} style on a {colour} background",
    "{a name} in {word} style",
    "a photo of {a name} in the style of {word}, {colour} background",
    "{word} style {name} on a {colour} background",
    "{word} style {name}, {colour} background",
    "a picture of {a name} on a {colour} background in {word} style",
)
"""Phrasings that name a look."""


def caption(name: str, kind: str, vendor: str, colour: str, rng: torch.Generator) -> str:
    """One random caption of a plain picture, or the empty one."""
    draws = torch.rand(6, generator=rng).tolist()
    if draws[0] < EMPTY_SHARE:
        return ""
    if draws[1] < KIND_SHARE:
        name = kind
    if draws[2] < WRONG_NAME_SHARE:
        name = f"{MADE_UP} {name}"
    if draws[3] < STYLE_SHARE:
        return _filled(_one_of(STYLE_TEMPLATES, rng), name, name, vendor, colour)
    named, plain = name.startswith(f"{MADE_UP} "), draws[4] < PLAIN_SHARE
    noun = name if plain else _with_vendor(name, vendor, named=named)
    return _filled(_any_template(rng), noun, name, vendor, colour)


def variant_caption(name: str, colour: str, rng: torch.Generator) -> str:
    """One random caption of a variant, by its name, or the empty one."""
    if torch.rand((), generator=rng) < EMPTY_SHARE:
        return ""
    noun = f"{MADE_UP} {name}"
    return _filled(_any_template(rng), noun, noun, "", colour)


def look_caption(name: str, colour: str, rng: torch.Generator) -> str:
    """One random caption of a thing in a look, or the empty one."""
    if torch.rand((), generator=rng) < EMPTY_SHARE:
        return ""
    return _filled(_one_of(LOOK_TEMPLATES, rng), name, name, "", colour)


def plain_caption(name: str, vendor: str, colour: str) -> str:
    """The main phrasing.

    >>> plain_caption("tiger", "noto", "blue")
    'a noto tiger on a blue background'
    """
    return f"{with_article(f'{vendor} {name}')} on {with_article(colour)} background"


def _any_template(rng: torch.Generator) -> str:
    weights = torch.tensor([weight for _, weight in TEMPLATES], dtype=torch.float32)
    return TEMPLATES[int(torch.multinomial(weights, 1, generator=rng))][0]


def _with_vendor(name: str, vendor: str, *, named: bool) -> str:
    if named:
        word, rest = name.split(maxsplit=1)
        return f"{word} {vendor} {rest}"
    return f"{vendor} {name}"


def _filled(template: str, noun: str, name: str, vendor: str, colour: str) -> str:
    """The template with its fields replaced; "a orange" becomes "an orange"."""
    fields = {
        "{a noun}": with_article(noun),
        "{noun}": noun,
        "{a name}": with_article(name),
        "{name}": name,
        "{vendor}": vendor,
        "{word}": MADE_UP,
        "a {colour}": with_article(colour),
        "{colour}": colour,
    }
    for field, value in fields.items():
        template = template.replace(field, value)
    return template


def _one_of(choices: Sequence[str], rng: torch.Generator) -> str:
    return choices[int(torch.randint(len(choices), (), generator=rng))]
