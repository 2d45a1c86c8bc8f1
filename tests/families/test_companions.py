"""What a transformer alone lacks: found beside it, checked, or asked for."""

import shutil
from pathlib import Path

import pytest
from cases import check_each
from published_files import hollow_file, published_file, published_shapes
from safetensors.torch import load_file, save_file
from tiny_flow import FlowFiles, write_everything, write_tiny_flow

from clora_ext import families
from clora_ext.errors import CheckpointError, UsageError
from clora_ext.families.hub import DEMO_MODEL
from clora_ext.families.place import find_place
from clora_ext.formats.companion_files import companion_sha256
from clora_ext.formats.header import Header


@pytest.fixture
def files(tmp_path: Path) -> FlowFiles:
    return write_tiny_flow(tmp_path / "models")


def names(header: Header) -> set[str]:
    return {name.split(".", maxsplit=1)[0] for name in header.tensors}


def test_companions_lie_in_comfyuis_folders(files: FlowFiles, tmp_path: Path) -> None:
    sub = files.transformer.parent / "mine" / "x.safetensors"
    sub.parent.mkdir()
    shutil.copy(files.transformer, sub)
    for place in (files.transformer, sub):
        found = find_place(place, {})
        assert found.companions == {"text_encoder": files.text_encoder, "vae": files.vae}
        assert names(found.header()) == {"model", "text_encoders", "vae"}
        opened = found.open()
        assert set(opened.names) == set(found.header().tensors)
        assert {name.split(".", maxsplit=1)[0] for name in opened.own_names} == {"model"}


def test_companions_may_lie_in_the_models_own_folder(files: FlowFiles, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    for file in (files.transformer, files.text_encoder, files.vae):
        shutil.copy(file, folder)
    found = find_place(folder / files.transformer.name, {})
    assert set(found.companions.values()) == {folder / files.text_encoder.name, folder / files.vae.name}


def test_a_companion_of_another_name_is_taken_if_it_is_the_only_one(files: FlowFiles) -> None:
    renamed = files.text_encoder.rename(files.text_encoder.with_name("mine.safetensors"))
    assert find_place(files.transformer, {}).companions["text_encoder"] == renamed
    shutil.copy(renamed, renamed.with_name("another.safetensors"))
    with pytest.raises(CheckpointError, match=r"another\.safetensors, mine\.safetensors") as caught:
        find_place(files.transformer, {})
    assert "--text-encoder-file" in (caught.value.fix or "")
    given = find_place(files.transformer, {"text_encoder": renamed})
    assert given.companions["text_encoder"] == renamed


def test_files_that_do_not_fit_are_passed_over_and_refused_when_named(
    files: FlowFiles, tmp_path: Path
) -> None:
    beside = files.text_encoder.parent
    wide = {name: shape for name, shape in published_shapes("qwen3_4b").items() if ".layers.3" not in name}
    sees = {**published_shapes("qwen3_4b"), "visual.blocks.0.norm1.weight": (8,)}
    cases = [
        (hollow_file(beside / "wide.safetensors", wide), "reads text of width 24"),
        (hollow_file(beside / "sees.safetensors", sees), "sees pictures"),
        (published_file(beside / "narrow.safetensors", "qwen3_4b", dtype="F8_E4M3"), "8 bits"),
        (published_file(beside / "vae.safetensors", "flux1_vae"), "no language model"),
        (tmp_path / "nowhere.safetensors", "does not exist"),
    ]

    def check(case: tuple[Path, str]) -> None:
        with pytest.raises(CheckpointError, match=case[1]):
            find_place(files.transformer, {"text_encoder": case[0]})

    check_each(cases, check)
    assert find_place(files.transformer, {}).companions["text_encoder"] == files.text_encoder


def test_nothing_beside_it_is_said_with_the_remedy(files: FlowFiles, tmp_path: Path) -> None:
    files.vae.unlink()
    with pytest.raises(CheckpointError, match="no VAE of Flux 1 lies beside it in vae/") as caught:
        find_place(files.transformer, {})
    assert "ae.safetensors" in (caught.value.fix or "")


def test_one_in_another_precision_is_told_of(files: FlowFiles) -> None:
    files.text_encoder.unlink()
    eight = published_file(
        files.text_encoder.with_name("qwen_3_4b_fp8_mixed.safetensors"), "qwen3_4b", dtype="F8_E4M3"
    )
    with pytest.raises(
        CheckpointError, match=r"passed over: .*qwen_3_4b_fp8_mixed\.safetensors is stored in 8 bits"
    ):
        find_place(files.transformer, {})
    eight.rename(eight.with_name("other.safetensors"))
    with pytest.raises(CheckpointError) as caught:
        find_place(files.transformer, {})
    assert "passed over" not in caught.value.message


def test_a_model_that_has_everything_takes_no_companion(files: FlowFiles, tmp_path: Path) -> None:
    whole = write_everything(tmp_path / "all.safetensors")
    assert find_place(whole, {}).companions == {}
    for place in (whole, DEMO_MODEL):
        with pytest.raises(UsageError, match="vae"):
            find_place(place, {"vae": files.vae})


def test_companions_are_read_by_other_names(files: FlowFiles, tmp_path: Path) -> None:
    """A language model saved without its head's class, in two files; both inside a file of everything."""
    wanted = find_place(files.transformer, {}).header()
    folder = tmp_path / "text_encoder"
    folder.mkdir()
    stored = load_file(files.text_encoder)
    headed = tmp_path / "headed.safetensors"
    save_file({**stored, "lm_head.weight": stored["model.embed_tokens.weight"].clone()}, headed)
    tensors = {name.removeprefix("model."): one for name, one in stored.items()}
    half = len(tensors) // 2
    for number, part in enumerate((dict(list(tensors.items())[:half]), dict(list(tensors.items())[half:]))):
        save_file(part, folder / f"model-0000{number + 1}-of-00002.safetensors")
    whole = write_everything(tmp_path / "all.safetensors")
    for given in ({"text_encoder": folder}, {"text_encoder": headed}, {"text_encoder": whole, "vae": whole}):
        found = find_place(files.transformer, given).header()
        assert {n: i.shape for n, i in found.tensors.items()} == {
            n: i.shape for n, i in wanted.tensors.items()
        }
    assert len(companion_sha256(folder)) == 64


def test_what_is_gone_is_said_by_name(files: FlowFiles) -> None:
    found = find_place(files.transformer, {})
    files.vae.unlink()
    with pytest.raises(CheckpointError, match=r"the VAE of Flux 1 .* is gone") as caught:
        found.open()
    assert "--vae-file" in (caught.value.fix or "")
    assert families.detect(found.as_found().header(), found.path).name == "z_image"
