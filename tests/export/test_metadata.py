"""What an exported file says of itself: within bounds, harmless, and the same for every reader."""

import base64
import io
import json
from pathlib import Path

import pytest
from cases import check_each
from PIL import Image
from real_shapes import sdxl_header
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_model import RESOLUTION, write_tiny_model
from tiny_project import project_of

from clora_ext import Project, export_checkpoint, families, inspect_file
from clora_ext.export.card import SMALL, make_card
from clora_ext.export.metadata import LARGEST_HEADER, make_metadata
from clora_ext.export.thumbnail import LARGEST_URL, data_url, drawings, preview

DOGS = [("sks", "dog"), ("zwz", "toy robot")]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("base") / "tiny, model.safetensors")


def metadata_of(file: Path) -> dict[str, str]:
    """As the safetensors library reads it."""
    with safe_open(file, "pt") as opened:
        return dict(opened.metadata())


def header_bytes(file: Path) -> int:
    return int.from_bytes(file.read_bytes()[:8], "little")


def exported(project: Path, name: str = "x") -> Path:
    return export_checkpoint(project, project.parent / f"{name}.safetensors").path


def jpeg(url: str) -> Image.Image:
    start, encoded = url.split(",")
    assert start == "data:image/jpeg;base64"
    image = Image.open(io.BytesIO(base64.b64decode(encoded, validate=True)))
    image.load()
    assert image.format == "JPEG"
    return image


def test_the_file_says_what_it_is(base: Path, tmp_path: Path) -> None:
    said = metadata_of(exported(project_of(tmp_path / "p", base, DOGS)))
    spec = {key.removeprefix("modelspec."): value for key, value in said.items() if "modelspec." in key}
    assert spec["sai_model_spec"] == "1.0.1"
    assert spec["architecture"] == SMALL
    assert spec["title"] == "zwz toy robot and 1 more (clora)"
    assert spec["trigger_phrase"] == "sks dog, zwz toy robot"
    assert spec["tags"] == "clora, dog, toy robot"
    assert spec["resolution"] == f"{RESOLUTION}x{RESOLUTION}"
    assert spec["date"] == "2026-01-03T12:00:00+00:00"
    assert spec["prediction_type"] == spec["predict_key"] == "epsilon"
    assert spec["merged_from"].startswith("tiny  model.safetensors (sha256 ")
    assert "2 concepts" in spec["description"]
    assert jpeg(spec["thumbnail"]).size == (512, 512)


def test_the_history_is_an_object_that_web_interfaces_show_as_a_tree(base: Path, tmp_path: Path) -> None:
    text = metadata_of(exported(project_of(tmp_path / "p", base, DOGS)))["clora.history"]
    assert text.startswith("{")
    first, second = json.loads(text)["concepts"]
    assert (first["token"], first["class"], first["strategy"]) == ("sks", "dog", "mask")
    assert (second["steps"], second["rank"], second["learning_rate"], second["pictures"]) == (200, 4, 1e-3, 1)
    assert second["created"] == "2026-01-03T12:00:00+00:00"


def test_nothing_private_is_passed_on(base: Path, tmp_path: Path) -> None:
    content = exported(project_of(tmp_path / "secret place", base, DOGS)).read_bytes()
    for private in (b"private name", b"private caption", b"secret place", str(base.parent).encode()):
        assert private not in content


def test_inspecting_the_file_shows_what_was_learned(base: Path, tmp_path: Path) -> None:
    report = inspect_file(exported(project_of(tmp_path / "p", base, DOGS)))
    assert (report.title, report.architecture) == ("zwz toy robot and 1 more (clora)", SMALL)
    assert report.trigger_phrase == "sks dog, zwz toy robot"
    assert [(entry["token"], entry["class"], entry["steps"]) for entry in report.history] == [
        ("sks", "dog", "200"),
        ("zwz", "toy robot", "200"),
    ]


def test_a_malformed_history_is_ignored(base: Path, tmp_path: Path) -> None:
    tensors = load_file(base)

    def check(history: str) -> None:
        save_file(tensors, tmp_path / "x.safetensors", {"clora.history": history})
        assert inspect_file(tmp_path / "x.safetensors").history == ()

    malformed = ['{"concepts": 3}', '{"concepts": [1, null, "x"]}', '{"concepts": {"token": "sks"}}']
    check_each([*malformed, "{}", "null", ""], check)


@pytest.mark.long
def test_two_hundred_concepts_are_all_named(base: Path, tmp_path: Path) -> None:
    concepts = [(f"token{number}", f"class number {number}") for number in range(200)]
    file = exported(project_of(tmp_path / "p", base, concepts))
    said = metadata_of(file)
    entries = json.loads(said["clora.history"])["concepts"]
    assert [entry["token"] for entry in entries] == [token for token, _ in concepts]
    assert all(entry["steps"] == 200 for entry in entries)
    assert header_bytes(file) < LARGEST_HEADER
    assert said["modelspec.trigger_phrase"].endswith("more")
    assert "token199 class number 199" in said["modelspec.trigger_phrase"]
    assert all(len(said[f"modelspec.{key}"]) < 5000 for key in ("trigger_phrase", "tags", "description"))
    jpeg(said["modelspec.thumbnail"])


@pytest.mark.long
def test_the_largest_history_leaves_the_newest_concepts(base: Path, tmp_path: Path) -> None:
    concepts = [(f"{number}{'x' * 300}", "y" * 300) for number in range(6000)]
    file = exported(project_of(tmp_path / "p", base, concepts, sheets=False))
    history = json.loads(metadata_of(file)["clora.history"])
    assert header_bytes(file) < LARGEST_HEADER
    assert history["left_out"] + len(history["concepts"]) == 6000
    assert history["concepts"][-1]["token"].startswith("5999x")


def test_what_others_wrote_into_the_base_stays_unless_it_is_too_much(base: Path, tmp_path: Path) -> None:
    kept = {"ss_output_name": "mine", "modelspec.title": "the base", "modelspec.license": "some licence"}
    for name, more in (("small", {}), ("large", {"prompt": "{" + "x" * LARGEST_HEADER})):
        own = metadata_of(base)
        save_file(load_file(base), tmp_path / f"{name}.safetensors", {**own, **kept, **more})
        file = exported(project_of(tmp_path / name, tmp_path / f"{name}.safetensors", DOGS), f"{name}-x")
        said = metadata_of(file)
        assert said["modelspec.title"] == "zwz toy robot and 1 more (clora)"
        assert said["modelspec.license"] == "some licence"
        assert said["clora.config"] == own["clora.config"]
        assert ("ss_output_name" in said) == (name == "small")
        assert header_bytes(file) < LARGEST_HEADER


def test_a_header_as_long_as_that_of_stable_diffusion_xl_keeps_its_thumbnail(
    base: Path, tmp_path: Path
) -> None:
    header = sdxl_header()
    assert len(header.tensors) == 2513
    concepts = [(f"t{i}", "dog") for i in range(200)]
    project = Project.open(project_of(tmp_path / "p", base, concepts, sheets=False))
    assert project.base is not None
    noise = [Image.effect_noise((512, 512), 90.0).convert("RGB") for _ in range(16)]
    card = make_card(project.base, project.concepts, families.load("sdxl"), header, None)
    said = make_metadata(card, project.base, project.concepts, {}, data_url(noise), header.tensors)
    assert "modelspec.thumbnail" in said
    assert len(json.loads(said["clora.history"])["concepts"]) == 200


HOSTILE = [
    ("../../etc/passwd", "dog"),
    ("[sks],", "<script>alert(1)</script>"),
    ("🐕", "犬"),
    ("{", "}"),
    ("x" * 300, "y" * 300),
    ('"\\', "modelspec.hash_sha256"),
]


def test_hostile_names_of_concepts_do_no_harm(base: Path, tmp_path: Path) -> None:
    file = exported(project_of(tmp_path / "p", base, HOSTILE))
    said = metadata_of(file)
    entries = json.loads(said["clora.history"])["concepts"]
    assert [entry["token"] for entry in entries] == [token[:200] for token, _ in HOSTILE]
    assert max(map(len, said["modelspec.trigger_phrase"].split(", "))) < 200
    assert all(value.isprintable() for key, value in said.items() if key.startswith("modelspec."))
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["x.safetensors"]


def test_a_lone_surrogate_in_the_metadata_of_the_base_is_left_out(base: Path, tmp_path: Path) -> None:
    content = base.read_bytes()
    length = int.from_bytes(content[:8], "little")
    text = content[8 : 8 + length].decode().rstrip()
    text = text.replace('{"__metadata__":{', '{"__metadata__":{"bad":"\\ud800","good":"\\u00e9",')
    (tmp_path / "b.safetensors").write_bytes(
        len(text.encode()).to_bytes(8, "little") + text.encode() + content[8 + length :]
    )
    said = metadata_of(exported(project_of(tmp_path / "p", tmp_path / "b.safetensors", DOGS)))
    assert said["good"] == "é"
    assert "bad" not in said


def test_the_preview_shows_drawings_and_never_training_pictures(base: Path, tmp_path: Path) -> None:
    project = project_of(tmp_path / "p", base, [*DOGS, ("a", "b"), ("c", "d")])
    sheets = sorted((project / "sheets").iterdir())
    with Image.open(io.BytesIO(preview(drawings(sheets)) or b"")) as image:
        assert (image.format, image.size) == ("PNG", (512, 512))
        cells = [image.getpixel(place) for place in ((128, 128), (384, 128), (128, 384), (384, 384))]
        colours = {colour for _, colour in image.getcolors(512 * 512)}
    assert cells == [(0, 0, 255), (255, 165, 0), (128, 0, 128), (0, 128, 128)]
    assert colours == set(cells)


def test_a_sheet_that_is_damaged_costs_only_its_picture(base: Path, tmp_path: Path) -> None:
    project = project_of(tmp_path / "p", base, [*DOGS, ("a", "b"), ("c", "d"), ("e", "f")])
    first, second, third, fourth, _ = sorted((project / "sheets").iterdir())
    first.write_bytes(b"no picture")
    second.write_bytes(third.read_bytes()[:300])
    Image.new("RGB", (100, 100)).save(third)
    fourth.unlink()
    found = drawings(sorted([first, second, third, fourth, *project.glob("sheets/005*")]))
    assert len(found) == 1
    jpeg(metadata_of(exported(project))["modelspec.thumbnail"])


def test_without_contact_sheets_there_is_no_thumbnail(base: Path, tmp_path: Path) -> None:
    said = metadata_of(exported(project_of(tmp_path / "p", base, DOGS, sheets=False)))
    assert "modelspec.thumbnail" not in said
    assert preview([]) is None


def test_a_thumbnail_is_never_long() -> None:
    def check(count: int) -> None:
        noise = [Image.effect_noise((512, 512), 120.0).convert("RGB") for _ in range(count)]
        url = data_url(noise)
        assert url is not None
        assert len(url) <= LARGEST_URL
        jpeg(url)

    check_each([1, 4, 16], check)
