"""Trainings whose adapter begins as a LoRA: what is folded is all of it; whose rank, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_runs import another, pictures, stop_at, with_settings, with_source

from clora_ext import Project, Request, add_concept, make_plan
from clora_ext.errors import Cancelled, CloraError, UsageError
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.kohya.run_file import run_file_text


@pytest.fixture
def lora(request_: Request, tmp_path: Path) -> Path:
    """Of the attention layers, rank 4, alpha 2, that has learned something."""
    file = tmp_path / "first.safetensors"
    asked = with_source(replace(request_, project=tmp_path / "first"), export_lora=file)
    add_concept(with_settings(asked, strategy="merge", alpha=2.0, learning_rate=0.02, steps=12))
    return file


def beginning(request: Request, lora: Path, project: Path) -> Request:
    """Other pictures, over the base, as that LoRA; the rank is none of its own."""
    images = pictures(project.parent / f"{project.name}_images", seed=9)
    asked = with_source(replace(request, project=project), folder=images, start_from=lora)
    return with_settings(asked, strategy="merge", rank=2)


@pytest.mark.long
def test_what_the_lora_has_learned_is_folded_too(request_: Request, lora: Path, tmp_path: Path) -> None:
    asked = beginning(request_, lora, tmp_path / "second")
    still = add_concept(with_settings(asked, learning_rate=1e-12, steps=1))
    base, first, second = (
        Checkpoint(file)
        for file in (request_.base, Project.open(tmp_path / "first").checkpoint_path, still.checkpoint)
        if file is not None
    )
    changed = 0
    for name in base.names:
        before, wanted, found = (one.read_float(name) for one in (base, first, second))
        if not torch.equal(before, wanted):
            changed += 1
            error = (found - wanted).norm() / (wanted - before).norm()
            assert error < 2e-2, name  # the file holds half precision
    assert changed > 8
    record = Project.open(tmp_path / "second").concepts[0]
    assert (record.setting("rank"), record.setting("alpha")) == (4, 2.0)
    assert record.setting("start_from") == "first.safetensors"
    assert "--start-from 'first.safetensors'" in run_file_text(record)


@pytest.mark.long
def test_a_stopped_run_goes_on_bit_for_bit_and_another_lora_is_another_run(
    request_: Request, lora: Path, tmp_path: Path
) -> None:
    asked = beginning(request_, lora, tmp_path / "second")
    straight = add_concept(replace(asked, project=tmp_path / "straight"))
    with pytest.raises(Cancelled):
        add_concept(asked, stop_at(3))
    assert make_plan(asked).resume_step == 3
    tensors = load_file(lora)
    name = next(name for name in tensors if name.endswith("lora_up.weight"))
    tensors[name] += 1
    save_file(tensors, tmp_path / "other.safetensors")
    assert make_plan(with_source(asked, start_from=tmp_path / "other.safetensors")).resume_step == 0
    assert add_concept(asked).content_hash == straight.content_hash
    assert add_concept(asked).content_hash == straight.content_hash  # it is learned already
    with pytest.raises(UsageError, match=r"taught with another .*start_from"):
        make_plan(with_source(asked, start_from=None))


@pytest.mark.long
def test_what_a_training_cannot_begin_as_is_refused(request_: Request, lora: Path, tmp_path: Path) -> None:
    wide = tmp_path / "wide.safetensors"
    asked = with_source(replace(request_, project=tmp_path / "wide"), export_lora=wide)
    add_concept(with_settings(asked, strategy="merge", targets="transformer", steps=1))
    tensors = load_file(lora)
    stem = next(name for name in tensors if name.endswith("lora_up.weight")).removesuffix("lora_up.weight")
    cut = {name: one for name, one in tensors.items() if not name.startswith(stem)}
    up, down = tensors[f"{stem}lora_up.weight"], tensors[f"{stem}lora_down.weight"]
    mixed = cut | {f"{stem}lora_up.weight": up[:, :2].clone(), f"{stem}lora_down.weight": down[:2].clone()}
    save_file(mixed, tmp_path / "mixed.safetensors")
    whole = cut | {f"{stem}diff": up @ down}
    save_file(whole, tmp_path / "whole.safetensors")
    make_plan(beginning(request_, tmp_path / "mixed.safetensors", tmp_path / "of_mixed"))  # two ranks
    refused = {
        wide: "does not teach",
        tmp_path / "whole.safetensors": "begins as a plain LoRA alone",
        tmp_path / "none.safetensors": "none.safetensors",
    }
    for file, words in refused.items():
        with pytest.raises(CloraError) as caught:
            make_plan(beginning(request_, file, tmp_path / f"of_{file.stem}"))
        assert words in caught.value.message
        assert caught.value.fix


@pytest.mark.long
def test_an_adapter_that_goes_on_cannot_begin_anew(request_: Request, lora: Path) -> None:
    naive = with_settings(request_, strategy="naive")
    add_concept(naive)
    with pytest.raises(UsageError, match="goes on with its own adapter"):
        add_concept(with_source(another(naive, "cat_images"), start_from=lora))
