"""Z-Image through the command: what is found, shown, learned, drawn and exported."""

from pathlib import Path

import pytest
from calling import call
from tiny_flow import FlowFiles, write_tiny_flow
from whole_runs import FAST, pictures

from clora_ext import Project


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> FlowFiles:
    return write_tiny_flow(tmp_path_factory.mktemp("flow") / "models")


def test_a_model_in_parts_is_taught_shown_and_exported(files: FlowFiles, tmp_path: Path) -> None:
    folder, dogs = tmp_path / "project", pictures(tmp_path / "dog_images")
    ask = ("add-concept", "--project", folder, "--base", files.transformer, "--class-name", "dog")
    small = (*FAST, "--resolution", 16, "--strategy", "merge", dogs)
    plan = call(*ask, "--dry-run", *small)
    assert plan.code == 0, plan.err
    assert str(files.text_encoder) in plan.out
    assert str(files.vae) in plan.out
    assert "flow (Z-Image's kind)" in plan.out
    assert not folder.exists()
    assert call(*ask, *small).code == 0
    status = call("status", "--project", folder)
    assert all(str(file) in status.out for file in (files.transformer, files.text_encoder, files.vae))
    (line,) = call("status", "--project", folder, "--json").json
    assert line["result"]["base"]["companions"] == {
        "text_encoder": str(files.text_encoder),
        "vae": str(files.vae),
    }
    assert "checkpoint, family z_image" in call("inspect", files.transformer).out
    assert "text encoder alone" in call("inspect", files.text_encoder).out
    drawn = call("generate", "--project", folder, "-p", "sks dog", "--size", 16, "-n", 1, "--steps", 2)
    assert drawn.code == 0, drawn.err
    for file, more in (("all.safetensors", ["--all-in-one"]), ("alone.safetensors", [])):
        assert call("export", "--project", folder, *more, tmp_path / file).code == 0
        report = call("inspect", tmp_path / file)
        assert "checkpoint, family z_image" in report.out
        assert "sks" in report.out
    assert call("export", "--project", folder, "--lora", tmp_path / "learned.safetensors").code == 0
    assert "LoRA" in call("inspect", tmp_path / "learned.safetensors").out
    refused = call("export", "--project", folder, "--lora", "--all-in-one", tmp_path / "x.safetensors")
    assert (refused.code, "--all-in-one" in refused.err) == (2, True)


@pytest.mark.long
def test_files_are_named_by_options(files: FlowFiles, tmp_path: Path) -> None:
    alone = tmp_path / "alone" / "z_image_turbo.safetensors"
    alone.parent.mkdir()
    alone.write_bytes(files.transformer.read_bytes())
    draw = ("generate", "--project", alone, "-p", "a dog", "--size", 16, "-n", 1, "--steps", 1)
    lacking = call(*draw)
    assert lacking.code != 0
    assert "--text-encoder-file" in lacking.err
    named = ("--text-encoder-file", files.text_encoder, "--vae-file", files.vae)
    done = call(*draw, *named)
    assert done.code == 0, done.err
    dogs = pictures(tmp_path / "dog_images")
    plan = call(
        *("add-concept", "--project", tmp_path / "project", "--base", alone, *named, "--dry-run"),
        *(*FAST, "--resolution", 16, dogs),
    )
    assert plan.code == 0, plan.err
    assert "distilled Turbo, as its name z_image_turbo.safetensors says" in plan.out
    assert "what the text encoder reads" not in plan.out  # distill teaches CLIP's rows, and there is none
    compared = call(
        *("compare", "--project", tmp_path / "project", "--base", alone, *named, "--variant", "base"),
        *("--strategies", "merge", *FAST, "--resolution", 16, "--keep-copies", "--json", dogs),
    )
    assert compared.code == 0, compared.err
    (row,) = compared.json[-1]["result"]["rows"]
    base = Project.open(Path(row["copy"])).base
    assert base is not None
    assert base.variant == "base"
