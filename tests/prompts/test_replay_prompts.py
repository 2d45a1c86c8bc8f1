"""What a model is asked again: never the new concept, in many phrasings, in words that it reads."""

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from clora_ext.families.latent.text import load_tokenizer
from clora_ext.prompts import ReplayPrompts, Vocabulary, vocabulary_of
from clora_ext.prompts.concept_prompts import ConceptPrompts
from clora_ext.prompts.spread import spread

DOG = ConceptPrompts("sks", "dog", ("a photo of sks dog on a red background",))
CAT = ConceptPrompts("sbu", "cat", ("sbu cat in the snow", "a photo of sbu cat"))
STYLE = ConceptPrompts("zwz", "style", ("a fox in zwz style on a blue background",))


@pytest.fixture(scope="module", params=["demo", "clip"])
def words(request: pytest.FixtureRequest) -> Vocabulary:
    tokenizer = load_tokenizer(request.param, Path("here"))
    return vocabulary_of(lambda word: len(tokenizer.tokenize(word)) == 1)


def drawn(prompts: ReplayPrompts, count: int = 600) -> list[str]:
    return [prompts.draw(spread(number), Random(f"{number}")) for number in range(count)]


def test_every_word_is_one_that_the_model_reads() -> None:
    words = vocabulary_of(lambda word: word in {"dog", "fox", "red", "in", "the", "snow", "a", "photo", "of"})
    assert (words.nouns, words.colours, words.places) == (("dog", "fox"), ("red",), ("in the snow",))
    assert set(words.templates) == {"{thing}", "a photo of {thing}", "the {thing}", "a {look} {thing}",
                                    "{thing} {place}", "a photo of {thing} {place}",
                                    "a photo of a {look} {thing}"}  # fmt: skip


def test_both_models_read_enough_of_them(words: Vocabulary) -> None:
    assert len(words.nouns) > 150
    assert len(words.templates) == 22
    assert len(words.rare_tokens) >= 5


def test_the_new_concept_is_never_asked(words: Vocabulary) -> None:
    for new, earlier in ((DOG, ()), (DOG, (STYLE, CAT)), (STYLE, (DOG,))):
        asked = drawn(ReplayPrompts(new, earlier, words, anchors=0.5))
        assert not [prompt for prompt in asked if new.token in prompt.replace(",", " ").split()]
        assert not [prompt for prompt in asked if not prompt or "  " in prompt or "{" in prompt]


def test_shares_are_as_asked(words: Vocabulary) -> None:
    asked = drawn(ReplayPrompts(DOG, (CAT, STYLE), words, anchors=0.3))
    of = Counter(token for prompt in asked for token in ("sbu", "zwz") if token in prompt.split())
    assert 0.28 < of["sbu"] / len(asked) < 0.42
    assert 0.28 < of["zwz"] / len(asked) < 0.42
    assert sum("dog" in prompt.split() for prompt in asked) > 0.03 * len(
        asked
    )  # its class, without its token


def test_no_concept_waits_for_long(words: Vocabulary) -> None:
    """So many trajectories begin in a short training; each of nine concepts is asked again and again."""
    earlier = [ConceptPrompts(token, "dog", ()) for token in words.rare_tokens[:9]]
    for seed in range(20):
        prompts = ReplayPrompts(STYLE, earlier, words, anchors=0.3)
        asked = [prompts.draw(spread(number, Random(seed).random()), Random(number)) for number in range(60)]
        of = Counter(token for prompt in asked for token in prompt.split())
        assert min(of[one.token] for one in earlier) >= 3, seed


def test_all_are_anchors_where_nothing_was_taught_before(words: Vocabulary) -> None:
    asked = drawn(ReplayPrompts(DOG, (), words, anchors=0.0))
    others = set(words.rare_tokens) - {"sks"}
    with_another_token = [prompt for prompt in asked if others & set(prompt.split())]
    assert 0.05 < len(with_another_token) / len(asked) < 0.2
    assert all("dog" in prompt for prompt in with_another_token)


def test_a_style_is_asked_of_many_things(words: Vocabulary) -> None:
    asked = drawn(ReplayPrompts(DOG, (STYLE,), words, anchors=0.0))
    things = {word for prompt in asked for word in prompt.split()} & set(words.nouns)
    assert len(things) > 100
    assert all("zwz style" in prompt for prompt in asked)


def test_a_thing_is_asked_in_many_phrasings(words: Vocabulary) -> None:
    asked = drawn(ReplayPrompts(DOG, (CAT,), words, anchors=0.0))
    assert len(set(asked)) > 60
    assert "sbu cat" in asked
    assert all("sbu cat" in prompt for prompt in asked)


def test_a_vocabulary_of_nothing_still_asks() -> None:
    nothing = vocabulary_of(lambda word: False)
    assert drawn(ReplayPrompts(DOG, (), nothing, anchors=0.5), 50)
    assert "sbu cat" in drawn(ReplayPrompts(DOG, (CAT,), nothing, anchors=0.5), 50)


def test_tokens_are_words_and_not_patterns() -> None:
    odd = ConceptPrompts("a.b", "dog", ())
    assert odd.with_token("a.b dog, axb dog", "sks") == "sks dog, axb dog"
    assert ConceptPrompts("sks", "dog", ()).with_token("sksy sks dog", r"\1") == r"sksy \1 dog"


def test_where_a_style_is_learned_things_are_asked_as_they_are(words: Vocabulary) -> None:
    asked = drawn(ReplayPrompts(STYLE, (), words, anchors=1.0))
    assert not [prompt for prompt in asked if "style" in prompt]
    assert [prompt for prompt in asked if prompt.startswith("a ") and prompt.endswith(" background")]
