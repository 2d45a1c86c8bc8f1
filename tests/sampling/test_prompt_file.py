"""Files of prompts: what their lines and tables ask for, and everything that is wrong told by its place."""

import json
from pathlib import Path

import pytest
from cases import check_each

from clora_ext.errors import CloraError, SettingsError
from clora_ext.sampling.prompt_file import FilePrompt, read_prompt_file

TEXT = """# a remark
a photo of sks dog --n blurry, two heads --w 512 --h 768 --d 7 --s 20 --l 7.5 --ss euler_a

sks dog -- with a dash
"""
TOML = """[prompt]
width = 512
sample_steps = 20
[[prompt.subset]]
prompt = "sks dog"
scale = 7
[[prompt.subset]]
prompt = "a cat"
negative_prompt = "dog"
width = 640
sample_sampler = "ddim"
"""
JSON = json.dumps(["sks dog", {"prompt": "a cat", "seed": 3, "height": 768}])
READ: list[tuple[str, str, list[FilePrompt]]] = [
    (
        "a.txt",
        TEXT,
        [
            FilePrompt("a photo of sks dog", "blurry, two heads", 512, 768, 7, 20, 7.5),
            FilePrompt("sks dog -- with a dash"),
        ],
    ),
    (
        "a.toml",
        TOML,
        [
            FilePrompt("sks dog", width=512, steps=20, guidance=7),
            FilePrompt("a cat", "dog", width=640, steps=20),
        ],
    ),
    ("a.json", JSON, [FilePrompt("sks dog"), FilePrompt("a cat", seed=3, height=768)]),
]


def written(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_every_dialect_is_read(tmp_path: Path) -> None:
    def look(case: tuple[str, str, list[FilePrompt]]) -> None:
        name, text, wanted = case
        assert list(read_prompt_file(written(tmp_path, name, text))) == wanted

    check_each(READ, look)


WRONG: list[tuple[str, str, list[str]]] = [
    (
        "a.txt",
        "a dog --w 512.5\n\na cat --x 3 --l 0",
        ["a.txt:1  --w 512.5", "a.txt:3  --x: no such option", "--l"],
    ),
    ("a.txt", "a dog --ss eular", ["did you mean 'euler'"]),
    ("a.txt", "--w 512", ["names no prompt"]),
    ("a.txt", "# nothing", ["holds no prompt"]),
    ("a.txt", "a dog\n" * 101, ["101 prompts"]),
    ("a.toml", TOML.replace("width = 640", "widthh = 640"), ["(2)  widthh: no such option; did you mean"]),
    ("a.toml", "[[prompt.subset]]\nprompt = 3", ["prompt is no text"]),
    ("a.toml", "[[prompt.subset]]\nprompt = 'a'\nseed = true", ["seed is no number"]),
    ("a.json", '[{"prompt": "a", "scale": "Infinity"}]', ["no finite number"]),
    ("a.json", '[{"prompt": "a", "sample_steps": 0}]', ["is not from 1 to 1000"]),
]


def test_everything_that_is_wrong_is_told_by_its_place(tmp_path: Path) -> None:
    def look(case: tuple[str, str, list[str]]) -> None:
        name, text, wanted = case
        with pytest.raises(SettingsError) as caught:
            read_prompt_file(written(tmp_path, name, text))
        assert len(caught.value.problems) == len(wanted)
        for problem, words in zip(caught.value.problems, wanted, strict=True):
            assert words in problem

    check_each(WRONG, look)


UNREADABLE = [
    ("a.toml", "[prompt", "is not TOML"),
    ("a.toml", "[prompt]\nx = 1", "has no [[prompt.subset]]"),
    ("a.json", "{", "is not JSON"),
    ("a.json", "{}", "is no list of prompts"),
    ("a.json", "[" * 100_000, "is not JSON"),
    ("a.yaml", "", "is no file of prompts"),
    ("a.txt", "x" * (1 << 20) + "x", "too large"),
]


def test_what_is_no_such_file_is_named(tmp_path: Path) -> None:
    def look(case: tuple[str, str, str]) -> None:
        name, text, words = case
        with pytest.raises(CloraError) as caught:
            read_prompt_file(written(tmp_path, name, text))
        assert words in caught.value.message
        assert caught.value.fix

    check_each(UNREADABLE, look)
    with pytest.raises(CloraError, match="cannot read"):
        read_prompt_file(tmp_path / "missing.txt")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(CloraError, match="cannot read"):
        read_prompt_file(tmp_path / "latin.txt")
