"""Captions that vary, against what sd-scripts 0.11.1 made of them in 3,000 draws each."""

import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from cases import check_each

from clora_ext.config.settings import CaptionSettings
from clora_ext.data.varied_captions import plain_caption, varied_caption

CASES = json.loads(Path(__file__).with_name("kohya_captions.json").read_text(encoding="utf-8"))
NAMES = {
    "shuffle_caption": "shuffle_caption",
    "keep_tokens": "keep_tokens",
    "keep_tokens_separator": "keep_tokens_separator",
    "caption_separator": "caption_separator",
    "secondary_separator": "secondary_separator",
    "caption_prefix": "caption_prefix",
    "caption_suffix": "caption_suffix",
    "enable_wildcard": "wildcards",
    "caption_dropout_rate": "caption_dropout",
    "caption_tag_dropout_rate": "tag_dropout",
    "caption_dropout_every_n_epochs": "caption_dropout_every",
}
# What clora does otherwise, on purpose, and what sd-scripts' choice is worth nothing in.
OTHERWISE = {
    "separator stays when nothing shuffles": {"a, b, c": 1.0},  # the mark never reaches the text encoder
    "wildcard nested": None,  # sd-scripts leaves a brace too few
}
DRAWS = 3000


def wanted(case: dict[str, Any]) -> dict[str, float]:
    """The shares; joined by the separator and a blank, as from sd-scripts 0.12 on."""
    mark = case["settings"].get("caption_separator", ",")
    shares: dict[str, float] = OTHERWISE.get(case["name"]) or case["shares"]
    return {output.replace(", ", f"{mark} "): share for output, share in shares.items()}


def test_every_output_of_sd_scripts_comes_as_often_as_there(tmp_path: Path) -> None:
    def look(case: dict[str, Any]) -> None:
        rules = CaptionSettings(
            **{NAMES[key]: value for key, value in case["settings"].items() if key in NAMES}
        )
        epoch, rng = case["settings"].get("epoch", 1), Random(1)
        found = Counter(varied_caption(rules, case["caption"], rng, epoch) for _ in range(DRAWS))
        shares = wanted(case)
        assert found.keys() == shares.keys()
        assert all(abs(found[output] / DRAWS - share) < 0.05 for output, share in shares.items())
        assert rules.vary or len(found) == 1

    check_each([case for case in CASES if OTHERWISE.get(case["name"], True)], look)


def test_equal_chance_gives_equal_captions() -> None:
    rules = CaptionSettings(shuffle_caption=True, keep_tokens=1, tag_dropout=0.3, wildcards=True)
    caption = "sks {dog|puppy}, a, b, c, d\nsks dog, e, f"
    first, again = (
        [varied_caption(rules, caption, Random(f"3/{step}")) for step in range(50)] for _ in range(2)
    )
    assert first == again
    assert len(set(first)) > 20


def test_the_plain_caption_leaves_nothing_out() -> None:
    rules = CaptionSettings(
        shuffle_caption=True,
        keep_tokens_separator="|||",
        secondary_separator=";",
        wildcards=True,
        caption_dropout=1.0,
        tag_dropout=1.0,
    )
    written = "sks {dog|puppy} ||| red;blue, b\nsecond line"
    assert plain_caption(rules, written) == "sks dog, red,blue, b"
    assert plain_caption(CaptionSettings(caption_prefix="P,"), "a,b") == "P, a,b"
