"""Points on sampling trajectories: those that sampling itself visits, and the same whenever one asks."""

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest
import torch
from tiny_model import write_tiny_model

from clora_ext.config.precision import pick_precision
from clora_ext.families import detect
from clora_ext.families.model import EncodedPrompt, Model, SizeConditioning
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.strategies.base import Replay
from clora_ext.training.replay import TrajectoryReplay, points_per_step, replay_cost, replay_prompts

SQUARE = SizeConditioning((32, 32), (0, 0), (32, 32))
REPLAY = Replay(lambda share, rng: rng.choice(["a dog", "a cat", "a red fox"]), trajectories=3, steps=5)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    checkpoint = Checkpoint(write_tiny_model(tmp_path_factory.mktemp("base") / "tiny.safetensors"))
    return detect(checkpoint.header, checkpoint.path).load(checkpoint, pick_precision())


@contextmanager
def nothing_inside() -> Iterator[None]:
    yield


def replayed(model: Model, replay: Replay = REPLAY, seed: int = 7) -> TrajectoryReplay:
    prompts = replay_prompts(replay, seed, steps=40)
    with torch.no_grad():
        encoded = {prompt: model.condition([prompt], [SQUARE]) for prompt in prompts}
    return TrajectoryReplay(
        model=model,
        replay=replay,
        encoded=encoded,
        condition=lambda asked: model.collate([encoded[prompt] for prompt in asked]),
        shape=model.latent_shape(32),
        seed=seed,
        without_adapter=nothing_inside,
        device=torch.device("cpu"),
    )


@pytest.mark.long
def test_any_step_can_be_the_first(model: Model) -> None:
    """What a resumed training is asked has the bits of what one that was not stopped is asked."""
    straight = replayed(model)
    batches = [straight(step) for step in range(14)]
    for first in (1, 4, 5, 9, 13):
        batch, expected = replayed(model)(first), batches[first]
        assert torch.equal(batch.latents, expected.latents), first
        assert torch.equal(batch.answers, expected.answers), first
        assert torch.equal(batch.times, expected.times), first
        assert torch.equal(batch.condition["states"], expected.condition["states"]), first


def test_the_points_lie_where_sampling_passes(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trajectory ends in the latents that diffusers' own pipeline gives for its noise, at its times."""
    monkeypatch.setattr(TrajectoryReplay, "_phase", lambda *_: 0.0)
    replay = Replay(lambda share, rng: "a dog", trajectories=1, steps=5, guidance=3.0)
    points = replayed(model, replay)
    batches = [points(step) for step in range(5)]
    last = model.process.advance(batches[4].latents[0], _guided(points, batches[4], 3.0), 4, 5)
    with torch.no_grad():
        wanted, unwanted = (model.condition([text], [SQUARE]) for text in ("a dog", ""))
    expected = _pipeline_latents(model, EncodedPrompt(wanted, unwanted, 32), batches[0].latents[:1], 3.0)
    torch.testing.assert_close(last[None], expected, rtol=1e-4, atol=1e-4)


def _guided(points: TrajectoryReplay, batch: object, guidance: float) -> torch.Tensor:
    """The last point's guided answer, asked once more."""
    latents, times = batch.latents[:1], batch.times[:1]  # type: ignore[attr-defined]
    with torch.no_grad():
        with_prompt = points.model.predict(latents, times, points.condition(["a dog"]))
        without = points.model.predict(latents, times, points.condition([""]))
    return (without + guidance * (with_prompt - without))[0]


def _pipeline_latents(
    model: Model, prompt: EncodedPrompt, noise: torch.Tensor, guidance: float
) -> torch.Tensor:
    """diffusers' pipeline from given noise to latents."""
    latents: torch.Tensor = model._pipeline()(  # type: ignore[attr-defined]
        prompt_embeds=prompt.wanted["states"],
        negative_prompt_embeds=prompt.unwanted["states"],
        latents=noise,
        num_inference_steps=5,
        guidance_scale=guidance,
        height=32,
        width=32,
        output_type="latent",
    ).images
    return latents


def test_trajectories_are_staggered_and_follow_one_another(model: Model) -> None:
    points = replayed(model)
    times = torch.stack([points(step).times[:3] for step in range(10)])
    bounds = model.process.sampling_times(5, model.latent_shape(32)).tolist()
    for trajectory in (times[:5, 0], times[5:, 0]):
        assert all(low <= time < low + 200 for low, time in zip(bounds, trajectory.tolist(), strict=True))
    assert not torch.equal(times[:5, 0], times[5:, 0])
    assert len(set(times[0].tolist())) == 3
    first, sixth = replayed(model)(0), replayed(model)(5)
    assert not torch.equal(first.latents[0], sixth.latents[0])


def test_one_point_in_four_is_asked_without_its_prompt_too(model: Model) -> None:
    points = replayed(model, Replay(REPLAY.draw, trajectories=4, steps=5))
    for step in range(8):
        batch = points(step)
        assert len(batch.latents) == len(batch.times) == len(batch.answers) == 5
        place = (4 - step) % 4
        assert torch.equal(batch.latents[4], batch.latents[place])
        assert not torch.equal(batch.answers[4], batch.answers[place])
        assert torch.equal(batch.condition["states"][4:], points.condition([""])["states"])
        assert not batch.answers.requires_grad


def test_every_prompt_is_known_before_the_training() -> None:
    replay = Replay(lambda share, rng: f"{rng.random()}", trajectories=3, steps=5)
    for steps in (1, 4, 5, 6, 11):
        known = replay_prompts(replay, 7, steps)
        assert known[0] == ""
        asked = {
            replay.draw(0.5, Random(f"prompt 7/{place}/{(step + place * 5 // 3) // 5}"))
            for step in range(steps)
            for place in range(3)
        }
        assert asked <= set(known), steps


def test_trajectories_are_of_kinds_that_lie_evenly() -> None:
    """Whatever the seed, so many trajectories as there are kinds, and a few more, have all of them."""
    kinds = tuple("abcdefghi")
    replay = Replay(lambda share, rng: kinds[int(share * len(kinds))], trajectories=3, steps=5)
    for seed in range(20):
        assert set(replay_prompts(replay, seed, steps=20)) == {"", *kinds}, seed  # 15 trajectories


def test_as_many_points_as_suit_the_batch() -> None:
    asked = Replay(REPLAY.draw)
    assert [asked.beside(size).trajectories for size in (1, 2, 3, 8)] == [1, 1, 1, 3]
    assert REPLAY.beside(8).trajectories == 3  # as somebody has said
    assert points_per_step(asked.beside(1)) == 2
    # Of eight pictures: three points are learned from, one in four of them again; and twice three answers.
    assert replay_cost(asked.beside(8), 8) == pytest.approx((3 * 3.75 + 6) / (3 * 8))
    assert replay_cost(asked.beside(1), 1) == pytest.approx((3 * 1.25 + 2) / 3)
    with pytest.raises(ValueError, match="nobody has said"):
        points_per_step(asked)
