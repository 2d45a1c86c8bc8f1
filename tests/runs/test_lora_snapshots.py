"""LoRA files from the middle of a training: names as in sd-scripts, what stays, contents, precision."""

from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import stop_at, with_settings, with_source

from clora_ext import Lora, Request, add_concept, make_plan
from clora_ext.errors import Cancelled, UsageError
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.runs.lora_output import LoraOutput


def kept(steps: int, epoch: int, output: LoraOutput) -> list[str]:
    """What lies there once a training is finished."""
    there: set[str] = set()
    files = output.on_the_way(steps, epoch)
    for step in range(1, steps + 1):
        there |= {file.name for file in files.get(step, ())}
        there -= {file.name for file in output.no_longer_kept(step, steps, epoch)}
    return sorted(there)


def test_names_and_what_stays_are_sd_scripts() -> None:
    """As its version 0.11.1 names and removes them."""
    x = LoraOutput(Path("x.safetensors"))
    assert kept(8, 2, replace(x, every_epochs=3)) == ["x-000003.safetensors"]
    assert kept(51, 99, replace(x, every_steps=50)) == ["x-step00000050.safetensors"]
    by_epoch = replace(x, every_epochs=3, last_epochs=2)
    assert kept(13, 1, by_epoch) == ["x-000009.safetensors", "x-000012.safetensors"]
    assert {step: [one.name for one in by_epoch.no_longer_kept(step, 99, 1)] for step in (3, 6, 9, 12)} == {
        3: [], 6: [], 9: ["x-000003.safetensors"], 12: ["x-000006.safetensors"],
    }  # fmt: skip
    by_step = replace(x, every_steps=10, last_steps=30)
    assert {
        step: [one.name for one in by_step.no_longer_kept(step, 99, 99)] for step in range(10, 70, 10)
    } == {
        10: [], 20: [], 30: [], 40: [],
        50: ["x-step00000010.safetensors"], 60: ["x-step00000020.safetensors"],
    }  # fmt: skip
    assert kept(20, 2, replace(x, epoch_ratio=3)) == [f"x-{number:06d}.safetensors" for number in (3, 6, 9)]


@pytest.mark.long
@pytest.mark.parametrize("strategy", ["merge", "distill"])
def test_files_from_the_middle_are_whole_loras_and_survive_a_stop(
    request_: Request, tmp_path: Path, strategy: str
) -> None:
    folder = tmp_path / "out"
    output = LoraOutput(
        folder / "x.safetensors",
        dtype="fp32",
        about={"author": "A", "title": "T"},
        comment="C",
        every_steps=2,
    )
    wished = with_source(with_settings(request_, strategy=strategy), export_lora=output)
    names = ["x-step00000002.safetensors", "x-step00000004.safetensors", "x.safetensors"]
    assert make_plan(wished).as_dict()["resume_step"] == 0
    with pytest.raises(Cancelled):
        add_concept(wished, stop_at(3))
    assert [file.name for file in sorted(folder.iterdir())] == names[:1]
    add_concept(wished)
    assert [file.name for file in sorted(folder.iterdir())] == names
    contents = set()
    for name in names:
        file = Checkpoint(folder / name)
        metadata = file.header.metadata
        assert (metadata["modelspec.author"], metadata["modelspec.title"]) == ("A", "T")
        assert metadata["ss_training_comment"] == "C"
        assert {info.dtype for one, info in file.header.tensors.items() if "lora_" in one} == {"F32"}
        contents.add((folder / name).read_bytes())
    assert len(contents) == 3
    half = Request(Lora(folder / names[0]), tmp_path / "half", base=request_.base, token="uwu")
    assert add_concept(half).number == 1


def test_a_file_of_somebody_else_stands_in_the_way_before_the_run(request_: Request, tmp_path: Path) -> None:
    mine = tmp_path / "x-step00000004.safetensors"
    mine.write_bytes(b"mine")
    output = LoraOutput(tmp_path / "x.safetensors", every_steps=2)
    with pytest.raises(UsageError, match=r"x-step00000004.safetensors exists"):
        add_concept(with_source(request_, export_lora=output))
    assert mine.read_bytes() == b"mine"
    with pytest.raises(UsageError, match="unknown dtype 'fp17'"):
        LoraOutput(tmp_path / "x.safetensors", dtype="fp17")  # type: ignore[arg-type]


def test_previews_come_by_epochs(request_: Request) -> None:
    plan = make_plan(with_settings(request_, preview_every_epochs=2))
    # Three pictures of three sizes are three batches of two.
    assert plan.settings.sampling.preview_every == 6
