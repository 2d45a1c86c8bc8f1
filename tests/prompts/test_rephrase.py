"""A caption in other words: the same picture, called in more ways than the user has thought of."""

import re
from random import Random

import pytest

from clora_ext.prompts import rephrased, vocabulary_of

EVERYTHING = vocabulary_of(lambda word: True)


def all_of(caption: str, count: int = 200) -> set[str]:
    return {rephrased(caption, EVERYTHING, Random(number)) for number in range(count)}


def test_opening_and_background_are_said_otherwise_and_the_thing_stays() -> None:
    said = all_of("a photo of sks dog on a red background")
    assert len(said) == 16
    for one in said:
        assert re.fullmatch(r"(an? (photo|picture|image) of )?sks dog .*\bred\b.*", one), one
    assert {"sks dog on red", "a picture of sks dog in front of a red background"} < said


def test_no_photo_is_made_of_what_was_not_called_one() -> None:
    assert all_of("sks dog") == {"sks dog", "a picture of sks dog", "an image of sks dog"}
    assert "a photo of sks dog" in all_of("an image of sks dog")


@pytest.mark.parametrize(
    "caption",
    [
        "1girl, sks, red hair, outdoors",
        "sks dog sits on a couch. It is red.",
        "sks dog; red",
        "a drawing of sks dog",
        "A close up of sks dog",
        "the oil painting of sks dog",
        "",
    ],
)
def test_what_cannot_be_said_otherwise_without_loss_stays(caption: str) -> None:
    assert all_of(caption) == {caption}


def test_a_drawing_stays_one_and_its_background_varies() -> None:
    said = all_of("a drawing of sks dog with a blue background")
    assert len(said) == 4
    assert all(one.startswith("a drawing of sks dog ") and "blue" in one for one in said)


def test_a_style_is_called_as_before() -> None:
    said = all_of("a fox in zwz style on a pink background")
    assert len(said) == 12
    assert all("a fox in zwz style" in one and "photo" not in one for one in said)


def test_a_background_that_is_no_colour_stays() -> None:
    assert all_of("sks dog on a wooden background", 60) == {
        f"{opening}sks dog on a wooden background" for opening in ("", "a picture of ", "an image of ")
    }


def test_only_words_that_the_model_reads_are_used() -> None:
    few = vocabulary_of(lambda word: word in {"a", "photo", "of", "on", "red", "sks", "dog"})
    said = {rephrased("a photo of sks dog on red", few, Random(number)) for number in range(60)}
    assert said == {"a photo of sks dog on red", "sks dog on red"}
    nothing = vocabulary_of(lambda word: False)
    assert rephrased("a photo of sks dog on red", nothing, Random(1)) == "a photo of sks dog on red"
