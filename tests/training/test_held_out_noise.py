"""Held-out noise: the same draws however they are grouped, and none of them a training's."""

from pathlib import Path

import torch
from tiny_model import write_tiny_model

from clora_ext.config.precision import Precision
from clora_ext.families import detect
from clora_ext.families.model import SizeConditioning
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.strategies.objective import Example
from clora_ext.training import held_out
from clora_ext.training.objective import DenoisingObjective, step_rng

PROCESSOR = Precision(torch.device("cpu"), torch.float32, "a test")


def example(number: int, width: int) -> Example:
    rng = torch.Generator().manual_seed(number)
    cut = SizeConditioning((32, 32), (0, 0), (32, 32))
    return Example(
        torch.randn(4, 16, width, generator=rng), torch.full((4, 16, width), 0.1), f"dog {number}", cut, None
    )


def test_the_draws_are_the_same_however_they_are_grouped(tmp_path: Path) -> None:
    checkpoint = Checkpoint(write_tiny_model(tmp_path / "tiny.safetensors"))
    model = detect(checkpoint.header, checkpoint.path).load(checkpoint, PROCESSOR)
    shown = [example(number, 16 if number % 3 else 24) for number in range(7)]
    before = torch.get_rng_state()
    one = held_out.held_out_losses(model, shown, 1, PROCESSOR)
    several = held_out.held_out_losses(model, shown, 4, PROCESSOR)
    assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(one, several)
    assert len(set(one)) == 7
    # Each is what a training would have as its loss on that draw.
    (third,) = held_out.held_out_losses(model, [shown[0]], 4, PROCESSOR)
    assert third == one[0]
    trained = DenoisingObjective().loss(model, [shown[0]], 0, 0, PROCESSOR.device)
    assert abs(float(trained) - one[0]) > 1e-6


def test_no_draw_is_one_that_a_training_has_seen(all_draws: int) -> None:
    assert all_draws == held_out.DRAWS > 30
    seen = {
        float(torch.randn((), generator=step_rng(seed, step))) for seed in range(20) for step in range(200)
    }
    drawn = {float(torch.randn((), generator=held_out._rng(number))) for number in range(all_draws)}
    assert len(drawn) == all_draws
    assert not drawn & seen
