"""A step's own pictures, asked again by other words: which, by what, and what the model before says there."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

from clora_ext.families.model import SizeConditioning
from clora_ext.prompts import ReplayPrompts, vocabulary_of
from clora_ext.prompts.concept_prompts import ConceptPrompts
from clora_ext.strategies import load
from clora_ext.strategies.base import Replay
from clora_ext.strategies.objective import Example, NoisedBatch, ReplayBatch, TrainingAccess
from clora_ext.training.own_replay import OwnPictures
from clora_ext.training.own_words import OwnWords

CUT = SizeConditioning((64, 64), (0, 0), (64, 64))


class Network(nn.Module):
    """Adds to each pixel what the words' letters come to, and a change that learns."""

    def __init__(self) -> None:
        super().__init__()
        self.change = nn.Parameter(torch.tensor(0.0))
        self.is_on = True
        self.read: list[str] = []

    def condition(self, prompts: Sequence[str], sizes: Sequence[SizeConditioning]) -> dict[str, Tensor]:
        assert len(prompts) == len(sizes)
        self.read += prompts
        return {"states": torch.tensor([[[float(sum(map(ord, prompt)) % 97)]] for prompt in prompts])}

    def collate(self, conditions: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {"states": torch.cat([one["states"] for one in conditions])}

    def predict(self, latents: Tensor, times: Tensor, condition: dict[str, Tensor]) -> Tensor:
        change = self.change if self.is_on else 0
        return latents + condition["states"][..., None] + times[:, None, None, None] + change

    @contextmanager
    def before(self) -> Iterator[None]:
        self.is_on = False
        yield
        self.is_on = True


def batch_of(captions: Sequence[str]) -> tuple[NoisedBatch, list[Example]]:
    latents = torch.arange(len(captions), dtype=torch.float32)[:, None, None, None].expand(-1, 4, 2, 2)
    times = 10.0 * torch.arange(len(captions))
    shown = NoisedBatch(latents, latents, times, latents, {"states": torch.zeros(len(captions), 1, 1)})
    return shown, [Example(latents[0], latents[0], caption, CUT, None) for caption in captions]


def test_pictures_take_turns_and_the_model_before_answers() -> None:
    network = Network()
    with torch.no_grad():
        network.change += 5
    shown, batch = batch_of(["sks dog on red", "sks dog on blue", "sks dog"])
    replay = Replay(
        lambda share, rng: "", 1, own=2, reworded=lambda caption, rng: caption.replace("sks ", "")
    )
    own = OwnPictures(
        network, OwnWords(replay.own or 0, replay.reworded, 0), network.before, text_learns=False
    )  # type: ignore[arg-type]
    turns = [own(shown, batch, step) for step in range(3)]
    assert network.read == ["dog on red", "dog on blue", "dog", "dog on red", "dog on blue", "dog"]
    assert [one.times.tolist() for one in turns] == [[0, 10], [20, 0], [10, 20]]
    for one in turns:
        assert not one.answers.requires_grad
        now = network.predict(one.latents, one.times, dict(one.condition))
        torch.testing.assert_close(now - one.answers, torch.full_like(now, 5.0))


def test_the_distance_at_own_pictures_is_part_of_the_mean() -> None:
    """Of the trajectories' points and the own ones together; nothing where the adapter is nothing."""
    shown, batch = batch_of(["sks dog", "sks dog on blue"])

    class Plain:
        def show(self, *args: Any) -> NoisedBatch:
            return shown

        def error(self, model: Any, shown: NoisedBatch, predicted: Tensor) -> Tensor:
            return torch.zeros(())

    losses = []
    for change in (0.0, 2.0):
        network = Network()
        replay = Replay(lambda share, rng: "", 1, own=1)
        own = OwnPictures(
            network, OwnWords(replay.own or 0, replay.reworded, 0), network.before, text_learns=False
        )  # type: ignore[arg-type]
        points = torch.zeros(3, 4, 2, 2)
        words = {"states": torch.zeros(3, 1, 1)}
        asked = ReplayBatch(
            points, torch.zeros(3), words, network.predict(points, torch.zeros(3), words).detach()
        )
        with torch.no_grad():
            network.change += change
        strategy = load("distill", {"strength": 1.5, "own_pictures": 1})
        access = TrainingAccess(network, network.before, lambda step, asked=asked: asked, own)  # type: ignore[arg-type, misc]
        objective = strategy.objective(Plain(), access)  # type: ignore[arg-type]
        loss = objective.loss(network, batch, 0, 0, torch.device("cpu"))  # type: ignore[arg-type]
        losses.append(float(loss.detach()))
    assert losses == [0.0, 1.5 * 2.0**2]


def test_captions_are_asked_without_the_token_or_with_one_that_calls_nothing() -> None:
    words = {"zwz", "uwu", "dog", "a", "photo", "of"}
    dog = ConceptPrompts("sks", "dog", ())
    prompts = ReplayPrompts(dog, [ConceptPrompts("zwz", "cat", ())], vocabulary_of(words.__contains__), 0.3)
    found = {prompts.reworded("a photo of sks dog", Random(seed)) for seed in range(40)}
    assert found == {"a photo of dog", "a photo of uwu dog"}
    style = ReplayPrompts(ConceptPrompts("sks", "style", ()), [], vocabulary_of(words.__contains__), 0.3)
    assert style.reworded("a fox in sks style on red", Random(0)) == "a fox on red"


def test_of_few_pictures_one_is_asked_in_so_many_steps() -> None:
    network = Network()
    shown, batch = batch_of(["sks dog"])
    own = OwnPictures(
        network, OwnWords(0.25, lambda caption, rng: caption, 0), network.before, text_learns=False
    )  # type: ignore[arg-type]
    assert [own(shown, batch, step) is not None for step in range(8)] == [False, False, False, True] * 2


def test_captions_are_asked_by_the_token_of_one_of_its_kind_half_of_the_time() -> None:
    words = {"uwu", "dog", "a", "photo", "of"}
    dog = ConceptPrompts("sks", "small dog", ())
    earlier = [ConceptPrompts("zwz", "cat", ()), ConceptPrompts("sbu", "dog", ())]
    prompts = ReplayPrompts(dog, earlier, vocabulary_of(words.__contains__), 0.3)
    found = [prompts.reworded("a photo of sks dog", Random(seed)) for seed in range(200)]
    assert set(found) == {"a photo of dog", "a photo of uwu dog", "a photo of sbu dog"}
    assert 70 < found.count("a photo of sbu dog") < 130


def test_styles_are_of_one_kind_whatever_their_names() -> None:
    pastel, ink = ConceptPrompts("sks", "pastel style", ()), ConceptPrompts("zwz", "ink drawing", ())
    dog = ConceptPrompts("sbu", "dog", ())
    assert pastel.is_kin_of(ink)
    assert not pastel.is_kin_of(dog)
    assert not dog.is_kin_of(pastel)
    prompts = ReplayPrompts(ink, [pastel, dog], vocabulary_of({"sks"}.__contains__), 0.3)
    found = {prompts.reworded("a fox in zwz style, red", Random(seed)) for seed in range(40)}
    assert "a fox in sks style, red" in found
    assert all("zwz" not in one for one in found)
