"""What nobody has taught: which prompts, how the base's drawings are kept, how drift is told."""

from pathlib import Path

import pytest
from cases import check_each
from PIL import Image
from test_earlier import Colours

from clora_ext.config.settings import PromptSettings
from clora_ext.sampling.untaught import drift, read_base_drawings, untaught_prompts, write_base_drawings

PROMPTS = ("a photo of a cat", "a photo of an owl")


class Painter:
    """Draws every prompt in a colour of its own; the measuring is what is tested here."""

    def __init__(self, *colours: str) -> None:
        self.colours = dict(zip(PROMPTS, colours, strict=True))
        self.asked: list[tuple[str, object, object]] = []

    def reading(self, prompts: PromptSettings) -> "Painter":
        assert prompts == PromptSettings()
        return self

    def sample(self, prompt: str, *, seeds: object, size: int, **_: object) -> list[Image.Image]:
        self.asked.append((prompt, seeds, size))
        return [Image.new("RGB", (size, size), self.colours[prompt])]


def test_prompts_are_of_known_things_that_no_concept_is(tmp_path: Path) -> None:
    assert untaught_prompts({"cat", "dog", "owl"}.__contains__, ["dog", "sks"]) == PROMPTS
    many = untaught_prompts(lambda word: True, [])
    assert len(many) == len(set(many)) == 6
    assert untaught_prompts(lambda word: False, []) == ()


def test_drift_is_told_pair_by_pair(tmp_path: Path) -> None:
    base, file = Painter("red", "lime"), tmp_path / "new" / "000-base.png"
    write_base_drawings(base, PROMPTS, 64, file)  # type: ignore[arg-type]  # as much of a model as is asked
    kept = read_base_drawings(file)
    assert kept is not None
    assert (tuple(kept.pictures), kept.size) == (PROMPTS, 64)
    same = drift(base, kept, [], Colours())  # type: ignore[arg-type]
    assert same is not None
    assert same.distance is not None
    assert (same.prompts, same.change.mean) == (2, 0)
    assert same.distance.mean == pytest.approx(0, abs=1e-6)
    assert base.asked[:2] == base.asked[2:]  # the same noises at the same size
    moved = drift(Painter("red", "red"), kept, ["zwz"], Colours())  # type: ignore[arg-type]
    assert moved is not None
    assert moved.distance is not None
    assert moved.distance.mean == pytest.approx(0.5)
    assert moved.change.mean == pytest.approx((0 + 2 / 3) / 2)
    assert moved.scorer == "colours"
    by_pixels = drift(Painter("red", "red"), kept, ["owl"], None)  # type: ignore[arg-type]
    assert by_pixels is not None
    assert (by_pixels.prompts, by_pixels.change.mean, by_pixels.distance) == (1, 0, None)
    assert drift(base, kept, ["owl", "cat"], None) is None  # type: ignore[arg-type]


def test_what_is_no_such_sheet_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    file = tmp_path / "000-base.png"

    def check(text: str | None) -> None:
        from PIL import PngImagePlugin

        info = PngImagePlugin.PngInfo()
        if text is not None:
            info.add_text("clora", text)
        Image.new("RGB", (144, 166)).save(file, pnginfo=info)
        assert read_base_drawings(file) is None

    check_each(
        [
            None,
            "",
            "[]",
            "[" * 9999,
            '{"prompts": []}',
            '{"prompts": ["a"]}',
            '{"prompts": ["a", "b"], "size": 9}',
        ],
        check,
    )
    file.write_bytes(b"no picture")
    assert read_base_drawings(file) is None
    assert read_base_drawings(tmp_path / "missing.png") is None
