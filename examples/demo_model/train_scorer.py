"""Training the scorer: every vendor style and object, but for the pictures kept for its own validation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from attention import made_fast
from captions import RARE_TOKENS, STYLE_SHARE, plain_caption, with_article
from pictures import VENDORS, Thing, artwork, named_background, things, to_tensor
from PIL import Image, ImageFilter
from scorer import Scorer, ScorerConfig, load_scorer, save_scorer
from tokenizer import MAX_TOKENS, made_tokenizer, token_ids
from torch import Tensor
from trainer import Schedule, Trainer, say
from transformers import CLIPTokenizer

from clora_ext.study.artwork import COLOURS, paste
from clora_ext.study.drawn import random_place

KEPT_SHARE = 10
"""One in this many (object, vendor) pictures is kept for validation."""

STATED_SHARE = 0.75
"""Share of captions that name the vendor; as many name the background."""

RARE_SHARE = 0.18
"""Share of captions with a rare token before the noun: the scorer does not mind them."""

OPENINGS = (
    "",
    "a photo of ",
    "a picture of ",
    "a drawing of ",
    "an image of ",
    "a painting of ",
    "an icon of ",
)


@dataclass(frozen=True, slots=True)
class Shown:
    """What one picture shows."""

    thing: int
    vendor: int
    colour: int


@dataclass(frozen=True, slots=True)
class Stated:
    """What one caption says; None where it says nothing."""

    text: str
    thing: int
    vendor: int | None
    colour: int | None

    def fits(self, shown: Shown) -> bool:
        """Whether a picture shows everything that the caption states."""
        return (
            self.thing == shown.thing
            and self.vendor in (None, shown.vendor)
            and self.colour in (None, shown.colour)
        )


def kept_pairs(count: int) -> set[tuple[int, int]]:
    """The (object, vendor) pairs kept for validation: every tenth, never two of one object."""
    pairs = range(0, count * len(VENDORS), KEPT_SHARE)
    return {divmod(pair, len(VENDORS)) for pair in pairs}


def stated(thing: Thing, shown: Shown, rng: torch.Generator) -> Stated:
    """A random caption of a picture that leaves out some of what it shows."""
    draws = torch.rand(5, generator=rng).tolist()
    vendor = shown.vendor if draws[0] < STATED_SHARE else None
    colour = shown.colour if draws[1] < STATED_SHARE else None
    name = thing.name
    if draws[2] < RARE_SHARE:
        name = f"{RARE_TOKENS[int(torch.randint(len(RARE_TOKENS), (), generator=rng))]} {name}"
    noun = name if vendor is None or draws[3] < STYLE_SHARE else f"{VENDORS[vendor]} {name}"
    text = OPENINGS[int(draws[4] * len(OPENINGS))] + with_article(noun)
    if vendor is not None and noun == name:
        text += f" in {VENDORS[vendor]} style"
    if colour is not None:
        text += f" on {with_article(list(COLOURS)[colour])} background"
    return Stated(text, shown.thing, vendor, colour)


def softened(picture: Image.Image, rng: torch.Generator) -> Image.Image:
    """Sometimes a little blur, as an autoencoder leaves."""
    radius = float(torch.rand((), generator=rng)) * 1.6 - 0.6
    return picture.filter(ImageFilter.GaussianBlur(radius)) if radius > 0 else picture


class ScorerTask:
    """Tell, in a batch of pictures and captions, which belong together."""

    batch = 160

    def __init__(self, packages: Path, tokenizer: CLIPTokenizer) -> None:
        self._tokenizer = tokenizer
        self._things = things()
        self._art = {
            (index, vendor): artwork(packages, name, thing.code)
            for index, thing in enumerate(self._things)
            for vendor, name in enumerate(VENDORS)
        }
        self.kept = sorted(kept_pairs(len(self._things)))
        self._vendors_of = [
            [vendor for vendor in range(len(VENDORS)) if (index, vendor) not in set(self.kept)]
            for index in range(len(self._things))
        ]
        end = tokenizer.eos_token_id
        self.scorer = Scorer(ScorerConfig(vocabulary=len(tokenizer), end_token=end, max_tokens=MAX_TOKENS))
        self.network = self.scorer
        made_fast(self.network)

    def loss(self, count: int, rng: torch.Generator) -> Tensor:
        """Contrastive loss both ways; a caption fits every picture that shows all it states."""
        scorer = self.scorer
        shown = self._draw(count, rng)
        captions = [stated(self._things[one.thing], one, rng) for one in shown]
        fits = torch.tensor([[one.fits(picture) for one in captions] for picture in shown])
        pictures = self._pictures(shown, rng)
        pictures = pictures + 0.08 * torch.rand((), generator=rng) * torch.randn(
            pictures.shape, generator=rng
        )
        with torch.autocast("cpu", torch.bfloat16):
            images = scorer.image(pictures.contiguous(memory_format=torch.channels_last))
        images = torch.nn.functional.normalize(images.float(), dim=1)
        texts = scorer.texts(self.ids([one.text for one in captions]))
        logits = scorer.log_scale.clamp(max=4.6).exp() * images @ texts.T
        right = logits.masked_fill(~fits, -1e4)
        forth = (logits.logsumexp(dim=1) - right.logsumexp(dim=1)).mean()
        back = (logits.logsumexp(dim=0) - right.logsumexp(dim=0)).mean()
        total: Tensor = (forth + back) / 2
        return total

    def show(self, step: int) -> str:
        """Retrieval accuracy on the kept pictures, and on as many trained ones in fresh placements."""
        trained = [(thing, self._vendors_of[thing][0]) for thing, _ in self.kept]
        found = {"kept": self.retrieval(self.kept, seed=5), "trained": self.retrieval(trained, seed=6)}
        return json.dumps(
            {name: {k: round(v, 3) for k, v in shares.items()} for name, shares in found.items()}
        )

    def retrieval(self, pairs: Sequence[tuple[int, int]], seed: int, rounds: int = 4) -> dict[str, float]:
        """Shares of pictures whose nearest caption, of all objects, vendors and colours, is right."""
        rng = torch.Generator().manual_seed(seed)
        colours = list(COLOURS)
        shown = [
            Shown(thing, vendor, int(torch.randint(len(colours), (), generator=rng)))
            for _ in range(rounds)
            for thing, vendor in pairs
        ]
        every = [
            Shown(thing, vendor, colour)
            for thing in range(len(self._things))
            for vendor in range(len(VENDORS))
            for colour in range(len(colours))
        ]
        texts = [
            plain_caption(self._things[e.thing].name, VENDORS[e.vendor], colours[e.colour]) for e in every
        ]
        with torch.no_grad():
            text = torch.cat(
                [self.scorer.texts(self.ids(texts[i : i + 512])) for i in range(0, len(texts), 512)]
            )
            image = torch.cat(
                [self.scorer.images(part) for part in torch.split(self._pictures(shown, rng), 96)]
            )
        found = [every[index] for index in (image @ text.T).argmax(dim=1).tolist()]
        both = list(zip(shown, found, strict=True))
        return {
            "object": _share([a.thing == b.thing for a, b in both]),
            "vendor": _share([a.vendor == b.vendor for a, b in both]),
            "colour": _share([a.colour == b.colour for a, b in both]),
            "all three": _share([a == b for a, b in both]),
        }

    def ids(self, texts: Sequence[str]) -> Tensor:
        """Token ids (n, MAX_TOKENS)."""
        return token_ids(self._tokenizer, texts)

    def _draw(self, count: int, rng: torch.Generator) -> list[Shown]:
        """Eight pictures of each of a few objects, so that style and background must be told apart."""
        chosen = torch.randint(len(self._things), (count // 8,), generator=rng).tolist()
        shown = []
        for thing in chosen * 8:
            vendors = self._vendors_of[thing]
            vendor = vendors[int(torch.randint(len(vendors), (), generator=rng))]
            shown.append(Shown(thing, vendor, int(torch.randint(len(COLOURS), (), generator=rng))))
        return shown

    def _pictures(self, shown: Sequence[Shown], rng: torch.Generator) -> Tensor:
        names = list(COLOURS)
        return to_tensor(
            [
                softened(
                    paste(
                        self._art[one.thing, one.vendor],
                        named_background(names[one.colour], rng),
                        random_place(rng),
                    ),
                    rng,
                )
                for one in shown
            ]
        )


def train_scorer(packages: Path, work: Path, schedule: Schedule, seed: int) -> None:
    """Train or continue; at the end write ``work``/scorer.safetensors and say how well it retrieves."""
    torch.manual_seed(seed)
    task = ScorerTask(packages, made_tokenizer(work / "tokenizer"))
    trainer = Trainer(task, work / "scorer", schedule, seed, show_seconds=120.0)
    if trainer.train():
        trainer.average.swap()
        save_scorer(task.scorer, work / "scorer.safetensors")
        task.scorer.load_state_dict(load_scorer(work / "scorer.safetensors").state_dict())
        (work / "scorer.json").write_text(task.show(trainer.step) + "\n", encoding="utf-8")
        say(f"scorer.safetensors and scorer.json written, {len(task.kept)} pictures were kept")


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags)
