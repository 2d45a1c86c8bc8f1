"""What is said of Z-Image's files alone: its other models, and where a variant is named beside the name."""

from pathlib import Path

import pytest
from cases import check_each
from flow_families import Z_IMAGE
from flow_family import Shapes
from published_files import hollow_file
from tiny_flow import write_tiny_flow

from clora_ext import families
from clora_ext.errors import CheckpointError, UsageError
from clora_ext.families.place import find_place
from clora_ext.families.variant import VARIANT_KEY, ToldVariant, tell_variant
from clora_ext.formats.header import Header
from clora_ext.formats.models import model_header
from clora_ext.formats.statements import Statement

FAMILY = families.load("z_image")


def test_its_relatives_are_refused_before_their_parts_are_looked_for(tmp_path: Path) -> None:
    def check(case: tuple[Shapes, str]) -> None:
        file = hollow_file(tmp_path / "x.safetensors", case[0])
        with pytest.raises(CheckpointError, match=case[1]):
            families.detect(find_place(file, {}).header(), file)

    check_each(Z_IMAGE.published.made_of_it(), check)


def test_a_model_that_lacks_a_part_says_which(tmp_path: Path) -> None:
    files = write_tiny_flow(tmp_path)
    header = model_header(files.transformer)
    with pytest.raises(CheckpointError, match="Qwen3-4B text encoder and VAE of Flux 1") as caught:
        FAMILY.check_loading(header, files.transformer)
    assert "--text-encoder-file FILE --vae-file FILE" in (caught.value.fix or "")


def told(name: str, metadata: dict[str, str] | None = None, *said: Statement) -> ToldVariant:
    found = tell_variant(FAMILY.title, FAMILY.variants, Path(name), Header({}, metadata or {}, 0, said))
    assert found is not None
    return found


def by_user(variant: str) -> Statement:
    return Statement("--variant", variant=variant)


def by_project(variant: str) -> Statement:
    return Statement("the project", variant=variant)


def test_a_folder_of_the_cache_says_turbo_and_silence_is_told() -> None:
    silent = told("z_image_bf16.safetensors").note
    assert silent == "taken for Base: nothing says which it is; if it is another, say --variant turbo"
    cached = told("models--Tongyi-MAI--Z-Image-Turbo/snapshots/0123/transformer")
    assert cached.variant.name == "turbo"


def test_metadata_says_what_a_name_does_not_and_the_user_has_the_last_word() -> None:
    title = {"modelspec.title": "Z-Image Turbo"}
    assert told("x.safetensors", title).source == "modelspec.title (Z-Image Turbo)"
    assert told("x.safetensors", title).variant.name == "turbo"
    assert told("z_image_base.safetensors", title).variant.name == "base"
    assert told("base_turbo.safetensors").source == ""  # two words, neither counts
    mine = told("z_image_turbo.safetensors", title, by_user("base"))
    assert (mine.variant.name, mine.note) == ("base", "taken for Base, as --variant says")
    with pytest.raises(UsageError, match="Z-Image has no variant 'trubo'") as caught:
        told("x.safetensors", None, by_user("trubo"))
    assert "turbo" in (caught.value.fix or "")
    sd1 = families.load("sd1")
    assert tell_variant(sd1.title, sd1.variants, Path("x_turbo.safetensors"), Header({})) is None
    with pytest.raises(UsageError, match="no variants"):
        tell_variant(sd1.title, sd1.variants, Path("x"), Header({}, {}, 0, (by_user("turbo"),)))


def test_what_a_project_has_recorded_counts_more_than_a_name() -> None:
    name = "z_image_base.safetensors"
    kept = told(name, None, by_project("turbo"))
    assert (kept.variant.name, kept.source) == ("turbo", "the project")
    corrected = told(name, None, by_user("base"), by_project("turbo"))
    assert (corrected.variant.name, corrected.source) == ("base", "--variant")
    with pytest.raises(UsageError, match="no variant 'omni', which the project names") as caught:
        told(name, None, by_project("omni"))
    assert "--variant" in (caught.value.fix or "")


def test_what_clora_wrote_into_a_file_counts_more_than_its_name() -> None:
    found = told("z_image_base.safetensors", {VARIANT_KEY: "turbo"})
    assert (found.variant.name, found.source) == ("turbo", "clora's own metadata")
    assert told("z_image_base.safetensors", {VARIANT_KEY: "unheard of"}).source.startswith("its name")
