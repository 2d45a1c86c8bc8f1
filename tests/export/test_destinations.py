"""Each program finds what it looks for, and nothing else in its folder changes."""

import io
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_model import write_tiny_model
from tiny_project import project_of

from clora_ext import export_to
from clora_ext.errors import Cancelled, CheckpointError, StorageError, UsageError
from clora_ext.events import FoldStep, Note
from clora_ext.export.destinations import names

DOGS = [("sks", "dog"), ("zwz", "robot")]
LAYER = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("base") / "tiny.safetensors")


@pytest.fixture
def project(base: Path, tmp_path: Path) -> Path:
    return project_of(tmp_path / "my model", base, DOGS)


def make(folder: Path, *paths: str) -> Path:
    """A folder with these files, and folders where a path ends with a slash."""
    for path in paths:
        if path.endswith("/"):
            (folder / path).mkdir(parents=True, exist_ok=True)
        else:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(b"theirs")
    return folder


COMFYUI = ("main.py", "comfy/", "models/checkpoints/put_checkpoints_here")
A1111 = ("webui.py", "modules/", "models/Stable-diffusion/other.safetensors")
FORGE = (*A1111, "modules_forge/")
LAYOUTS = {"comfyui": COMFYUI, "a1111": A1111, "forge": FORGE}
PLACES = {name: "models/checkpoints" if name == "comfyui" else "models/Stable-diffusion" for name in LAYOUTS}


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def new_files(folder: Path, *theirs: str) -> set[str]:
    return set(content(folder)) - {path for path in theirs if not path.endswith("/")}


def test_every_destination_is_one_file() -> None:
    assert names() == ("a1111", "comfyui", "diffusers", "forge")


def test_an_unknown_destination_is_told_with_the_nearest(project: Path, tmp_path: Path) -> None:
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
    assert len(load_file(exported.path)) == 352


@pytest.mark.parametrize("program", ["a1111", "forge"])
def test_web_interfaces_get_a_card(project: Path, tmp_path: Path, program: str) -> None:
    root = make(tmp_path / "webui", *LAYOUTS[program])
    exported = export_to(project, program, root, name="Pets")
    place = root / "models" / "Stable-diffusion"
    assert new_files(root, *LAYOUTS[program]) == {
        f"models/Stable-diffusion/Pets.{ending}" for ending in ("safetensors", "preview.png", "json", "txt")
    }
    card = json.loads((place / "Pets.json").read_text(encoding="utf-8"))
    assert "sks dog, zwz robot" in card["description"]
    assert card["notes"].splitlines()[1].startswith("zwz robot: mask, steps 200, rank 4")
    assert card.get("sd_version_str") == (None if program == "a1111" else "SdVersion.Unknown")
    assert (place / "Pets.txt").read_text(encoding="utf-8") == card["description"]
    Image.open(place / "Pets.preview.png").verify()
    with safe_open(exported.path, "pt") as opened:
        assert opened.metadata()["modelspec.title"] == "Pets"


def test_the_demo_models_sizes_are_remarked(project: Path, tmp_path: Path) -> None:
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


def test_automatic1111s_configuration_for_v_builds_stable_diffusion_1() -> None:
    from clora_ext.export.destinations.a1111 import _sd1_config

    told = yaml.safe_load(json.dumps(_sd1_config()))
    params = told["model"]["params"]
    assert params["parameterization"] == "v"
    assert isinstance(params["linear_start"], float)
    assert params["unet_config"]["params"]["model_channels"] == 320
    assert params["unet_config"]["params"]["context_dim"] == 768
    assert params["first_stage_config"]["params"]["ddconfig"]["ch_mult"] == [1, 2, 4, 4]


@pytest.mark.parametrize(
    ("program", "layout", "looked_for", "fix"),
    [
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
    ],
)
def test_another_folder_is_refused(
    project: Path, tmp_path: Path, program: str, layout: tuple[str, ...], looked_for: str, fix: str
) -> None:
    root = make(tmp_path / "folder", *layout)
    root.mkdir(exist_ok=True)
    before = content(root)
    with pytest.raises(UsageError, match="is no folder of") as caught:
        export_to(project, program, root)
    assert looked_for in caught.value.message
    assert fix in caught.value.fix
    assert content(root) == before


@pytest.mark.parametrize("program", LAYOUTS)
def test_a_folder_that_does_not_exist_is_refused(project: Path, tmp_path: Path, program: str) -> None:
    with pytest.raises(UsageError, match="does not exist; looked for"):
        export_to(project, program, tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_comfyuis_base_directory_is_recognised(project: Path, tmp_path: Path) -> None:
    export_to(project, "comfyui", make(tmp_path / "data", "models/checkpoints/"))
    assert len(content(tmp_path / "data")) == 2


def test_a_fresh_comfyui_gets_the_folder_that_it_misses(project: Path, tmp_path: Path) -> None:
    root = make(tmp_path / "ComfyUI", "main.py", "comfy/")
    export_to(project, "comfyui", root)
    assert (root / "models" / "checkpoints" / "my model.safetensors").is_file()


@pytest.mark.parametrize("name", ["a[b]", "../up", "a,b", "x" * 300, "a\nb"])
def test_a_name_that_is_no_file_name_everywhere_is_refused(project: Path, tmp_path: Path, name: str) -> None:
    root = make(tmp_path / "ComfyUI", *COMFYUI)
    before = content(tmp_path)
    with pytest.raises(UsageError, match="cannot name a file"):
        export_to(project, "comfyui", root, name=name)
    assert content(tmp_path) == before


def test_the_longest_name_is_written(project: Path, tmp_path: Path) -> None:
    root = make(tmp_path / "webui", *FORGE)
    exported = export_to(project, "forge", root, name="🐕" * 50)
    assert all(file.path.is_file() for file in exported.files)


def test_a_project_whose_folder_is_no_file_name_gets_a_plain_one(base: Path, tmp_path: Path) -> None:
    project = project_of(tmp_path / "[my], model", base, DOGS)
    exported = export_to(project, "comfyui", make(tmp_path / "ComfyUI", *COMFYUI))
    assert exported.path.name == "my_ model.safetensors"


SIDECARS = {
    "comfyui": ("preview.png", "safetensors"),
    "a1111": ("preview.png", "json", "txt", "safetensors"),
    "forge": ("preview.png", "json", "txt", "safetensors"),
}


@pytest.mark.parametrize(
    ("program", "ending"), [(program, ending) for program, endings in SIDECARS.items() for ending in endings]
)
def test_nothing_is_overwritten_unasked(project: Path, tmp_path: Path, program: str, ending: str) -> None:
    mine = f"{PLACES[program]}/my model.{ending}"
    root = make(tmp_path / "root", *LAYOUTS[program], mine)
    before = content(root)
    with pytest.raises(UsageError, match=f"my model.{ending} exists"):
        export_to(project, program, root)
    assert content(root) == before
    export_to(project, program, root, overwrite=True)
    after = content(root)
    assert after[mine] != b"theirs"
    assert set(after) == set(before) | {f"{PLACES[program]}/my model.{one}" for one in SIDECARS[program]}


def test_files_that_would_belong_to_the_new_model_do_not_stay(project: Path, tmp_path: Path) -> None:
    stale = "models/Stable-diffusion/my model.yaml"  # it would tell how another model is to be read
    root = make(tmp_path / "webui", *A1111, stale)
    with pytest.raises(UsageError, match=r"my model\.yaml exists"):
        export_to(project, "a1111", root)
    export_to(project, "a1111", root, overwrite=True)
    assert new_files(root, *A1111) == {f"models/Stable-diffusion/my model.{one}" for one in SIDECARS["a1111"]}


@pytest.mark.parametrize("link", [False, True])
def test_the_base_is_never_replaced(base: Path, tmp_path: Path, *, link: bool) -> None:
    root = make(tmp_path / "ComfyUI", *COMFYUI)
    own = root / "models" / "checkpoints" / "sd.safetensors"
    own.write_bytes(base.read_bytes())
    project = project_of(tmp_path / "p", own, DOGS)
    if link:
        os.link(own, own.with_name("other.safetensors"))
    with pytest.raises(UsageError, match="belongs to the project or is its base"):
        export_to(project, "comfyui", root, name="other" if link else "sd", overwrite=True)
    assert own.read_bytes() == base.read_bytes()


def broken(base: Path, file: Path) -> Path:
    tensors = load_file(base)
    tensors[LAYER].view(-1)[0] = float("nan")
    with safe_open(base, "pt") as opened:
        save_file(tensors, file, opened.metadata())
    return file


@pytest.mark.parametrize("program", [*LAYOUTS, "diffusers"])
def test_a_model_that_cannot_be_written_leaves_no_half_set(base: Path, tmp_path: Path, program: str) -> None:
    project = project_of(tmp_path / "p", broken(base, tmp_path / "nan.safetensors"), DOGS)
    root = make(tmp_path / "root", *LAYOUTS.get(program, ()))
    before = content(tmp_path)
    with pytest.raises(CheckpointError, match=LAYER.rsplit(".attn", maxsplit=1)[0]):
        export_to(project, program, root)
    assert content(tmp_path) == before


@pytest.mark.parametrize("program", LAYOUTS)
def test_a_stopped_export_leaves_no_half_set(project: Path, tmp_path: Path, program: str) -> None:
    root = make(tmp_path / "root", *LAYOUTS[program])
    export_to(project, program, root)
    before = content(tmp_path)

    def stop(event: object) -> None:
        if isinstance(event, FoldStep) and event.done == 100:
            raise Cancelled

    with pytest.raises(Cancelled):
        export_to(project, program, root, "bf16", overwrite=True, sink=stop)
    assert content(tmp_path) == before


def failing_replace(number: int) -> Callable[[Path, Path], None]:
    """A rename that the system refuses the ``number``-th time."""
    real, count = os.replace, 0

    def replace(source: Path, target: Path) -> None:
        nonlocal count
        count += 1
        if count == number:
            raise PermissionError(13, "Permission denied", str(target))
        real(source, target)

    return replace


@pytest.mark.parametrize("number", range(1, 10))
@pytest.mark.parametrize("existing", [False, True])
def test_a_refusal_in_the_middle_puts_everything_back(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, *, existing: bool
) -> None:
    root = make(tmp_path / "webui", *FORGE)
    if existing:
        export_to(project, "forge", root, "bf16")
    before = content(root)
    monkeypatch.setattr("clora_ext.export.placing.os.replace", failing_replace(number))
    if number > 5 and not existing:  # five renames suffice when nothing is there
        export_to(project, "forge", root, overwrite=True)
        return
    with pytest.raises(StorageError, match="Permission denied"):
        export_to(project, "forge", root, overwrite=True)
    assert content(root) == before


def test_what_a_killed_export_left_does_not_matter(project: Path, tmp_path: Path) -> None:
    place = "models/checkpoints/my model"
    litter = (
        f"{place}.safetensors.clora-new",
        f"{place}.preview.png.clora-new",
        f"{place}.safetensors.clora-old",
    )
    root = make(tmp_path / "ComfyUI", *COMFYUI, *litter[:2], f"{place}.safetensors.clora-new.partial")
    exported = export_to(project, "comfyui", root)
    assert len(load_file(exported.path)) == 352
    make(root, litter[2])
    export_to(project, "comfyui", root, overwrite=True)
    assert new_files(root, *COMFYUI) == {f"{place}.safetensors", f"{place}.preview.png"}


@pytest.mark.parametrize("program", [*LAYOUTS, "diffusers"])
def test_space_is_checked_for_the_whole_set_before_the_first_byte(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    root = make(tmp_path / "root", *LAYOUTS.get(program, ()))
    before = content(tmp_path)
    size = 600_000
    monkeypatch.setattr("shutil.disk_usage", lambda path: _Usage(size))
    with pytest.raises(StorageError, match=r"not enough space in .*: [\d.]+ MB are needed, 0\.6 MB are free"):
        export_to(project, program, root, overwrite=True)
    assert content(tmp_path) == before


class _Usage:
    """What shutil.disk_usage says of an almost full disk."""

    def __init__(self, free: int) -> None:
        self.free = free


def test_the_needed_space_is_what_is_written(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make(tmp_path / "webui", *FORGE)
    needed = export_to(project, "forge", root).bytes
    monkeypatch.setattr("shutil.disk_usage", lambda path: _Usage(needed - 1))
    with pytest.raises(StorageError):
        export_to(project, "forge", root, overwrite=True)
    monkeypatch.setattr("shutil.disk_usage", lambda path: _Usage(needed + 4 * 8192))
    assert export_to(project, "forge", root, overwrite=True).bytes == needed


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the owner of everything may write anywhere")
def test_a_folder_without_permission_is_told(project: Path, tmp_path: Path) -> None:
    root = make(tmp_path / "ComfyUI", *COMFYUI)
    (root / "models" / "checkpoints").chmod(0o555)
    with pytest.raises(StorageError, match="Permission denied"):
        export_to(project, "comfyui", root)


def test_no_pictures_no_preview(base: Path, tmp_path: Path) -> None:
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
