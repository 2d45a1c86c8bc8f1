"""A UNet whose weights are kept in 8 bits while it is trained: what is rounded, and what is not."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_runs import stop_at, with_settings
from torch import Tensor

from clora_ext import Request, add_concept, estimate, make_plan
from clora_ext.adapters.sites import Target
from clora_ext.errors import Cancelled
from clora_ext.project import Project
from clora_ext.runs.context import project_context

UNET = "model.diffusion_model."


def rounded(tiny: Path, file: Path) -> Path:
    """The model with every weight of the UNet's layers as 8 bits can tell it."""
    with safe_open(tiny, framework="pt") as opened:
        metadata = opened.metadata()
    tensors = {
        name: tensor.to(torch.float8_e4m3fn).to(tensor.dtype)
        if name.startswith(UNET) and tensor.dim() > 1
        else tensor
        for name, tensor in load_file(tiny).items()
    }
    save_file(tensors, file, metadata)
    return file


def changes(project: Path) -> dict[Target, Tensor]:
    """What the layers have learned, to float32."""
    context = project_context(Project.open(project), None, ())
    evolving = context.evolving()
    return {one: evolving.layer(one, "").earlier for one in context.family.modules(context.header)}


@pytest.mark.long
@pytest.mark.parametrize("strategy", ["merge", "distill"])
def test_it_trains_as_on_the_rounded_model_and_folds_into_the_exact_one(
    request_: Request, tiny: Path, tmp_path: Path, strategy: str
) -> None:
    wished = with_settings(request_, strategy=strategy, learning_rate=0.02)
    narrow = with_settings(wished, fp8_base=True)
    other = replace(narrow, base=rounded(tiny, tmp_path / "rounded.safetensors"))
    of_rounded = replace(other, project=tmp_path / "on_rounded")
    plainly = with_settings(replace(other, project=tmp_path / "plainly"), fp8_base=False)
    plainly = with_settings(plainly, gradient_checkpointing=True)
    exact = replace(narrow, project=tmp_path / "on_exact")
    assert add_concept(of_rounded).content_hash == add_concept(plainly).content_hash
    add_concept(exact)
    wanted, found = changes(of_rounded.project), changes(exact.project)
    assert any(change.any() for change in wanted.values())
    for target, change in wanted.items():  # the residual rounds them onto other weights
        assert torch.allclose(found[target], change, rtol=1e-3, atol=1e-6), target.name


@pytest.mark.long
def test_it_is_stopped_and_goes_on_bit_for_bit(request_: Request) -> None:
    wished = with_settings(request_, fp8_base=True, preview_every=2)
    straight = add_concept(replace(wished, project=request_.project / "straight"))
    stopped = replace(wished, project=request_.project / "stopped")
    with pytest.raises(Cancelled):
        add_concept(stopped, stop_at(3))
    assert add_concept(stopped).content_hash == straight.content_hash
    exactly = replace(with_settings(wished, fp8_base=False), project=request_.project / "exactly")
    assert add_concept(exactly).content_hash != straight.content_hash


def test_it_makes_a_training_smaller(request_: Request) -> None:
    big = with_settings(request_, batch_size=16, gradient_checkpointing=True)
    usual, narrow = (
        estimate(make_plan(with_settings(big, fp8_base=narrow))).memory for narrow in (False, True)
    )
    assert usual is not None
    assert narrow is not None
    assert narrow < usual
