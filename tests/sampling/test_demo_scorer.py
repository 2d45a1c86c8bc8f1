"""The demo world's scorer, and what it says of drawings."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clora_ext.project.outcome import Question
from clora_ext.sampling.demo_scorer import DEMO_SCORER, load_scorer
from clora_ext.sampling.likeness import ceiling, likeness, questions

EXAMPLES = Path(__file__).parents[2] / "examples"


def pixels(file: Path) -> torch.Tensor:
    with Image.open(file) as image:
        values = torch.from_numpy(np.asarray(image.convert("RGB"), dtype=np.float32))
    return values.permute(2, 0, 1) / 127.5 - 1


def test_it_looks_as_the_network_that_was_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES / "demo_model"))
    import scorer as recipe  # type: ignore[import-not-found]

    monkeypatch.delitem(sys.modules, "scorer")
    pictures = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    theirs = recipe.load_scorer(DEMO_SCORER).images(pictures).detach()
    torch.testing.assert_close(load_scorer().images(pictures), theirs)


class Drawer:
    """Draws what it is told, whatever it is asked for; the scorer is what is tested here."""

    def __init__(self, file: Path) -> None:
        self.file, self.seeds = file, list[int]()

    def sample(self, prompt: str, *, seeds: range, **_: object) -> list[Image.Image]:
        self.seeds += seeds
        return [Image.open(self.file) for _ in seeds]


def test_drawings_of_the_concept_score_higher_than_of_something_else() -> None:
    scorer = load_scorer()
    dogs = sorted((EXAMPLES / "dog_images").glob("*.png"))
    asked = questions(scorer, {f"dog {number}": [pixels(file)] for number, file in enumerate(dogs[:2])})
    same, other = Drawer(dogs[0]), Drawer(min((EXAMPLES / "robot_toy").glob("*.png")))
    found = likeness(scorer, same, asked[:1])  # type: ignore[arg-type]  # as much of a model as is asked
    assert found.mean == pytest.approx(ceiling(asked[:1]), abs=1e-3)
    assert likeness(scorer, other, asked[:1]).mean < 0.8  # type: ignore[arg-type]
    assert same.seeds == other.seeds
    both = Drawer(dogs[0])
    likeness(scorer, both, asked)  # type: ignore[arg-type]
    assert len(both.seeds) == len(set(both.seeds)) == 12


def test_of_many_prompts_six_are_asked() -> None:
    flat = torch.zeros(3, 64, 64)
    asked = questions(load_scorer(), {f"{number}": [flat, flat] for number in range(64)})
    assert [one.prompt for one in asked] == ["0", "10", "21", "32", "42", "53"]
    assert ceiling([Question("a", (1.0,)), Question("b", (0.0,))]) == 0.5
