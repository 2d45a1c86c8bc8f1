"""Models of flow matching: known by names and shapes among all others, configured as they are published."""

from math import prod
from pathlib import Path
from typing import Any

import pytest
from cases import check_each
from flow_families import FLOW_FAMILIES, family_id
from flow_family import FlowFamily, Shapes, Size, on_meta, plain
from published_files import hollow_file, published_file, published_shapes
from tiny_flow_kinds import KINDS

from clora_ext import families
from clora_ext.config.settings import TargetSet
from clora_ext.errors import CheckpointError, UsageError
from clora_ext.families.family_data import family_data
from clora_ext.families.place import find_place
from clora_ext.families.variant import tell_variant
from clora_ext.formats.flow_keys import FLOW_PREFIX, qwen3_table
from clora_ext.formats.header import Header, TensorInfo
from clora_ext.formats.models import model_header
from clora_ext.formats.prediction import say
from clora_ext.formats.statements import Statement

SIZES = [(family, size) for family in FLOW_FAMILIES for size in family.published.sizes]

by_family = pytest.mark.parametrize("family", FLOW_FAMILIES, ids=family_id)
by_size = pytest.mark.parametrize(("family", "size"), SIZES, ids=[size.name for _, size in SIZES])


def published(folder: Path, family: FlowFamily, size: Size) -> Path:
    """All files of a published model, as ComfyUI keeps them, without their weights."""
    vae, golden, _ = family.published.vae
    published_file(folder / "text_encoders" / f"{size.encoder[0]}.safetensors", size.encoder[1])
    published_file(folder / "vae" / f"{vae}.safetensors", golden, dtype="F32")
    return published_file(folder / "diffusion_models" / f"{size.name}.safetensors", size.name)


@by_size
def test_a_published_file_is_known_whatever_its_names(family: FlowFamily, size: Size, tmp_path: Path) -> None:
    def check(case: tuple[str, str]) -> None:
        layout, prefix = case
        header = model_header(published_file(tmp_path / "x.safetensors", size.name + layout, prefix=prefix))
        assert [one for one in families.names() if families.load(one).matches(header)] == [size.name]
        assert families.detect(header, tmp_path).architecture(header) == size.architecture
        assert {key.removeprefix(FLOW_PREFIX): info.shape for key, info in header.tensors.items()} == (
            published_shapes(size.name)
        )

    check_each(family.published.layouts, check)


@by_size
def test_shapes_tell_the_published_configuration(family: FlowFamily, size: Size, tmp_path: Path) -> None:
    found = find_place(published(tmp_path, family, size), {})
    detected: Any = families.detect(found.header(), found.path)
    config = detected.config(found.header(), found.path)
    vae = on_meta(family.published.vae[2])
    assert config["transformer"] == plain(on_meta(size.transformer))
    assert config["text_encoder"] == size.text
    assert len(set(config["vae"]) - set(family_data(size.name)["vae"])) > 3  # that its shapes tell
    assert plain(on_meta(lambda: type(vae).from_config(config["vae"]))) == plain(vae)
    assert detected.size_multiple(found.header()) == 16
    detected.check_loading(found.header(), found.path)


@by_size
def test_every_tensor_has_one_place_and_every_parameter_one_tensor(family: FlowFamily, size: Size) -> None:
    def check(case: tuple[str, Any]) -> None:
        original, table = case
        shapes, ours = published_shapes(original), published_shapes(f"{original}_diffusers")
        shapes = {name: shape for name, shape in shapes.items() if not name.startswith(table.apart)}
        held: dict[str, int] = {}
        for name, shape in ours.items():
            place = table.place(name)
            stored = shapes[place.tensor.removeprefix(table.prefix)]
            if not stored:
                held[place.tensor] = 0
                continue
            height = stored[0] // place.part[1]
            if place.flat:
                assert stored == (prod(shape),)
                held[place.tensor] = height
                continue
            flat = stored[:2] if stored[2:] == (1, 1) and len(shape) == 2 else stored
            assert (height, *flat[1:]) == shape
            held[place.tensor] = held.get(place.tensor, 0) + height
        assert held == {table.prefix + name: shape[0] if shape else 0 for name, shape in shapes.items()}

    _, vae, module = family.published.vae
    tables = KINDS[family.name].tables
    transformer = tables[0](plain(on_meta(size.transformer)))
    check_each([(size.name, transformer), (vae, tables[1](plain(on_meta(module))))], check)
    golden = set(published_shapes(size.encoder[1]))
    golden = {name.replace(".language_model.", ".") for name in golden if ".visual." not in name}
    body = {name for name in golden if "lm_head" not in name}
    assert {qwen3_table("").place(name.removeprefix("model.")).tensor for name in body} == body


@by_family
def test_parameters_stand_where_the_authors_put_them(family: FlowFamily) -> None:
    published = family.published
    table = KINDS[family.name].tables[0](plain(on_meta(published.sizes[0].transformer)))
    places = {name: table.place(name) for name in published.by_hand}
    found = {name: (one.tensor.removeprefix(FLOW_PREFIX), one.part) for name, one in places.items()}
    assert found == published.by_hand
    assert [name for name, one in places.items() if one.swapped] == published.swapped


@by_family
def test_relatives_are_refused_by_name(family: FlowFamily, tmp_path: Path) -> None:
    def check(golden: str) -> None:
        file = published_file(tmp_path / "x.safetensors", golden)
        header = model_header(file)
        assert families.recognise(header) is None
        with pytest.raises(CheckpointError, match=family.published.relatives[golden]):
            families.detect(header, file)

    check_each(family.published.relatives, check)


@by_family
def test_what_was_made_of_it_for_something_else_is_refused_by_name(
    family: FlowFamily, tmp_path: Path
) -> None:
    def check(case: tuple[Shapes, str]) -> None:
        file = hollow_file(tmp_path / "x.safetensors", case[0])
        with pytest.raises(CheckpointError, match=case[1]):
            families.detect(model_header(file), file)

    check_each(family.published.made_of_it(), check)
    eight = published_file(tmp_path / "x.safetensors", family.name, dtype="F8_E4M3")
    with pytest.raises(CheckpointError, match="8 bits"):
        find_place(eight, {})


@by_family
def test_a_statement_of_diffusion_does_not_fit(family: FlowFamily) -> None:
    header = Header(
        {FLOW_PREFIX + n: TensorInfo("BF16", s, 0, 0) for n, s in published_shapes(family.name).items()}
    )
    assert families.load(family.name).prediction(header).kind == "flow"
    with pytest.raises(CheckpointError, match="predicts a flow"):
        families.detect(say(header, Statement("--prediction", "v")), Path("x"))


@by_size
def test_what_is_taught(family: FlowFamily, size: Size, tmp_path: Path) -> None:
    loaded = families.load(size.name)
    header = model_header(published_file(tmp_path / "x.safetensors", size.name))
    counts: dict[TargetSet, int] = {"attention": size.counts[0], "transformer": size.counts[1]}
    for chosen, count in counts.items():
        found = loaded.targets(header, chosen, text_encoders=False)
        assert len(found) == count
        assert all(family.blocks in f".{target.module}" for target in found)
    assert len(loaded.modules(header)) == size.counts[2]
    for asked in ({"text_encoders": True}, {"text_encoders": False, "convolutions": True}):
        with pytest.raises(UsageError):
            loaded.targets(header, "attention", **asked)


@pytest.mark.parametrize("family", [one for one in FLOW_FAMILIES if one.published.cut], ids=family_id)
def test_of_a_part_of_a_tensor_it_is_told_which(family: FlowFamily, tmp_path: Path) -> None:
    assert family.published.cut is not None
    module, rows, shape, original = family.published.cut
    header = model_header(published_file(tmp_path / "x.safetensors", family.name))
    keys = next(one for one in families.load(family.name).modules(header) if one.module == module)
    assert (keys.rows, keys.shape, keys.original) == (rows, shape, original)


@by_family
def test_a_name_that_says_the_variant_is_believed_and_advised(family: FlowFamily) -> None:
    loaded = families.load(family.name)
    words, suggested = family.published.advised
    for number, (name, variant, says) in enumerate(family.published.variants):
        found = tell_variant(loaded.title, loaded.variants, Path(f"{name}.safetensors"), Header({}))
        assert found is not None
        assert (found.variant.name, found.source) == (variant, f"its name {name}.safetensors" if says else "")
        if number == 0:
            assert all(one in found.note for one in words)
            assert found.variant.suggested == suggested
