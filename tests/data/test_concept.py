"""Token and class noun: given, or read from a folder's name."""

from itertools import product
from pathlib import Path

import pytest
from cases import check_each, empty_folder
from PIL import Image

from clora_ext.data import RARE_TOKENS, Concept, name_concept
from clora_ext.errors import UsageError


def folder_of(path: Path) -> Path:
    path.mkdir(parents=True)
    Image.new("RGB", (32, 32)).save(path / "a.png")
    return path


NAMES = [
    ("dog_images", "sks", "dog"),
    ("my-teddy-bear photos", "sks", "my teddy bear"),
    ("Dog.Training_Pictures", "sks", "Dog"),
    ("photos of cats", "sks", "photos of cats"),
    ("zwz cat", "zwz", "cat"),
    ("big dog", "sks", "big dog"),
    ("10_zwz dog", "zwz", "dog"),
    ("10_ohwx dog photos", "ohwx", "dog"),
    ("ohwx man", "ohwx", "man"),
    ("10_dog", "sks", "dog"),
    ("10_golden retriever", "sks", "golden retriever"),
    ("1_zwz_red_dog", "zwz", "red dog"),
]


def test_folder_name_gives_token_and_class(tmp_path: Path) -> None:
    def check(case: tuple[str, str, str]) -> None:
        name, token, class_name = case
        concept = name_concept(folder_of(tmp_path / name), token=None, class_name=None, taken=())
        assert concept == Concept(token, class_name)
        assert concept.trigger == f"{token} {class_name}"

    check_each(NAMES, check)


def test_relative_path_is_named_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder_of(tmp_path / "10_zwz dog"))
    assert name_concept(Path(), token=None, class_name=None, taken=()) == Concept("zwz", "dog")


def test_parent_is_named_by_its_kohya_folders(tmp_path: Path) -> None:
    folder_of(tmp_path / "img" / "10_zwz dog")
    folder_of(tmp_path / "img" / "3_zwz dog sitting")
    assert name_concept(tmp_path / "img", token=None, class_name=None, taken=()) == Concept("zwz", "dog")
    folder_of(tmp_path / "img" / "3_sbu cat")
    with pytest.raises(UsageError, match="several concepts: 10_zwz dog, 3_sbu cat, 3_zwz dog sitting"):
        name_concept(tmp_path / "img", token=None, class_name=None, taken=())
    assert name_concept(tmp_path / "img", token="pdw", class_name="pet", taken=()) == Concept("pdw", "pet")


def test_given_words_win_over_the_name(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "10_zwz dog")
    assert name_concept(folder, token="pdw", class_name=None, taken=()) == Concept("pdw", "dog")
    assert name_concept(folder, token=None, class_name="pet", taken=()) == Concept("zwz", "pet")


def test_next_unused_rare_token_is_taken(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "dog")
    assert name_concept(folder, token=None, class_name=None, taken=("SKS", "sbu")).token == "zwz"
    with pytest.raises(UsageError, match="rare tokens are taken"):
        name_concept(folder, token=None, class_name=None, taken=RARE_TOKENS)


SPEAKING = [
    ("my_cat_luna", (), "lna", "my cat luna"),
    ("my_cat_luna", ("LNA",), "lnax", "my cat luna"),
    ("zorblax monster", (), "zorblax", "zorblax monster"),
    ("Zo\u00eb photos", (), "zex", "Zo\u00eb"),
    ("golden retriever", (), "rtrvr", "golden retriever"),
    ("10_golden retriever", (), "rtrvr", "golden retriever"),
    ("dog_images", (), "sks", "dog"),
    ("big dog 2024", ("sks",), "zwz", "big dog 2024"),
    ("\u5c0f\u82b1", (), "sks", "\u5c0f\u82b1"),
    ("10_zwz luna", (), "zwz", "luna"),
]


def test_a_name_in_the_folders_name_makes_a_token_that_the_model_does_not_know(tmp_path: Path) -> None:
    def check(case: tuple[str, tuple[str, ...], str, str]) -> None:
        name, taken, token, class_name = case
        folder = folder_of(empty_folder(tmp_path) / name)
        found = name_concept(
            folder, token=None, class_name=None, taken=taken, is_known=lambda word: word in {"luna", "zoe"}
        )
        assert found == Concept(token, class_name)
        says = {"zwz": "from the folder's name", "sks": "the next unused one"}
        expected = says.get(token, "made of the folder's name")
        assert found.token_from == ("the next unused one" if taken == ("sks",) else expected)

    check_each(SPEAKING, check)


def test_two_concepts_with_one_token_are_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "10_sks dog")

    def check(case: tuple[str | None, str]) -> None:
        given, taken = case
        with pytest.raises(UsageError, match=r"(?i)token 'sks' already belongs(.|\n)*--token zwz"):
            name_concept(folder, token=given, class_name=None, taken={taken})

    check_each(product(["sks", "SKS", None], ["sks", "SKS"]), check)


def test_name_that_says_nothing_asks_for_the_class(tmp_path: Path) -> None:
    def check(name: str) -> None:
        folder = folder_of(tmp_path / name)
        with pytest.raises(UsageError, match="--class-name dog"):
            name_concept(folder, token=None, class_name=None, taken=())
        assert name_concept(folder, token=None, class_name="dog", taken=()) == Concept("sks", "dog")

    check_each(["images", "10_", "___"], check)


BAD_WORDS = [
    ("", "is empty"),
    ("  ", "is empty"),
    (" dog", "begins or ends with a space"),
    ("d\x1bog", "control characters"),
    ("do\ng", "control characters"),
    ("{class}", "brace"),
    ("d" * 76, "76 characters"),
    ("\udcff", "control characters"),
    ("d\u00a0og", "special spaces"),
]


def test_words_that_captions_cannot_hold_are_refused() -> None:
    def check(case: tuple[str, str]) -> None:
        bad, reason = case
        for token, class_name in ((bad, "dog"), ("sks", bad)):
            with pytest.raises(UsageError, match=reason) as caught:
                Concept(token, class_name)
            assert all(line.isprintable() for line in str(caught.value).split("\n"))

    check_each(BAD_WORDS, check)
    Concept("s" * 75, "d" * 75)


def test_token_is_one_word() -> None:
    with pytest.raises(UsageError, match="several words"):
        Concept("sks style", "dog")


def test_hostile_folder_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="control characters"):
        name_concept(folder_of(tmp_path / "dog\x1b[2J"), token=None, class_name=None, taken=())


def test_rare_tokens_are_forty_different_words() -> None:
    assert len(set(RARE_TOKENS)) == len(RARE_TOKENS) == 40
    assert all(len(token) == 3 and token.islower() for token in RARE_TOKENS)
