"""Concepts that clora draws: the same pictures as the examples', byte for byte."""

from pathlib import Path

import pytest
from PIL import Image

from clora_ext.data import Concept, scan
from clora_ext.errors import UsageError
from clora_ext.study.artwork import names
from clora_ext.study.drawn import STYLES, concept_shots, draw_concepts

EXAMPLES = Path(__file__).parents[2] / "examples"


def files(folder: Path) -> dict[str, str | bytes]:
    return {
        file.name: file.read_text() if file.suffix == ".txt" else Image.open(file).tobytes()
        for file in sorted(folder.iterdir())
    }


@pytest.mark.parametrize(
    ("subject", "folder"), [("dog", "dog_images"), ("pastel style", "pastel_style"), ("robot", "robot_toy")]
)
def test_examples_are_what_studies_draw(subject: str, folder: str, tmp_path: Path) -> None:
    drawn = draw_concepts({"it": subject}, tmp_path)["it"]
    assert files(drawn) == files(EXAMPLES / folder)
    assert files(drawn.parent / "held_out" / drawn.name) == files(EXAMPLES / "held_out" / folder)


def test_every_object_can_be_drawn_and_taught(tmp_path: Path) -> None:
    assert len(names("fluent")) == 100
    for name in (*names("fluent"), *STYLES):
        taught, judged = concept_shots(name)
        assert len(taught) >= 6
        assert len(judged) == 8
        backgrounds = [{shot.image.getpixel((0, 0)) for shot in shots} for shots in (taught, judged)]
        assert not backgrounds[0] & backgrounds[1]
    folder = draw_concepts({"it": "flying saucer"}, tmp_path)["it"]
    found = scan(folder, concept=Concept("sks", "saucer"), resolution=64)
    assert found.pictures[0].caption == "a photo of sks saucer on a red background"


def test_a_missing_picture_is_drawn_again(tmp_path: Path) -> None:
    folder = draw_concepts({"it": "dog"}, tmp_path)["it"]
    first, second = sorted(folder.glob("*.png"))[:2]
    before, kept = first.read_bytes(), second.stat().st_mtime_ns
    draw_concepts({"it": "dog"}, tmp_path)
    assert second.stat().st_mtime_ns == kept  # a whole folder is left alone
    first.unlink()
    draw_concepts({"it": "dog"}, tmp_path)
    assert first.read_bytes() == before


def test_what_clora_cannot_draw_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="draws no 'octopuss'") as raised:
        draw_concepts({"it": "octopuss"}, tmp_path)
    assert "did you mean 'octopus'?" in raised.value.fix
