"""The demo world's scorer, and what it says of drawings."""

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from clora_ext.project.outcome import Question
from clora_ext.sampling.likeness import ceiling, likeness, questions
from clora_ext.scoring import Scorer
from clora_ext.scoring.demo import DEMO_SCORER, load_demo_scorer

EXAMPLES = Path(__file__).parents[2] / "examples"


def opened(file: Path) -> Image.Image:
    with Image.open(file) as image:
        return image.convert("RGB")


def test_it_looks_as_the_network_that_was_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES / "demo_model"))
    import scorer as recipe  # type: ignore[import-not-found]

    monkeypatch.delitem(sys.modules, "scorer")
    pictures = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    theirs = recipe.load_scorer(DEMO_SCORER).images(pictures).detach()
    torch.testing.assert_close(load_demo_scorer().encode(pictures), theirs)


def test_pictures_of_any_size_and_number_become_unit_vectors() -> None:
    scorer: Scorer = load_demo_scorer()
    dogs = [opened(file) for file in sorted((EXAMPLES / "dog_images").glob("*.png"))]
    many = [dogs[number % 2] for number in range(70)]
    vectors = scorer.images([*many, dogs[0].resize((200, 150))])
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(71))
    torch.testing.assert_close(vectors[69], scorer.images([dogs[1]])[0])
    assert len(scorer.digest) == 64


class Drawer:
    """Draws what it is told, whatever it is asked for; the scorer is what is tested here."""

    def __init__(self, file: Path) -> None:
        self.file, self.seeds = file, list[int]()

    def sample(self, prompt: str, *, seeds: range, **_: object) -> list[Image.Image]:
        self.seeds += seeds
        return [opened(self.file) for _ in seeds]


def test_drawings_of_the_concept_score_higher_than_of_something_else() -> None:
    scorer = load_demo_scorer()
    dogs = sorted((EXAMPLES / "dog_images").glob("*.png"))
    asked = questions(scorer, {f"dog {number}": [opened(file)] for number, file in enumerate(dogs[:2])})
    same, other = Drawer(dogs[0]), Drawer(min((EXAMPLES / "robot_toy").glob("*.png")))
    found = likeness(scorer, same, asked[:1])  # type: ignore[arg-type]  # as much of a model as is asked
    assert found.mean == pytest.approx(ceiling(asked[:1]), abs=1e-3)
    assert likeness(scorer, other, asked[:1]).mean < 0.8  # type: ignore[arg-type]
    assert same.seeds == other.seeds
    both = Drawer(dogs[0])
    likeness(scorer, both, asked)  # type: ignore[arg-type]
    assert len(both.seeds) == len(set(both.seeds)) == 12


def test_of_many_prompts_six_are_asked() -> None:
    flat = Image.new("RGB", (64, 64), "gray")
    asked = questions(load_demo_scorer(), {f"{number}": [flat, flat] for number in range(64)})
    assert [one.prompt for one in asked] == ["0", "10", "21", "32", "42", "53"]
    assert ceiling([Question("a", (1.0,)), Question("b", (0.0,))]) == 0.5
