"""Runs whose model has to answer some pictures as before: those of a folder, or its own without the token."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import folder_of, pictures, stop_at, with_settings, with_source
from torch import Tensor, nn

from clora_ext import Project, Request, add_concept, families
from clora_ext.config.precision import pick_precision
from clora_ext.data import Subset
from clora_ext.errors import Cancelled
from clora_ext.families.model import Model, SizeConditioning
from clora_ext.formats.composed import open_model
from clora_ext.strategies.objective import Example
from clora_ext.training.objective import DenoisingObjective

CPU = torch.device("cpu")
CUT = SizeConditioning((64, 64), (0, 0), (64, 64))


class Network(nn.Module):
    """Answers every point with a number that learns; asked for the one before, with nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.change = nn.Parameter(torch.tensor(2.0))
        self.is_on = True
        self.process = self

    def sample_times(
        self, shape: Sequence[int], rng: torch.Generator, *, least: int, most: int | None
    ) -> Tensor:
        assert (least, most) == (0, None)
        return torch.zeros(shape[0])

    def noised(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        return noise

    def target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        return noise

    def weight(self, times: Tensor) -> None:
        return None

    def collate(self, conditions: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {"states": torch.cat([one["states"] for one in conditions])}

    def predict(self, latents: Tensor, times: Tensor, condition: dict[str, Tensor]) -> Tensor:
        change = self.change if self.is_on else torch.tensor(0.0)
        return 0 * latents + condition["states"][:, None, None, None] + change

    @contextmanager
    def before(self) -> Iterator[None]:
        self.is_on = False
        yield
        self.is_on = True


def example(states: float, *, preserved: bool) -> Example:
    latents = torch.zeros(4, 2, 2)
    return Example(latents, latents, "", CUT, {"states": torch.tensor([states])}, preserved=preserved)


def test_preserved_pictures_are_answered_as_before_and_others_by_their_noise() -> None:
    network: Any = Network()
    objective = DenoisingObjective(network.before)
    batch = [example(5, preserved=False), example(7, preserved=True), example(9, preserved=True)]
    shown = objective.show(network, batch, 0, 0, CPU)
    assert shown.preserved == (1, 2)
    assert shown.answers is not None
    assert not shown.answers.requires_grad
    assert shown.answers.mean(dim=(1, 2, 3)).tolist() == [7, 9]
    predicted = network.predict(shown.noised, shown.times, shown.condition)
    expected = (((predicted[:1] - shown.noise[:1]) ** 2).mean() + 2.0**2 + 2.0**2) / 3
    torch.testing.assert_close(objective.error(network, shown, predicted), expected)


def test_where_all_is_preserved_an_adapter_that_does_nothing_has_no_error() -> None:
    network: Any = Network()
    with torch.no_grad():
        network.change.zero_()
    batch = [example(7, preserved=True)]
    assert float(DenoisingObjective(network.before).loss(network, batch, 0, 0, CPU).detach()) == 0


def answers(file: Path, prompt: str) -> Tensor:
    """What a model says at fixed points by a prompt."""
    checkpoint = open_model(file)
    model: Model = families.detect(checkpoint.header, checkpoint.path).load(checkpoint, pick_precision())
    points = torch.randn(8, *model.latent_shape(64), generator=torch.Generator().manual_seed(1))
    times = torch.linspace(50, 950, 8).long()
    with torch.no_grad():
        return model.predict(points, times, model.condition([prompt] * 8, [CUT] * 8))


def moved(request: Request) -> float:
    """How far the answers by the class word go from the base's."""
    result = add_concept(request)
    assert request.base is not None
    now, before = (answers(file, "a photo of dog") for file in (result.checkpoint, request.base))
    return float((now - before).norm())


@pytest.mark.long
def test_the_class_stays_nearer_to_what_it_was(request_: Request) -> None:
    asked = with_settings(request_, strategy="merge", steps=30, learning_rate=5e-3, batch_size=3)
    freely = moved(replace(asked, project=request_.project / "free"))
    held = moved(with_settings(replace(asked, project=request_.project / "held"), preserve_class=20.0))
    assert held < 0.8 * freely


@pytest.mark.long
def test_a_run_that_preserves_its_class_is_resumed_bit_for_bit(request_: Request) -> None:
    asked = with_settings(request_, preserve_class=1.0)
    straight = add_concept(replace(asked, project=request_.project / "straight"))
    free = add_concept(replace(request_, project=request_.project / "free"))
    stopped = replace(asked, project=request_.project / "stopped")
    with pytest.raises(Cancelled):
        add_concept(stopped, stop_at(3))
    assert add_concept(stopped).content_hash == straight.content_hash != free.content_hash


@pytest.mark.long
def test_pictures_of_a_folder_keep_rather_than_teach(request_: Request, tmp_path: Path) -> None:
    others = pictures(tmp_path / "others", seed=5)

    def taught(name: str, *, preservation: bool) -> Path:
        parts = (Subset(folder_of(request_)), Subset(others, preservation=preservation))
        asked = with_source(replace(request_, project=tmp_path / name), subsets=parts)
        result = add_concept(with_settings(asked, steps=30, learning_rate=5e-3))
        assert len(Project.open(tmp_path / name).concepts[0].images) == 6
        return result.checkpoint

    kept, learned = (answers(taught(str(flag), preservation=flag), "sks dog") for flag in (True, False))
    assert request_.base is not None
    before = answers(request_.base, "sks dog")
    assert (kept - before).norm() < (learned - before).norm()
