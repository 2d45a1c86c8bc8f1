"""A concept in the middle is taken back, or made weaker, by its own LoRA with a negative weight."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_runs import SETTINGS, another, with_source
from torch import Tensor

from clora_ext import Lora, Project, Request, add_concept
from clora_ext.runs.context import project_context

MERGE = SETTINGS.with_values(strategy="merge", learning_rate=1e-2)


def weights(project: Path | None, base: Path | None = None) -> Mapping[str, Tensor]:
    """Every taught layer's exact weight; without a project, those of the base."""
    context = project_context(None if project is None else Project.open(project), base)
    evolving = context.evolving()
    targets = context.family.targets(context.header, "attention", text_encoders=False)
    return {target.name: evolving.layer(target, "").current for target in targets}


def distance(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Norm of the difference of all weights."""
    return float(torch.stack([(one[name] - other[name]).norm() for name in one]).norm())


@pytest.fixture
def dog(request_: Request, tmp_path: Path) -> Path:
    """The dog's LoRA, of which a model was taught that nothing else is done with."""
    apart = replace(request_, project=tmp_path / "apart", settings=MERGE)
    add_concept(with_source(apart, export_lora=tmp_path / "dog.safetensors"))
    return tmp_path / "dog.safetensors"


def fold(project: Path, base: Path | None, file: Path, token: str, weight: float = 1.0) -> None:
    add_concept(Request(Lora(file, weight), project, base, token, settings=MERGE))


@pytest.mark.long
def test_finished_loras_come_out_again_as_if_they_had_never_been_there(
    request_: Request, dog: Path, tmp_path: Path
) -> None:
    cats = another(replace(request_, project=tmp_path / "cats", settings=MERGE), "cat_images")
    cat = tmp_path / "cat.safetensors"
    add_concept(replace(with_source(cats, export_lora=cat), base=request_.base))
    alone, both = tmp_path / "alone", tmp_path / "both"
    fold(alone, request_.base, cat, "cat")
    fold(both, request_.base, dog, "dog")
    fold(both, None, cat, "cat")
    learned = distance(weights(both), weights(alone))
    fold(both, None, dog, "less", -0.4)
    assert distance(weights(both), weights(alone)) == pytest.approx(0.6 * learned, rel=1e-4)
    fold(both, None, dog, "none", -0.6)
    assert distance(weights(both), weights(alone)) < 1e-4 * learned
    with Project.writing(both) as project:
        project.undo()
    assert distance(weights(both), weights(alone)) == pytest.approx(0.6 * learned, rel=1e-4)


@pytest.mark.long
def test_what_was_trained_over_a_concept_stays_when_it_is_taken_back(
    request_: Request, tmp_path: Path
) -> None:
    first = replace(request_, settings=MERGE)
    start = weights(None, request_.base)
    dog = tmp_path / "dog.safetensors"
    add_concept(with_source(first, export_lora=dog))
    with_dog = weights(first.project)
    add_concept(another(first, "cat_images"))
    with_cat = weights(first.project)
    fold(first.project, None, dog, "none", -1.0)
    after = weights(first.project)
    expected = {name: with_cat[name] - (with_dog[name] - start[name]) for name in with_cat}
    learned = distance(with_dog, start)
    assert 0 < distance(after, expected) < 1e-3 * learned  # the file holds the LoRA in half precision
