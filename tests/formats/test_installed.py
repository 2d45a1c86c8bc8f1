"""Models and LoRAs by their names in an installed ComfyUI or Automatic1111."""

import os
from pathlib import Path

import pytest
from cases import check_each

from clora_ext.errors import UsageError
from clora_ext.formats.installed import find_installed, installed_names


def touched(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with both programs, some of whose files lie elsewhere; the working folder is another."""
    home, here = tmp_path / "home", tmp_path / "here"
    here.mkdir()
    comfyui, webui, shared = home / "ComfyUI", home / "stable-diffusion-webui", tmp_path / "shared"
    touched(
        comfyui / "models/checkpoints/base.safetensors",
        comfyui / "models/checkpoints/xl/juggernaut v9.safetensors",
        comfyui / "models/checkpoints/old.ckpt",
        comfyui / "models/loras/ink.safetensors",
        comfyui / "models/diffusion_models/z_image.safetensors",
        shared / "unets/other.safetensors",
        webui / "webui.py",
        webui / "models/Stable-diffusion/v15.safetensors",
        webui / "models/Lora/pastel.safetensors",
        shared / "more/shared.safetensors",
        shared / "second/base.safetensors",
        tmp_path / "secret.safetensors",
    )
    folders = "  checkpoints: |\n    more\n    second\n  loras: 5\n  unet: unets\n"
    extra = f"a111:\n  base_path: {shared}\n{folders}odd: 3\n"
    (comfyui / "extra_model_paths.yaml").write_text(extra, encoding="utf-8")
    (comfyui / "models/checkpoints/circle").symlink_to(comfyui / "models/checkpoints")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(here)
    for name in ("CLORA_COMFYUI", "CLORA_A1111"):
        monkeypatch.delenv(name, raising=False)
    return home


def test_names_are_those_that_the_program_shows(home: Path) -> None:
    names = ("base", "other", "shared", "xl/juggernaut v9", "z_image")
    assert installed_names("comfyui", "checkpoint") == tuple(f"{name}.safetensors" for name in names)
    assert installed_names("comfyui", "LoRA") == ("ink.safetensors",)
    assert installed_names("a1111", "checkpoint") == ("v15.safetensors",)
    assert installed_names("a1111", "LoRA") == ("pastel.safetensors",)


def test_a_name_gives_the_file_with_or_without_its_ending(home: Path, tmp_path: Path) -> None:
    models = home / "ComfyUI/models"
    files = {
        "comfyui:base": models / "checkpoints/base.safetensors",
        "comfyui:base.safetensors": models / "checkpoints/base.safetensors",
        "comfyui:xl/juggernaut v9": models / "checkpoints/xl/juggernaut v9.safetensors",
        "comfyui:shared": tmp_path / "shared/more/shared.safetensors",
        "a1111:v15": home / "stable-diffusion-webui/models/Stable-diffusion/v15.safetensors",
    }
    check_each(files, lambda name: _same(find_installed(Path(name), "checkpoint"), files[name]))
    _same(find_installed(Path("comfyui:ink"), "LoRA"), models / "loras/ink.safetensors")


def _same(found: Path, expected: Path) -> None:
    assert found.is_absolute()
    assert found.samefile(expected)


def test_anything_else_is_a_path(home: Path) -> None:
    touched(Path("comfyui:base"))  # in the working folder: a file of that very name
    paths = [
        "base.safetensors",
        "owner/name",
        "owner/name:fp16",
        "C:/x.safetensors",
        "comfyui",
        "comfyui:base",
    ]
    check_each(paths, lambda path: _equal(find_installed(Path(path), "checkpoint"), Path(path)))


def _equal(found: Path, expected: Path) -> None:
    assert found == expected


def test_no_name_leads_out_of_the_programs_folders(home: Path, tmp_path: Path) -> None:
    hostile = [
        "../../../../secret", "../loras/ink", "xl/../../loras/ink", str(tmp_path / "secret"), "~/secret", "",
        "..", "old", "old.ckpt", "xl", "circle/base", "\x1b[2J", "a" * 5000, "$HOME/secret", "*",
    ]  # fmt: skip

    def check(name: str) -> None:
        with pytest.raises(UsageError, match="ComfyUI has no checkpoint") as caught:
            find_installed(Path(f"comfyui:{name}"), "checkpoint")
        assert all(line.isprintable() for line in str(caught.value).splitlines())
        assert len(str(caught.value)) < 1000

    check_each(hostile, check)


def test_a_name_that_is_not_there_is_answered_with_the_nearest(home: Path) -> None:
    with pytest.raises(UsageError, match=r"did you mean 'xl/juggernaut v9\.safetensors'"):
        find_installed(Path("comfyui:juggernaut v9"), "checkpoint")


def test_the_variable_says_where_the_program_is_and_what_to_set_is_told(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    touched(other / "models/checkpoints/mine.safetensors")
    monkeypatch.setenv("CLORA_COMFYUI", str(other))
    assert installed_names("comfyui", "checkpoint") == ("mine.safetensors",)
    monkeypatch.setenv("CLORA_COMFYUI", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="CLORA_COMFYUI says"):
        installed_names("comfyui", "checkpoint")
    monkeypatch.setenv("HOME", str(tmp_path / "here"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "here"))
    with pytest.raises(UsageError, match=r"no Automatic1111(.|\n)*set CLORA_A1111"):
        find_installed(Path("a1111:v15"), "checkpoint")


@pytest.mark.long
def test_extra_paths_that_make_no_sense_are_passed_over(home: Path) -> None:
    file = home / "ComfyUI" / "extra_model_paths.yaml"
    texts = [
        "!!python/object/apply:os.system [touch pwned]", "[" * 100_000, "a: [1, 2]", "- 1", "\x00", "5", "",
        "a:\n  checkpoints: /\0\n", "a: {base_path: 3, checkpoints: {b: c}}", "#" * 2_000_000,
    ]  # fmt: skip

    def check(text: str) -> None:
        file.write_text(text, encoding="utf-8")
        assert "base.safetensors" in installed_names("comfyui", "checkpoint")
        assert not Path("pwned").exists()

    check_each(texts, check)
    file.unlink()
    os.mkfifo(file)
    assert "base.safetensors" in installed_names("comfyui", "checkpoint")
