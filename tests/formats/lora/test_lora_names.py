"""Names of LoRA layers against sd-scripts' own lists and against the published models."""

from collections import defaultdict
from functools import cache

import pytest
from cases import check_each
from hypothesis import given
from hypothesis import strategies as st
from lora_sites import golden_names, published, sites_of

from clora_ext.adapters.sites import Site
from clora_ext.errors import UsageError
from clora_ext.formats.lora.keys import parse_key
from clora_ext.formats.lora.kinds import KINDS, kind_of
from clora_ext.formats.lora.names import DIALECTS, NameTable, join, stems
from clora_ext.formats.lora.writer import kohya_name

FAMILIES = ["sd1", "sdxl"]


@cache
def sites(family: str) -> list[Site]:
    return sites_of(published(family))


def test_our_names_are_sd_scripts_names() -> None:
    def check(case: tuple[str, int]) -> None:
        family, count = case
        names = [kohya_name(site, KINDS[family]) for site in sites(family)]
        assert len(set(names)) == len(names) == count
        assert sorted(names) == sorted(golden_names(family))

    check_each([("sd1", 264), ("sdxl", 986)], check)


def test_every_golden_name_finds_its_site_back() -> None:
    def check(family: str) -> None:
        table = NameTable(sites(family))
        found = {name: table.find(name) for name in golden_names(family)}
        assert all(place is not None and place[0] == "kohya" for place in found.values())
        by_site = {place[1]: name for name, place in found.items() if place}
        assert by_site == {site: kohya_name(site, KINDS[family]) for site in sites(family)}

    check_each(FAMILIES, check)


def test_no_name_stands_for_two_sites_or_two_dialects() -> None:
    def check(family: str) -> None:
        places = defaultdict(set)
        for site in sites_of(published(family), everywhere=True):
            for dialect, stem in stems(site):
                places[stem].add((dialect, site))
        clashes = {stem for stem, found in places.items() if len(found) > 1}
        # Only PEFT's own files, which do not say which of two text encoders they are of.
        encoders = {site.component for site in sites(family)} - {"unet"}
        assert (clashes == set()) == (len(encoders) == 1)
        bare = ("text_model.", "encoder.")
        assert all(stem.startswith(bare) for stem in clashes)
        table = NameTable(sites(family))
        assert all(table.find(stem) is None for stem in clashes)

    check_each(FAMILIES, check)


def test_both_block_namings_are_read_for_both_families() -> None:
    def check(family: str) -> None:
        table = NameTable(sites(family))
        for site in sites(family):
            for path in (site.module, site.original) if site.component == "unet" else ():
                assert table.find(join("lora_unet_", path)) == ("kohya", site)

    check_each(FAMILIES, check)


def test_text_encoders_are_found_without_their_prefix() -> None:
    table = NameTable(sites("sdxl"))
    for stem, component in {
        "lora_te1_encoder_layers_3_mlp_fc1": "text_encoder",
        "text_encoder.encoder.layers.3.mlp.fc1": "text_encoder",
        "text_encoder_2.text_model.encoder.layers.31.self_attn.to_out": "text_encoder_2",
        "clip_g.text_model.encoder.layers.3.mlp.fc1": "text_encoder_2",
        "text_encoders.clip_g.transformer.text_model.encoder.layers.3.mlp.fc1": "text_encoder_2",
    }.items():
        place = table.find(stem)
        assert place is not None
        assert place[1].component == component


ENDINGS = {
    ".lora_down.weight": "down", ".lora_up.weight": "up", ".alpha": "alpha",
    ".lora_A.weight": "down", ".lora_B.weight": "up", ".lora_A.default_0.weight": "down",
    ".lora.down.weight": "down", ".lora.up.weight": "up",
    "_lora.down.weight": "down", "_lora.up.weight": "up", "_lora.alpha": "alpha",
    ".lora_linear_layer.down.weight": "down", ".lora_linear_layer.up.weight": "up",
    ".lora_mid.weight": "mid", ".hada_w1_a": "hada_w1_a", ".hada_t2": "hada_t2", ".lokr_w1": "lokr_w1",
    ".lokr_w2_b": "lokr_w2_b", ".lokr_t2": "lokr_t2", ".diff": "diff", ".diff_b": "diff_b",
    ".w_norm": "w_norm", ".b_norm": "b_norm", ".dora_scale": "dora_scale",
    ".lora_magnitude_vector": "lora_magnitude_vector",
    ".lora_magnitude_vector.default.weight": "lora_magnitude_vector",
}  # fmt: skip

WRAPPED = {
    "unet.base_model.model.conv_in": "unet.conv_in",
    "base_model.model.unet.conv_in": "unet.conv_in",
    "base_model.model.conv_in": "conv_in",
    "unet.unet.conv_in": "unet.conv_in",
    "text_encoder_2.text_encoder_2.text_projection": "text_encoder_2.text_projection",
    "_orig_mod.unet.conv_in": "unet.conv_in",
    "unet._orig_mod.conv_in": "unet.conv_in",
    "module.unet.conv_in": "unet.conv_in",
    "lora_unet__orig_mod_conv_in": "lora_unet_conv_in",
}


def test_what_a_model_was_wrapped_in_is_left_out() -> None:
    found = {stem: parse_key(f"{stem}.lora_A.weight") for stem in WRAPPED}
    assert {stem: key.stem for stem, key in found.items() if key} == WRAPPED


def test_lycoris_own_prefix_is_a_unets() -> None:
    site = sites("sdxl")[0]
    assert NameTable(sites("sdxl")).find(join("lycoris_", site.module)) == ("kohya", site)


@given(
    st.sampled_from([stem for site in sites("sdxl") for _, stem in stems(site)]), st.sampled_from([*ENDINGS])
)
def test_names_are_taken_apart_again(stem: str, ending: str) -> None:
    key = parse_key(stem + ending)
    assert key is not None
    assert (key.stem, key.role) == (stem, ENDINGS[ending])


def test_other_names_are_no_keys() -> None:
    others = {"model.diffusion_model.out.2.weight", "x.hada_w3_a", "x.lokr_t1", "x.diff_w", "diff"}
    others |= {"alpha", ".alpha", "lora_up.weight"}
    assert {name: parse_key(name) for name in others} == dict.fromkeys(others)


def test_processors_are_left_out() -> None:
    key = parse_key("unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.up.weight")
    assert key is not None
    assert key.stem == "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_out"
    place = NameTable(sites("sd1")).find(key.stem)
    assert place is not None
    assert place[1].module == "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0"


def test_every_dialect_names_every_component() -> None:
    components = {"unet", "text_encoder", "text_encoder_2", "transformer"}
    assert all(set(rows) == components and all(rows.values()) for rows in DIALECTS.values())


def test_a_family_without_names_is_refused() -> None:
    with pytest.raises(UsageError, match="'sd3'") as caught:
        kind_of("sd3")
    assert "sdxl" in caught.value.fix


def test_a_component_that_the_family_lacks_is_refused() -> None:
    second = next(site for site in sites("sdxl") if site.component == "text_encoder_2")
    with pytest.raises(UsageError, match="text_encoder_2"):
        kohya_name(second, KINDS["sd1"])
