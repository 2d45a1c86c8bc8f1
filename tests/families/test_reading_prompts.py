"""How texts are read, in parts and at another layer: numbers of sd-scripts 0.11.1 beside what clora makes."""

import copy
import json
from collections.abc import Callable
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from clora_ext.config.settings import PromptSettings
from clora_ext.errors import UsageError
from clora_ext.families.latent import text
from clora_ext.families.latent.text import OneText, TwoTexts, load_tokenizer, tokens_cut
from clora_ext.families.model import SizeConditioning

GOLDEN: dict[str, Any] = json.loads(
    Path(__file__).with_name("kohya_long_captions.json").read_text(encoding="utf-8")
)
SQUARE = SizeConditioning((64, 64), (0, 0), (64, 64))
LAYERS = int(GOLDEN["clip_skip"]["layers"])


@cache
def tokenizer() -> CLIPTokenizer:
    """CLIP's own, cutting where its encoder ends."""
    loaded = load_tokenizer("clip", Path("here"))
    loaded.model_max_length = 77
    return loaded


@cache
def words(count: int) -> tuple[str, ...]:
    """Different words of one token each."""
    found = (word.removesuffix("</w>") for word in sorted(tokenizer().get_vocab()) if word.endswith("</w>"))
    plain = (word for word in found if word.isascii() and word.isalpha() and word.islower())
    single = (word for word in plain if len(tokenizer()(word).input_ids) == 3)
    return tuple(word for word, _ in zip(single, range(count), strict=False))


def config(layers: int = LAYERS) -> CLIPTextConfig:
    """A small text encoder with CLIP's vocabulary."""
    return CLIPTextConfig(
        vocab_size=49408,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        projection_dim=8,
        bos_token_id=49406,
        eos_token_id=49407,
        pad_token_id=49407,
    )


@cache
def one_text() -> OneText:
    """Like Stable Diffusion 1's."""
    torch.manual_seed(0)
    return OneText(tokenizer(), CLIPTextModel(config()).eval())


@cache
def two_texts() -> TwoTexts:
    """Like SDXL's."""
    torch.manual_seed(1)
    second = CLIPTextModelWithProjection(config()).eval()
    return TwoTexts(tokenizer(), one_text().encoder, second)


def described(row: list[int], places: dict[int, int], pad: int) -> str:
    """A part as the golden file writes it."""
    marks = {tokenizer().bos_token_id: "B", tokenizer().eos_token_id: "E"}
    names = [str(places[one]) if one in places else marks.get(one, "P") for one in row]
    assert pad in {0, tokenizer().eos_token_id}
    written = []
    for is_word, group in groupby(names, str.isdigit):
        run = list(group)
        if is_word:
            assert [int(one) for one in run] == list(range(int(run[0]), int(run[-1]) + 1))
            written.append(run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}")
        else:
            for mark, same in groupby(run):
                count = len(list(same))
                written.append(mark if count == 1 else f"{mark}x{count}")
    return " ".join(written)


@pytest.mark.long
@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: f"{case['tokens']}-{case['encoder']}")
def test_the_parts_are_sd_scripts(case: dict[str, Any]) -> None:
    chosen = words(case["tokens"])
    numbers = [tokenizer()(word).input_ids[1] for word in chosen]
    prompts = PromptSettings(max_token_length=case["max_token_length"] or 75)
    pad = tokenizer().pad_token_id if case["encoder"] == "sd" else 0
    rows = text._tokens(tokenizer(), [" ".join(chosen)], pad, prompts.parts, torch.device("cpu")).tolist()
    places = {number: place for place, number in enumerate(numbers)}
    assert [described(row, places, pad) for row in rows] == case["chunks"]
    left = max(0, case["tokens"] - 75 * prompts.parts)
    assert tokens_cut(tokenizer(), " ".join(chosen), prompts.parts) == left


def test_the_parts_states_stand_side_by_side_without_the_marks_between_them() -> None:
    short, long = " ".join(words(3)), " ".join(words(200))
    reading = one_text().reading(PromptSettings(max_token_length=225))
    with torch.no_grad():
        states = reading.condition([short, long], [SQUARE] * 2)["states"]
        numbers = text._tokens(tokenizer(), [short, long], 49407, 3, torch.device("cpu"))
        each = one_text().encoder(numbers).last_hidden_state.reshape(2, 3 * 77, 16)
    spans = [span.split("-") for span in GOLDEN["states_225"]["ranges"].split("; ")]
    indices = [index for span in spans for index in range(int(span[0]), int(span[-1]) + 1)]
    assert states.shape == (2, GOLDEN["states_225"]["length"], 16)
    assert torch.equal(states, each[:, indices])


def test_one_part_is_what_it_always_was() -> None:
    with torch.no_grad():
        numbers = tokenizer()(words(5)[3], max_length=77, padding="max_length", return_tensors="pt").input_ids
        states = one_text().condition([words(5)[3]], [SQUARE])["states"]
        assert torch.equal(states, one_text().encoder(numbers).last_hidden_state)


@pytest.mark.parametrize("skip", [1, 2, 3])
def test_a_layer_before_the_last_is_normed_as_the_last_is(skip: int) -> None:
    reading = one_text().reading(PromptSettings(clip_skip=skip))
    encoder = one_text().encoder
    inner = getattr(encoder, "text_model", encoder)
    with torch.no_grad():
        states = reading.condition(["a dog"], [SQUARE])["states"]
        numbers = text._tokens(tokenizer(), ["a dog"], 49407, 1, torch.device("cpu"))
        layers = encoder(numbers, output_hidden_states=True).hidden_states
        wanted = inner.final_layer_norm(layers[GOLDEN["clip_skip"]["hidden_state_index_of"][str(skip)]])
    assert torch.equal(states, wanted)


def test_sdxl_pools_the_first_part_and_has_one_layer() -> None:
    short, long = " ".join(words(3)), " ".join(words(200))
    usual = two_texts().condition([short, long], [SQUARE] * 2)
    with torch.no_grad():
        read = two_texts().reading(PromptSettings(2, 225)).condition([short, long], [SQUARE] * 2)
    assert read["states"].shape == (2, 227, 32)
    assert torch.allclose(read["pooled"], usual["pooled"], atol=1e-6)
    assert torch.allclose(read["states"][:, :76], usual["states"][:, :76], atol=1e-6)


def test_gradients_reach_every_part() -> None:
    reading = one_text().reading(PromptSettings(2, 150))
    table = one_text().encoder.get_input_embeddings().weight
    (gradient,) = torch.autograd.grad(
        reading.condition([" ".join(words(100))], [SQUARE])["states"].square().sum(), table
    )
    last = tokenizer()(words(100)[-1]).input_ids[1]
    assert gradient[last].abs().sum() > 0


@torch.no_grad()
def test_what_does_not_change_is_read_once() -> None:
    reading, asked = two_texts(), 0

    def count(*_: object) -> None:
        nonlocal asked
        asked += 1

    def states(prompt: str, how: TwoTexts = reading) -> torch.Tensor:
        return how.condition([prompt], [SQUARE])["states"]

    counting = reading.encoder_2.register_forward_hook(count)
    dog, wide = states("a dog"), SizeConditioning((64, 96), (0, 0), (64, 64))
    with reading.said.once():
        assert torch.equal(states("a dog"), dog)
        assert torch.equal(states("a dog"), dog)
        again = reading.condition(["a dog"], [wide])  # the cut is no part of the text
        assert torch.equal(again["states"], dog)
        assert again["time_ids"].tolist() == [[64, 96, 0, 0, 64, 64]]
        assert asked == 2  # one before, one now
        assert not torch.equal(states("a cat"), dog)
        assert len(states("a dog", reading.reading(PromptSettings(max_token_length=150)))[0]) == 152
        assert asked == 4
        for word in words(40):
            states(word)
        assert asked == 44
        states("a dog")  # not all is kept
        assert asked == 45
    states("a dog")
    assert asked == 46
    counting.remove()


def test_a_layer_that_is_not_there_is_refused() -> None:
    from clora_ext import families
    from clora_ext.families.hub import DEMO_MODEL
    from clora_ext.formats.models import model_header

    header = model_header(DEMO_MODEL)
    family = families.detect(header, DEMO_MODEL)
    with pytest.raises(UsageError, match="clip-skip 9 leaves nothing"):
        family.readable(header, PromptSettings(clip_skip=9))


class Kept(dict[str, tuple[torch.Tensor, ...]]):
    """What is said of texts, by text."""

    def of(self, text: str, ask: Callable[[], tuple[torch.Tensor, ...]]) -> tuple[torch.Tensor, ...]:
        return self.setdefault(text, self.get(text) or ask())


@torch.no_grad()
@pytest.mark.parametrize("long", [75, 150])
def test_what_is_kept_of_texts_is_what_is_read_of_them_together_to_the_last_bit(long: int) -> None:
    """A pooled text that is projected alone differs from one that is projected with others."""
    prompts, cuts = ["a dog", "a cat on a mat", "", " ".join(words(100))], [SQUARE] * 4
    for made in (one_text, two_texts):
        whole = made().reading(PromptSettings(max_token_length=long))
        together = whole.condition(prompts, cuts)
        gone, kept = copy.deepcopy(whole), Kept()
        gone.said.keep(kept, torch.device("cpu"))
        for prompt in prompts:
            gone.condition([prompt], [SQUARE])
        gone.drop()
        again = gone.condition(prompts, cuts)
        assert all(torch.equal(again[name], value) for name, value in together.items())
        assert list(kept) == prompts
        with pytest.raises(NotImplementedError, match="meta"):
            gone.condition(["a bird"], [SQUARE])["states"].cpu()
