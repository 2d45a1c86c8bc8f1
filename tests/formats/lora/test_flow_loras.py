"""LoRA files of flow matching: read in every dialect, fused or not; written so that diffusers takes all."""

from pathlib import Path
from typing import Any

import pytest
import torch
from cases import check_each
from flow_families import FLOW_FAMILIES, family_id
from flow_family import FlowFamily, Names
from lora_sites import random_factors
from published_files import published_file
from safetensors.torch import load_file, save_file
from tiny_flow import modules, write_tiny_flow
from torch import Tensor

from clora_ext import families
from clora_ext.adapters.factors import Factors
from clora_ext.adapters.sites import Site
from clora_ext.errors import CheckpointError
from clora_ext.formats.lora.kinds import kind_of
from clora_ext.formats.lora.metadata import Details
from clora_ext.formats.lora.names import NameTable
from clora_ext.formats.lora.reader import read_lora
from clora_ext.formats.lora.writer import write_lora
from clora_ext.formats.models import model_header


@pytest.fixture(scope="module", params=FLOW_FAMILIES, ids=family_id)
def family(request: pytest.FixtureRequest) -> FlowFamily:
    found: FlowFamily = request.param
    return found


@pytest.fixture(scope="module")
def sites(family: FlowFamily, tmp_path_factory: pytest.TempPathFactory) -> list[Site]:
    """All layers of a tiny model, and norms and biases."""
    file = write_tiny_flow(tmp_path_factory.mktemp("flow"), kind=family.name).transformer
    found = families.load(family.name).parameters(model_header(file))
    return [target.site for target in found]


@pytest.fixture
def layers(family: FlowFamily, sites: list[Site]) -> list[Site]:
    found = family.layers(sites)
    assert len(found) >= family.tiny
    return found


of_fused_layers = pytest.mark.parametrize(
    "family", [one for one in FLOW_FAMILIES if one.loras.fused], indirect=True, ids=family_id
)


def written(file: Path, factors: dict[Site, Factors], name: Names, ends: tuple[str, str]) -> Path:
    tensors: dict[str, Tensor] = {}
    for site, one in factors.items():
        stem = name(site)
        tensors |= {f"{stem}{ends[0]}.weight": one.down, f"{stem}{ends[1]}.weight": one.up}
        tensors[f"{stem.removesuffix('.lora_')}.alpha"] = torch.tensor(one.alpha)
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, file)
    return file


def test_every_dialect_is_read(
    family: FlowFamily, sites: list[Site], layers: list[Site], tmp_path: Path
) -> None:
    factors = random_factors(layers)

    def check(case: str) -> None:
        dialect, name = family.loras.dialects[case]
        ends = ("down", "up") if dialect == "kohya" else ("A", "B")
        found = read_lora(written(tmp_path / "x.safetensors", factors, name, ends), sites)
        assert found.dialect == dialect
        assert list(found.changes) == layers
        for site, change in found.factors.items():
            torch.testing.assert_close(change.delta(), factors[site].delta())

    check_each(family.loras.dialects, check)


@of_fused_layers
def test_one_adapter_of_queries_keys_and_values_is_cut_by_rows(
    family: FlowFamily, sites: list[Site], layers: list[Site], tmp_path: Path
) -> None:
    """And layers that diffusers stores in another way have the rows that their authors gave them."""
    wholes = {
        site.original: Site("transformer", site.original, site.original, (3 * site.shape[0], site.shape[1]))
        for site in layers
        if site.rows
    }
    others = [site for site in sites if site.original in family.loras.others and len(site.shape) == 2]
    assert len(others) == len(family.loras.others)
    factors = random_factors([*wholes.values(), *(site for site in layers if not site.rows), *others])

    def check(case: str) -> None:
        dialect, name = family.loras.fused[case]
        found = read_lora(written(tmp_path / "x.safetensors", factors, name, ("down", "up")), sites)
        assert found.dialect == dialect
        assert set(found.changes) == {*layers, *others}
        for site, change in found.factors.items():
            if site.rows is None:
                torch.testing.assert_close(change.delta(), factors[site].delta())
                continue
            part = factors[wholes[site.original]].delta()[slice(*site.rows)]
            torch.testing.assert_close(change.delta(), part)
            assert (change.rank, change.alpha) == (4, 2.0)
            assert site.module.endswith(family.loras.thirds[site.rows[0] // site.shape[0]])

    check_each(family.loras.fused, check)


def test_every_name_of_the_published_model_has_one_reading(family: FlowFamily, tmp_path: Path) -> None:
    header = model_header(published_file(tmp_path / "x.safetensors", family.name))
    found = [target.site for target in families.load(family.name).modules(header)]
    assert len(found) == family.published.sizes[0].counts[2]
    table = NameTable(found)
    names = [name for _, name in family.loras.dialects.values()]
    for site in found:
        if site.original in family.loras.others:
            continue
        stems = [name(site).removesuffix(".lora_").removeprefix("base_model.model.") for name in names]
        assert [place and place[1] for place in map(table.find, stems)] == [site] * len(stems)
    if family.loras.whole is not None:
        stem, dialect, shape = family.loras.whole
        whole = table.find(stem)
        assert whole is not None
        assert (whole[0], whole[1].shape) == (dialect, shape)


def test_files_of_other_models_are_refused_by_name(
    family: FlowFamily, sites: list[Site], tmp_path: Path
) -> None:
    def check(case: tuple[str, tuple[int, int], str]) -> None:
        stem, shape, words = case
        ends = ("down", "up") if stem.startswith("lora_") else ("A", "B")
        factors = random_factors([Site("transformer", "x", "x", shape)])
        file = written(tmp_path / "x.safetensors", factors, lambda site: f"{stem}.lora_", ends)
        with pytest.raises(CheckpointError, match=words):
            read_lora(file, sites)

    check_each(family.loras.strange, check)


@pytest.fixture
def ours(family: FlowFamily, layers: list[Site], tmp_path: Path) -> tuple[dict[Site, Factors], Path]:
    factors = random_factors(layers, rank=2, alpha=3.0)
    file = tmp_path / "ours.safetensors"
    write_lora(file, factors, family.name, Details("ours", trigger="sks dog"), dtype="F32")
    return factors, file


def test_written_names_are_those_that_most_programs_read(
    family: FlowFamily, ours: tuple[dict[Site, Factors], Path]
) -> None:
    factors, file = ours
    original = kind_of(family.name).original
    names = {f"{family.loras.stem}{site.original if original else site.module}" for site in factors}
    tensors = load_file(file)
    assert set(tensors) == {f"{name}.{part}" for name in names for part in family.loras.parts}
    assert family.loras.known in tensors


def test_written_files_come_back(
    family: FlowFamily, ours: tuple[dict[Site, Factors], Path], sites: list[Site]
) -> None:
    factors, file = ours
    found = read_lora(file, sites)
    assert (found.triggers, found.dialect) == (("sks dog",), family.loras.written)
    assert set(found.factors) == set(factors)
    for site, change in found.factors.items():
        torch.testing.assert_close(change.delta(), factors[site].delta())


def test_written_files_change_diffusers_model_alike(
    family: FlowFamily, ours: tuple[dict[Site, Factors], Path]
) -> None:
    factors, file = ours
    network: Any = modules(kind=family.name)["transformer"]
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = family.loras.loader.lora_state_dict(str(file))
    family.loras.loader.load_lora_into_transformer(state, network)
    network.fuse_lora()
    network.unload_lora()
    for site, one in factors.items():
        after = network.get_submodule(site.module).weight - before[f"{site.module}.weight"]
        torch.testing.assert_close(after, one.delta(), atol=1e-5, rtol=1e-4)


@of_fused_layers
def test_a_layer_named_alone_and_with_others_is_refused(
    family: FlowFamily, sites: list[Site], layers: list[Site], tmp_path: Path
) -> None:
    assert family.loras.mixed is not None
    queries = next(site for site in layers if site.rows and site.module.endswith("to_q"))
    whole = Site("transformer", queries.original, queries.original, (96, 32))
    dialect, name = family.loras.dialects[family.loras.mixed[0]]
    _, fused = family.loras.fused[family.loras.mixed[1]]
    factors = random_factors([queries, whole])
    ends = ("down", "up") if dialect == "kohya" else ("A", "B")
    file = written(
        tmp_path / "x.safetensors", factors, lambda site: (name if site == queries else fused)(site), ends
    )
    with pytest.raises(CheckpointError, match="change the same rows"):
        read_lora(file, sites)
