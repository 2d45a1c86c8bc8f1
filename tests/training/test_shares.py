"""What each of several processes takes of a step: together all of it, as one process draws it."""

from dataclasses import replace

import pytest
import torch
from test_own_replay import Network, batch_of
from test_replay import REPLAY, model, replayed  # noqa: F401 - `model` is a fixture
from torch import Tensor, nn

from clora_ext.config.network_settings import NetworkSettings
from clora_ext.config.processes import Place
from clora_ext.families.model import Model, SizeConditioning
from clora_ext.strategies.objective import Example
from clora_ext.training.dropout import Dropout
from clora_ext.training.objective import DenoisingObjective, noised_batch, step_rng
from clora_ext.training.own_replay import OwnPictures
from clora_ext.training.own_words import OwnWords

CPU = torch.device("cpu")
PLACES = {size: [Place(rank, size) for rank in range(size)] for size in (2, 3, 4)}


@pytest.mark.long
def test_points_of_trajectories_are_shared_out(model: Model) -> None:  # noqa: F811
    """Of three trajectories in four processes one has none."""
    for step in (0, 6):
        whole = replayed(model)(step)
        distance = (whole.latents - whole.answers).square().flatten(1).mean(dim=1).mean()
        for places in (PLACES[2], PLACES[4]):
            parts = [replace(replayed(model), place=place)(step) for place in places]
            trajectories = [len(place.part(3)) for place in places]
            prompted = [part.latents[:count] for part, count in zip(parts, trajectories, strict=True)]
            torch.testing.assert_close(torch.cat(prompted), whole.latents[:3], rtol=1e-4, atol=1e-4)
            assert sum(len(part.times) for part in parts) == len(whole.times)
            sums = [(part.latents - part.answers).square().flatten(1).mean(dim=1).sum() for part in parts]
            mean = sum(float(one) / part.weight for one, part in zip(sums, parts, strict=True)) / len(places)
            assert mean == pytest.approx(float(distance), rel=1e-4)
    assert REPLAY.trajectories == 3


def test_own_pictures_are_asked_where_they_are_shown() -> None:
    captions = ["sks dog on red", "sks dog on blue", "sks dog", "sks dog on green"]
    shown, batch = batch_of(captions)

    def asked(place: Place, step: int) -> tuple[list[str], list[float], float | None]:
        network, part = Network(), place.part(len(batch))
        cut = slice(part.start, part.stop)
        mine = replace(shown, latents=shown.latents[cut], noised=shown.noised[cut], times=shown.times[cut])
        draw = lambda caption, rng: f"{caption} {rng.random()}"  # noqa: E731
        own = OwnPictures(network, OwnWords(3, draw, 0), network.before, text_learns=False, place=place)  # type: ignore[arg-type]
        found = own(mine, batch, step)
        assert found is not None
        return network.read, found.times.tolist(), found.share

    for step in range(4):
        words, times, _ = asked(Place(), step)
        for places in PLACES.values():
            parts = [asked(place, step) for place in places]
            assert sorted(word for read, _, _ in parts for word in read) == sorted(words)
            assert sorted(time for _, found, _ in parts for time in found) == sorted(times)
            assert all(share == pytest.approx(3 / len(places)) for _, _, share in parts)


def test_noise_and_times_are_those_of_the_whole_batch(model: Model) -> None:  # noqa: F811
    cut = SizeConditioning((32, 32), (0, 0), (32, 32))
    shape = model.latent_shape(32)
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        batch = [
            Example(torch.randn(shape, generator=rng), torch.ones(shape), "a dog", cut, None)
            for _ in range(4)
        ]
        whole = noised_batch(model, batch, step_rng(0, 3), CPU)
        loss = DenoisingObjective().loss(model, batch, 0, 3, CPU)
        for places in (PLACES[2], PLACES[4]):
            parts = [noised_batch(model, batch, step_rng(0, 3), CPU, place=place) for place in places]
            for name in ("latents", "noise", "times", "noised"):
                together = torch.cat([getattr(part, name) for part in parts])
                torch.testing.assert_close(together, getattr(whole, name), rtol=0, atol=0)
            losses = [DenoisingObjective(place=place).loss(model, batch, 0, 3, CPU) for place in places]
            torch.testing.assert_close(torch.stack(losses).mean(), loss)


def test_what_is_left_out_is_that_of_the_whole_batch() -> None:
    settings = NetworkSettings(network_dropout=0.3, rank_dropout=0.3, module_dropout=0.3)

    def left(place: Place, rows: int, batch: int) -> Tensor:
        down, dropout = nn.Identity(), Dropout(settings, 5, place)
        dropout.attach("layer", down)
        with dropout.at(batch):
            found: Tensor = down(torch.ones(rows, 6, 8))
        return found

    kept = list[float]()
    for batch in range(12):
        whole = left(Place(), 12, batch)
        kept.append(float((whole != 0).float().mean()))
        for size, places in PLACES.items():
            assert torch.equal(torch.cat([left(place, 12 // size, batch) for place in places]), whole)
    assert min(kept) == 0  # a whole layer
    assert 0 < max(kept) < 1


@pytest.mark.long
def test_who_has_no_points_asks_as_often_as_the_others_at_one_that_counts_nothing(
    model: Model,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where no process can make a pass without the others; of three trajectories in four one has none."""
    passes = list[int]()
    predict = type(model).predict

    def counted(*given: object) -> Tensor:
        passes.append(1)
        return predict(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(type(model), "predict", counted)
    asked = [replace(replayed(model), place=replace(place, in_step=True)) for place in PLACES[4]]
    for step in (7, 8, 3):
        found, made = [], []
        for one in asked:
            passes.clear()
            found.append(one(step))
            made.append(len(passes))
        assert len(set(made)) == 1
        assert [one.counted > 0 for one in found] == [len(place.part(3)) > 0 for place in PLACES[4]]
        filler = next(one for one in found if one.is_filler)
        assert len(filler.times) == len(filler.latents) == len(filler.answers) == 1
        whole = replayed(model)(step)
        assert sum(one.counted for one in found) == len(whole.times)


def test_who_is_shown_nothing_that_is_asked_again_asks_too() -> None:
    captions = ["sks dog on red", "sks dog on blue", "sks dog", "sks dog on green"]
    shown, batch = batch_of(captions)
    for place in PLACES[4]:
        network, number = Network(), place.rank
        mine = replace(shown, noised=shown.noised[number:][:1], times=shown.times[number:][:1])
        mine = replace(mine, condition={"states": torch.ones(1, 1, 1)})
        words = OwnWords(1, lambda caption, rng: caption, 0)
        own = OwnPictures(
            network, words, network.before, text_learns=False, place=replace(place, in_step=True)
        )  # type: ignore[arg-type]
        found = [own(mine, batch, step) for step in range(4)]
        assert [len(one.times) for one in found if one is not None] == [1] * 4
        assert [one.counted for one in found if one is not None] == [int(step == number) for step in range(4)]
        assert all(one is not None and one.answers.shape == one.latents.shape for one in found)
