"""Checkpoint files that are no project: what `clora inspect` and `clora generate` say of them and do."""

from pathlib import Path

import pytest
import torch
from calling import call
from cases import check_each
from PIL import Image, ImageChops
from safetensors.torch import save_file
from tiny_model import write_tiny_model
from tiny_project import project_of

from clora_ext.formats.checkpoint import Checkpoint, Source, write_checkpoint


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("base") / "tiny.safetensors")


def told(base: Path, target: Path, *tensors: str) -> Path:
    """The same model with empty tensors."""
    old = Checkpoint(base)
    sources = {name: Source.copy(old, name) for name in old.names}
    sources |= {name: Source.of(torch.empty(0)) for name in tensors}
    write_checkpoint(target, sources, old.header.metadata)
    return target


def test_inspect_says_what_is_refused_as_the_refusal_does(base: Path, tmp_path: Path) -> None:
    edm = told(base, tmp_path / "edm.safetensors", "edm_mean", "edm_std")
    report = call("inspect", edm)
    assert "checkpoint, family sd1" in report.out
    assert "edm.safetensors is an EDM model: the tensor edm_mean says so" in report.out
    (line,) = call("inspect", edm, "--json").json
    refusal = line["result"]["refusal"]
    assert (line["result"]["kind"], line["result"]["prediction"]) == ("checkpoint", None)
    refused = call("add-concept", "--project", tmp_path / "p", "--base", edm, "--dry-run", tmp_path)
    assert refusal in refused.err

    save_file({"double_blocks.0.x": torch.ones(1)}, tmp_path / "flux.safetensors")
    flux = call("inspect", tmp_path / "flux.safetensors").out
    assert "a model that clora does not teach" in flux
    assert "flux.safetensors is Flux" in flux
    save_file({"unet.x.lora_A.weight": torch.ones(1)}, tmp_path / "lora.safetensors")
    assert "refused" not in call("inspect", tmp_path / "lora.safetensors").out
    assert "refused" not in call("inspect", base).out


@pytest.mark.long
def test_a_file_that_does_not_say_what_it_predicts_is_drawn_with_as_told(base: Path, tmp_path: Path) -> None:
    def draw(name: str, source: Path, *options: str) -> Image.Image:
        target = tmp_path / f"{name}.png"
        arguments = ("-p", "dog", "-n", "1", "--steps", "2", "-o", target, "--project", source)
        done = call("generate", *arguments, *options)
        assert done.code == 0, done.err
        return Image.open(target).convert("RGB")

    marked = told(base, tmp_path / "marked.safetensors", "v_pred", "ztsnr")
    as_marked = draw("marked", marked)
    as_told = draw("told", base, "--prediction", "v", "--zero-snr")
    assert ImageChops.difference(as_told, as_marked).getbbox() is None
    assert ImageChops.difference(as_told, draw("usual", base)).getbbox() is not None
    taken_back = draw("back", marked, "--prediction", "epsilon", "--no-zero-snr")
    assert ImageChops.difference(taken_back, draw("as usual", base)).getbbox() is None


def test_a_project_is_not_drawn_with_otherwise_than_it_was_taught(base: Path, tmp_path: Path) -> None:
    project = project_of(tmp_path / "project", base, [("sks", "dog")])
    manifest = project / "manifest.json"
    text = manifest.read_text(encoding="utf-8")
    text = text.replace('"prediction": null', '"prediction": "epsilon"')
    manifest.write_text(text.replace('"zero_snr": null', '"zero_snr": false'), encoding="utf-8")

    def check(case: tuple[list[str], str]) -> None:
        options, said = case
        refused = call("generate", "-p", "dog", "--project", project, *options)
        assert refused.code == 2
        assert said in refused.err
        assert not (project / "pictures").exists()

    check_each(
        [
            (["--prediction", "v"], "--prediction v does not fit"),
            (["--zero-snr"], "--zero-snr does not fit"),
            (["--prediction", "vee"], "unknown prediction 'vee'"),
        ],
        check,
    )
