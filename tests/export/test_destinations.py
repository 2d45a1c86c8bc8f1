"""Each program finds what it looks for, and nothing else in its folder changes."""

import io
import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from cases import check_each, empty_folder
from PIL import Image
from program_folders import A1111, COMFYUI, FORGE, LAYOUTS, content, make, new_files
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_model import write_tiny_model
from tiny_project import project_of

from clora_ext import export_to, families
from clora_ext.errors import UsageError
from clora_ext.events import Note, ignore
from clora_ext.export.bundle import make_bundle
from clora_ext.export.destinations import load, names
from clora_ext.export.ldm_config import V_CONFIGS
from clora_ext.formats.prediction import Prediction
from clora_ext.formats.statements import yaml_statement

ARCHITECTURES = {"sd1": "stable-diffusion-v1", "sdxl": "stable-diffusion-xl-v1-base"}
DOGS = [("sks", "dog"), ("zwz", "robot")]
LAYER = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("base") / "tiny.safetensors")


@pytest.fixture
def project(base: Path, tmp_path: Path) -> Path:
    return project_of(tmp_path / "my model", base, DOGS)


def test_every_destination_is_one_file() -> None:
    assert names() == ("a1111", "comfyui", "diffusers", "forge")


def test_an_unknown_destination_is_refused_with_the_nearest(project: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="confyui") as caught:
        export_to(project, "confyui", tmp_path)
    assert "did you mean 'comfyui'?" in caught.value.fix


def test_comfyui_gets_checkpoint_and_preview(project: Path, tmp_path: Path) -> None:
    root = make(tmp_path / "ComfyUI", *COMFYUI)
    exported = export_to(project, "comfyui", root)
    place = root / "models" / "checkpoints"
    assert new_files(root, *COMFYUI) == {
        "models/checkpoints/my model.safetensors",
        "models/checkpoints/my model.preview.png",
    }
    assert {file.path for file in exported.files} == {
        place / "my model.safetensors",
        place / "my model.preview.png",
    }
    assert exported.path == place / "my model.safetensors"
    assert all(file.bytes == file.path.stat().st_size for file in exported.files)
    assert exported.bytes == sum(file.bytes for file in exported.files)
    assert "my model.safetensors" in exported.next_step
    with Image.open(place / "my model.preview.png") as image:
        image.load()
        assert (image.format, image.size) == ("PNG", (512, 512))
    assert len(load_file(exported.path)) == 368


def test_web_interfaces_get_a_card(project: Path, tmp_path: Path) -> None:
    def check(program: str) -> None:
        root = make(empty_folder(tmp_path), *LAYOUTS[program])
        exported = export_to(project, program, root, name="Pets")
        place = root / "models" / "Stable-diffusion"
        assert new_files(root, *LAYOUTS[program]) == {
            f"models/Stable-diffusion/Pets.{ending}"
            for ending in ("safetensors", "preview.png", "json", "txt")
        }
        card = json.loads((place / "Pets.json").read_text(encoding="utf-8"))
        assert "sks dog, zwz robot" in card["description"]
        assert card["notes"].splitlines()[1].startswith("zwz robot: mask, steps 200, rank 4")
        assert card.get("sd_version_str") == (None if program == "a1111" else "SdVersion.Unknown")
        assert (place / "Pets.txt").read_text(encoding="utf-8") == card["description"]
        Image.open(place / "Pets.preview.png").verify()
        with safe_open(exported.path, "pt") as opened:
            assert opened.metadata()["modelspec.title"] == "Pets"

    check_each(["a1111", "forge"], check)


def test_the_unusual_sizes_of_the_demo_model_are_noted(project: Path, tmp_path: Path) -> None:
    for program, layout in LAYOUTS.items():
        events: list[object] = []
        export_to(project, program, make(tmp_path / program, *layout), sink=events.append)
        (note,) = [event for event in events if isinstance(event, Note)]
        assert "knows no model of these sizes" in note.text


def test_a_model_that_predicts_v_comes_with_a_configuration(base: Path, tmp_path: Path) -> None:
    with safe_open(base, "pt") as opened:
        metadata = {**opened.metadata(), "modelspec.prediction_type": "v"}
    save_file(load_file(base), tmp_path / "v.safetensors", metadata)
    project = project_of(tmp_path / "p", tmp_path / "v.safetensors", DOGS)
    root = make(tmp_path / "forge", *FORGE)
    export_to(project, "forge", root)
    told = yaml.safe_load((root / "models/Stable-diffusion/p.yaml").read_text(encoding="utf-8"))
    assert told["model"]["params"]["parameterization"] == "v"
    events: list[object] = []
    export_to(project, "a1111", make(tmp_path / "a1111", *A1111), sink=events.append)
    assert any(isinstance(event, Note) and "predicts v" in event.text for event in events)


REMARKS: list[tuple[str, str, Prediction, str, str]] = [
    ("sd1", "comfyui", Prediction(), "", ""),
    ("sdxl", "comfyui", Prediction("v"), "", ""),
    ("sdxl", "comfyui", Prediction("v", zero_snr=True), "", ""),
    ("sd1", "comfyui", Prediction("v"), "sampling v_prediction and zsnr false", ""),
    ("sd1", "comfyui", Prediction("v", zero_snr=True), "sampling v_prediction and zsnr true", ""),
    ("sdxl", "comfyui", Prediction(zero_snr=True), "sampling eps and zsnr true", ""),
    ("sdxl", "a1111", Prediction(), "", ""),
    ("sd1", "a1111", Prediction("v"), "", "LatentDiffusion"),
    ("sdxl", "a1111", Prediction("v", zero_snr=True), "Zero Terminal SNR", "VScaling"),
    ("sd1", "a1111", Prediction(zero_snr=True), "Zero Terminal SNR", ""),
    ("sdxl", "forge", Prediction("v"), "", '"parameterization": "v"'),
    ("sdxl", "forge", Prediction("v", zero_snr=True), "Zero Terminal SNR", '"parameterization": "v"'),
]


def test_every_program_is_told_what_it_cannot_see(project: Path, tmp_path: Path) -> None:
    tiny = make_bundle(project, None, None, ignore)

    def check(case: tuple[str, str, Prediction, str, str]) -> None:
        family, program, prediction, remark, config = case
        card = replace(tiny.card, architecture=ARCHITECTURES[family], prediction=prediction)
        model = replace(tiny, card=card, family=families.load(family))
        destination = load(program)
        said = destination.remark(model)
        assert remark in said
        assert bool(remark) == bool(said)
        root = make(empty_folder(tmp_path), *LAYOUTS[program])
        written = destination.place(root, model)
        (yaml_file,) = [f for f in written.items if f.target.suffix == ".yaml"] or [None]
        assert bool(yaml_file) == bool(config)
        if yaml_file is not None:
            yaml_file.write(tmp_path / "told.yaml")
            assert config in (tmp_path / "told.yaml").read_text(encoding="utf-8")
            said_by_yaml = yaml_statement(tmp_path / "told.safetensors")
            assert said_by_yaml is not None
            assert said_by_yaml.word == "v"  # clora itself reads what it writes

    check_each(REMARKS, check)


def test_automatic1111s_configuration_for_v_builds_stable_diffusion_1() -> None:
    told = yaml.safe_load(json.dumps(V_CONFIGS["stable-diffusion-v1"]))
    params = told["model"]["params"]
    assert params["parameterization"] == "v"
    assert isinstance(params["linear_start"], float)
    assert params["unet_config"]["params"]["model_channels"] == 320
    assert params["unet_config"]["params"]["context_dim"] == 768
    assert params["first_stage_config"]["params"]["ddconfig"]["ch_mult"] == [1, 2, 4, 4]


REFUSED_FOLDERS = [
    ("comfyui", (), "main.py with comfy/", "started in"),
    ("comfyui", ("main.py",), "main.py with comfy/", "started in"),
    ("comfyui", A1111, "main.py with comfy/", "started in"),
    ("comfyui", tuple(f"ComfyUI/{path}" for path in COMFYUI), "main.py with comfy/", "ComfyUI"),
    ("a1111", (), "webui.py and models/Stable-diffusion/", "webui.py"),
    ("a1111", ("models/Stable-diffusion/",), "webui.py and models/Stable-diffusion/", "webui.py"),
    ("a1111", COMFYUI, "webui.py and models/Stable-diffusion/", "webui.py"),
    ("a1111", FORGE, "no modules_forge/", "--to forge"),
    ("forge", A1111, "modules_forge/", "--to a1111"),
    ("forge", COMFYUI, "modules_forge/", "webui.py"),
]


def test_another_folder_is_refused(project: Path, tmp_path: Path) -> None:
    def check(case: tuple[str, tuple[str, ...], str, str]) -> None:
        program, paths, looked_for, fix = case
        root = make(empty_folder(tmp_path), *paths)
        before = content(root)
        with pytest.raises(UsageError, match=r"is not a .* folder") as caught:
            export_to(project, program, root)
        assert looked_for in caught.value.message
        assert fix in caught.value.fix
        assert content(root) == before

    check_each(REFUSED_FOLDERS, check)


def test_a_folder_that_does_not_exist_is_refused(project: Path, tmp_path: Path) -> None:
    def check(program: str) -> None:
        with pytest.raises(UsageError, match="does not exist; looked for"):
            export_to(project, program, tmp_path / "nowhere")
        assert not (tmp_path / "nowhere").exists()

    check_each(LAYOUTS, check)


def test_comfyuis_base_directory_is_recognised(project: Path, tmp_path: Path) -> None:
    export_to(project, "comfyui", make(tmp_path / "data", "models/checkpoints/"))
    assert len(content(tmp_path / "data")) == 2


def test_a_fresh_comfyui_gets_the_folder_that_it_misses(project: Path, tmp_path: Path) -> None:
    root = make(tmp_path / "ComfyUI", "main.py", "comfy/")
    export_to(project, "comfyui", root)
    assert (root / "models" / "checkpoints" / "my model.safetensors").is_file()


def test_a_name_that_is_no_file_name_everywhere_is_refused(project: Path, tmp_path: Path) -> None:
    def check(name: str) -> None:
        root = make(tmp_path / "ComfyUI", *COMFYUI)
        before = content(tmp_path)
        with pytest.raises(UsageError, match="cannot name a file"):
            export_to(project, "comfyui", root, name=name)
        assert content(tmp_path) == before

    check_each(["a[b]", "../up", "a,b", "x" * 300, "a\nb"], check)


def test_the_longest_name_is_written(project: Path, tmp_path: Path) -> None:
    root = make(tmp_path / "webui", *FORGE)
    exported = export_to(project, "forge", root, name="🐕" * 50)
    assert all(file.path.is_file() for file in exported.files)


def test_a_project_whose_folder_is_no_file_name_gets_a_plain_one(base: Path, tmp_path: Path) -> None:
    project = project_of(tmp_path / "[my], model", base, DOGS)
    exported = export_to(project, "comfyui", make(tmp_path / "ComfyUI", *COMFYUI))
    assert exported.path.name == "my_ model.safetensors"


def test_without_contact_sheets_there_is_no_preview(base: Path, tmp_path: Path) -> None:
    project = project_of(tmp_path / "p", base, DOGS, sheets=False)
    root = make(tmp_path / "ComfyUI", *COMFYUI)
    export_to(project, "comfyui", root)
    assert new_files(root, *COMFYUI) == {"models/checkpoints/p.safetensors"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_web_interfaces_of_other_users_can_read_all(project: Path, tmp_path: Path) -> None:
    root = make(tmp_path / "webui", *FORGE)
    before = os.umask(0o022)
    try:
        files = [file.path for file in export_to(project, "forge", root).files]
        files += [file.path for file in export_to(project, "diffusers", tmp_path / "folder").files]
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o644}


def test_the_preview_is_the_same_picture_for_all(project: Path, tmp_path: Path) -> None:
    pictures = set()
    for program, layout in LAYOUTS.items():
        export_to(project, program, make(tmp_path / program, *layout))
        (file,) = (tmp_path / program).rglob("*.preview.png")
        with Image.open(io.BytesIO(file.read_bytes())) as image:
            pictures.add(image.tobytes())
    assert len(pictures) == 1
