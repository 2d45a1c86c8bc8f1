"""What is trained is what is folded, in float32 and in half precision."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from exact_state import exact_project
from small_runs import SETTINGS, another

from clora_ext import Request, add_concept, make_plan
from clora_ext.config.precision import Precision
from clora_ext.formats.checkpoint import Checkpoint


def test_the_adapter_in_the_unet_is_the_one_that_is_folded(request_: Request) -> None:
    """What was trained (W(t-1) + delta inside peft) is what the checkpoint holds."""
    from clora_ext.training.adapters import Adapters

    seen: dict[str, torch.Tensor] = {}
    real = Adapters.factors

    def factors(adapters: Adapters) -> Any:
        for name, trained in real(adapters):
            seen[name] = trained.delta()
            yield name, trained

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Adapters, "factors", factors)
        settings = SETTINGS.with_values(alpha=2.0, strategy="merge")
        add_concept(replace(request_, settings=settings))
    exact = exact_project(request_.project)
    base = Checkpoint(make_plan(another(request_, "cat_images")).context.base_file)
    for name, delta in seen.items():
        torch.testing.assert_close(exact[name], base.read_float(name) + delta)


@pytest.mark.parametrize("text_encoder", [False, True])
def test_a_model_in_bfloat16_is_taught_too(
    request_: Request, monkeypatch: pytest.MonkeyPatch, *, text_encoder: bool
) -> None:
    """The way it goes on a GPU, here on the processor: half precision model, float32 adapter and fold."""
    from accelerate.state import AcceleratorState

    half = Precision(torch.device("cpu"), torch.bfloat16, "bf16", "a test")
    monkeypatch.setattr("clora_ext.config.precision.pick_precision", lambda: half)
    AcceleratorState._reset_state(reset_partial_state=True)
    request = replace(request_, settings=SETTINGS.with_values(text_encoder=text_encoder))
    try:
        result = add_concept(request)
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    assert exact_project(request.project).keys() == {
        t.name for t in make_plan(another(request, "cat_images")).targets
    }
    assert 0 < result.first_loss < 2
