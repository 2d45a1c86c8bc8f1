"""kohya files that we write: names, numbers, metadata and hashes, by other people's rules."""

import hashlib
import json
import math
import os
from datetime import datetime, timezone
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import check_each
from hypothesis import given
from hypothesis import strategies as st
from lora_sites import golden_names, published, random_factors, sites_of, tiny
from safetensors import safe_open
from safetensors.torch import load_file, save

from clora_ext.adapters.factors import Factors
from clora_ext.adapters.sites import Site
from clora_ext.errors import CheckpointError, UsageError
from clora_ext.formats.checkpoint import Checkpoint, content_hash
from clora_ext.formats.lora.metadata import Details
from clora_ext.formats.lora.reader import read_lora
from clora_ext.formats.lora.writer import write_lora

DETAILS = Details("rex", trigger="sks dog", resolution=64, tags={"10_sks dog": {"sks dog": 3}})
DTYPES = {"F16": (torch.float16, 1e-3), "BF16": (torch.bfloat16, 1e-2), "F32": (torch.float32, 1e-6)}


@cache
def sites(family: str = "sd1") -> list[Site]:
    return sites_of(tiny(family), everywhere=True)


def metadata_of(file: Path) -> dict[str, str]:
    with safe_open(file, "pt") as opened:
        found: dict[str, str] = opened.metadata()
        return found


@pytest.mark.long
def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    def check(case: tuple[str, str]) -> None:
        family, dtype = case
        factors = random_factors(sites(family), rank=4, alpha=3.0)
        written = write_lora(tmp_path / "x.safetensors", factors, family, DETAILS, dtype=dtype)
        read = read_lora(written.path, sites(family))
        assert (read.dialect, read.name, read.triggers, read.notes) == ("kohya", "rex", ("sks dog",), ())
        assert list(read.factors) == sites(family)
        assert written.modules == len(factors)
        for site, adapter in factors.items():
            error = (read.factors[site].delta() - adapter.delta()).norm()
            assert float(error) <= DTYPES[dtype][1] * float(adapter.delta().norm())
            assert read.factors[site].alpha == 3.0

    check_each(product(("sd1", "sdxl"), DTYPES), check)


def test_names_and_shapes_are_sd_scripts_own(tmp_path: Path) -> None:
    """On published shapes, with the narrowest adapter."""

    def check(family: str) -> None:
        factors = {
            site: Factors(torch.zeros(1, site.matrix[1]), torch.zeros(site.matrix[0], 1), 1.0)
            for site in sites_of(published(family))
        }
        written = write_lora(tmp_path / "x.safetensors", factors, family, DETAILS)
        endings = ("lora_down.weight", "lora_up.weight", "alpha")
        file = Checkpoint(written.path)
        expected = [f"{name}.{end}" for name in golden_names(family) for end in endings]
        assert sorted(file.names) == sorted(expected)
        entry = {"sd1": "down_blocks_0_attentions_0", "sdxl": "input_blocks_4_1"}[family]
        kernel = {"sd1": (1, 1), "sdxl": ()}[family]
        width = {"sd1": 320, "sdxl": 640}[family]
        assert file.info(f"lora_unet_{entry}_proj_in.lora_down.weight").shape == (1, width, *kernel)
        assert file.info(f"lora_unet_{entry}_proj_in.lora_up.weight").shape == (width, 1, *kernel)
        assert file.info(f"lora_unet_{entry}_proj_in.alpha").shape == ()
        assert {info.dtype for info in file.header.tensors.values()} == {"F16"}

    check_each(["sd1", "sdxl"], check)


def test_a_convolution_keeps_its_kernel(tmp_path: Path) -> None:
    site = next(site for site in sites() if site.shape[2:] == (3, 3))
    written = write_lora(tmp_path / "x.safetensors", random_factors([site]), "sd1", DETAILS)
    down, up = (
        next(tensor for name, tensor in load_file(written.path).items() if part in name)
        for part in ("lora_down", "lora_up")
    )
    assert tuple(down.shape) == (4, *site.shape[1:])
    assert tuple(up.shape) == (site.shape[0], 4, 1, 1)


def test_a_words_embedding_is_bundled_under_the_names_of_the_encoders(tmp_path: Path) -> None:
    """SDXL's has two parts, in one web interface both or none."""
    vectors = {"text_encoder": torch.ones(2, 3), "text_encoder_2": torch.full((2, 5), 2.0)}
    one = random_factors(sites("sdxl")[:1])
    written = write_lora(tmp_path / "x.safetensors", one, "sdxl", DETAILS, embeddings={"sks": vectors})
    stored = load_file(written.path)
    assert written.words == ("sks",)
    assert torch.equal(stored["bundle_emb.sks.clip_l"].float(), vectors["text_encoder"])
    assert torch.equal(stored["bundle_emb.sks.clip_g"].float(), vectors["text_encoder_2"])


def one(alpha: float, rank: int = 3, scale: float = 1.0) -> dict[Site, Factors]:
    site = next(site for site in sites() if site.module.endswith("to_q"))
    adapter = random_factors([site], rank, alpha)[site]
    return {site: Factors(adapter.down, adapter.up * scale, alpha)}


@given(alpha=st.floats(-1e9, 1e9), rank=st.integers(1, 9), dtype=st.sampled_from([*DTYPES]))
def test_any_alpha_is_applied_at_its_strength(
    tmp_path_factory: pytest.TempPathFactory, alpha: float, rank: int, dtype: str
) -> None:
    """By sd-scripts' rule on the stored numbers, whatever the file is cast to later."""
    ((site, adapter),) = one(alpha, rank, 1 / max(abs(alpha), 1)).items()
    file = tmp_path_factory.getbasetemp() / "alpha.safetensors"
    write_lora(file, {site: adapter}, "sd1", DETAILS, dtype=dtype)
    tensors = {name.rpartition("lora_")[2]: tensor for name, tensor in load_file(file).items()}
    stored = next(tensor for name, tensor in load_file(file).items() if name.endswith(".alpha"))
    assert stored.dtype == DTYPES[dtype][0]
    assert float(stored) > 0
    up, down = tensors["up.weight"].double(), tensors["down.weight"].double()
    expected = alpha / rank * (adapter.up.double() @ adapter.down.double())
    error = float((float(stored) / down.shape[0] * up @ down - expected).norm())
    # Beneath what the dtype can hold at all, nothing is asked.
    assert error <= DTYPES[dtype][1] * float(expected.norm()) + 1e-6


def test_rounding_alpha_does_not_change_the_strength(tmp_path: Path) -> None:
    """Rounding the factors scatters; rounding alpha would shift everything by up to 2e-4 or 2e-3."""
    site = Site("unet", "conv_in", "input_blocks.0.0", (512, 512))

    def check(case: tuple[float, tuple[str, float]]) -> None:
        alpha, (dtype, off) = case
        factors = random_factors([site], 8, alpha)
        write_lora(tmp_path / "x.safetensors", factors, "sd1", DETAILS, dtype=dtype)
        read = read_lora(tmp_path / "x.safetensors", [site]).factors[site].delta().double()
        expected = factors[site].delta().double()
        assert abs(float((read * expected).sum() / expected.square().sum()) - 1) < off

    check_each(product([0.1, 3.3, 2049.0], [("F16", 2e-5), ("BF16", 2e-4), ("F32", 1e-6)]), check)


def test_an_alpha_that_the_dtype_holds_is_kept(tmp_path: Path) -> None:
    def check(alpha: float) -> None:
        write_lora(tmp_path / "x.safetensors", one(alpha), "sd1", DETAILS)
        assert metadata_of(tmp_path / "x.safetensors")["ss_network_alpha"] == str(alpha)
        (read,) = read_lora(tmp_path / "x.safetensors", sites()).factors.values()
        assert read.alpha == alpha

    check_each([1.0, 8.0, 0.5, 2048.0], check)


def test_small_factors_lose_no_more_than_large_ones(tmp_path: Path) -> None:
    """A trained ``up`` starts at zero and is often below 6e-5, where fp16 has few digits left."""
    for scale in (1.0, 1e-5, 1e-6):
        ((site, adapter),) = one(1.0, scale=scale).items()
        write_lora(tmp_path / "x.safetensors", {site: adapter}, "sd1", DETAILS)
        read = read_lora(tmp_path / "x.safetensors", sites()).factors[site]
        assert float((read.delta() - adapter.delta()).norm()) <= 5e-4 * float(adapter.delta().norm())


def test_hashes_are_what_web_interfaces_compute(tmp_path: Path) -> None:
    site = Site("unet", "conv_in", "input_blocks.0.0", (2048, 512))
    written = write_lora(tmp_path / "x.safetensors", random_factors([site], 256), "sd1", DETAILS)
    content = written.path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    metadata = metadata_of(written.path)
    assert metadata["sshs_model_hash"] == hashlib.sha256(content[8 + length :]).hexdigest()
    assert metadata["sshs_model_hash"] == written.model_hash
    before = {key: text for key, text in metadata.items() if key.startswith("ss_")}
    serialised = save(load_file(written.path), before)
    assert len(serialised) > 0x110000
    legacy = hashlib.sha256(serialised[0x100000:0x110000]).hexdigest()[:8]
    assert metadata["sshs_legacy_hash"] == legacy
    assert written.content_hash == content_hash(Checkpoint(written.path))
    assert written.bytes == len(content)


def test_a_small_file_has_the_legacy_hash_of_nothing(tmp_path: Path) -> None:
    write_lora(tmp_path / "x.safetensors", one(1.0), "sd1", DETAILS)
    assert metadata_of(tmp_path / "x.safetensors")["sshs_legacy_hash"] == "e3b0c442"


def test_metadata_says_what_web_interfaces_ask(tmp_path: Path) -> None:
    details = Details(
        "rex", trigger="sks dog", description="A dog.", base_name="base.safetensors", base_hash="ab",
        prediction="v", tags={"b": {"y": 2}, "a": {"é": 1}}, extra={"clora.history": "[]"},
        date=datetime(2024, 5, 6, 7, 8, 9, tzinfo=timezone.utc),
    )  # fmt: skip
    write_lora(tmp_path / "x.safetensors", random_factors(sites("sdxl")[:2], 8, 4.0), "sdxl", details)
    found = metadata_of(tmp_path / "x.safetensors")
    hashes = {key: found.pop(key) for key in ("sshs_model_hash", "sshs_legacy_hash")}
    assert all(hashes.values())
    assert json.loads(found.pop("ss_tag_frequency")) == details.tags
    assert found == {
        "clora.history": "[]",
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
        "modelspec.date": "2024-05-06T07:08:09+00:00",
        "modelspec.description": "A dog.",
        "modelspec.implementation": "https://github.com/Stability-AI/generative-models",
        "modelspec.prediction_type": "v",
        "modelspec.resolution": "1024x1024",
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.title": "rex",
        "modelspec.trigger_phrase": "sks dog",
        "ss_base_model_version": "sdxl_base_v1-0",
        "ss_v_parameterization": "True",
        "ss_network_alpha": "4.0",
        "ss_network_dim": "8",
        "ss_network_module": "networks.lora",
        "ss_new_sd_model_hash": "ab",
        "ss_output_name": "rex",
        "ss_resolution": "(1024, 1024)",
        "ss_sd_model_name": "base.safetensors",
        "ss_training_started_at": "1714979289.0",
        "ss_v2": "False",
    }


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    write_lora(tmp_path / "x.safetensors", one(1.0), "sd1", Details("rex"))
    found = metadata_of(tmp_path / "x.safetensors")
    assert all(found.values())
    assert not {"modelspec.trigger_phrase", "modelspec.date", "ss_tag_frequency"} & found.keys()
    assert found["ss_base_model_version"] == "sd_v1"
    assert found["modelspec.architecture"] == "stable-diffusion-v1/lora"


def test_ranks_that_differ_are_recorded_as_sd_scripts_does(tmp_path: Path) -> None:
    first, second = sites()[:2]
    factors = random_factors([first], 2, 1.0) | random_factors([second], 4, 1.0)
    write_lora(tmp_path / "x.safetensors", factors, "sd1", DETAILS)
    found = metadata_of(tmp_path / "x.safetensors")
    assert (found["ss_network_dim"], found["ss_network_alpha"]) == ("Dynamic", "1.0")


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    factors = random_factors(sites()[:5])
    backwards: Any = dict(reversed(factors.items()))
    write_lora(tmp_path / "1.safetensors", factors, "sd1", DETAILS)
    write_lora(tmp_path / "2.safetensors", backwards, "sd1", DETAILS)
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()


def test_mode_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_lora(tmp_path / "x.safetensors", one(1.0), "sd1", DETAILS)
    finally:
        os.umask(before)
    assert (tmp_path / "x.safetensors").stat().st_mode & 0o777 == 0o644


def test_values_that_are_not_finite_are_never_written(tmp_path: Path) -> None:
    for value in (math.nan, math.inf):
        ((site, adapter),) = one(1.0).items()
        adapter.up[0, 0] = value
        with pytest.raises(CheckpointError, match="not finite"):
            write_lora(tmp_path / "x.safetensors", {site: adapter}, "sd1", DETAILS)
        assert not list(tmp_path.iterdir())


def test_calls_that_give_no_file_are_refused(tmp_path: Path) -> None:
    target = tmp_path / "x.safetensors"
    with pytest.raises(UsageError, match="no adapter"):
        write_lora(target, {}, "sd1", DETAILS)
    with pytest.raises(UsageError, match="'F8'"):
        write_lora(target, one(1.0), "sd1", DETAILS, dtype="F8")
    with pytest.raises(UsageError, match="'flux'"):
        write_lora(target, one(1.0), "flux", DETAILS)
    with pytest.raises(UsageError, match="'ss_mine'"):
        write_lora(target, one(1.0), "sd1", Details("rex", extra={"ss_mine": "x"}))
    ((site, adapter),) = one(1.0).items()
    with pytest.raises(CheckpointError, match="is given for"):
        write_lora(target, {site: Factors(adapter.down, adapter.up[1:], 1.0)}, "sd1", DETAILS)
    assert not list(tmp_path.iterdir())
