"""LoHa, LoKr, DoRA, Tucker forms and whole changes, written by hand, are read as they were trained."""

from collections.abc import Mapping
from functools import cache
from itertools import product
from pathlib import Path

import pytest
import torch
from cases import check_each
from lora_dialects import save
from lora_kinds import ALPHA, KINDS, RANK, ChangeOf, base_of, layers_of, of_one, parameters_of
from torch import Tensor

from clora_ext.adapters.decomposed import DecomposedAdapter
from clora_ext.adapters.delta import Delta
from clora_ext.adapters.factors import Factors, tile_rows
from clora_ext.adapters.sites import Site, Target
from clora_ext.errors import CheckpointError
from clora_ext.formats.lora.kinds import kind_of
from clora_ext.formats.lora.reader import Change, LoraFile, read_lora
from clora_ext.formats.lora.whole import StoredDelta
from clora_ext.formats.lora.writer import kohya_name

FAMILIES = ("sd1", "sdxl")


@cache
def everything(family: str, folder: Path) -> tuple[Target, ...]:
    return parameters_of(base_of(family, folder))


@cache
def some_layers(family: str, folder: Path) -> tuple[Target, ...]:
    """One of every shape and way of storing, and all outside of attention that other programs teach."""
    found = {}
    for target in layers_of(base_of(family, folder)):
        special = any(word in target.module for word in ("_embedding.", "projection", "conv_in", "conv_out"))
        found.setdefault(target.module if special else (target.site.shape, target.layout), target)
    return tuple(found.values())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bases")


def weight_of(site: Site) -> Tensor:
    rng = torch.Generator().manual_seed(sum(map(ord, site.module)))
    return torch.randn(site.shape, generator=rng) * 0.2


def write(file: Path, family: str, targets: tuple[Target, ...], kind: str) -> dict[Site, ChangeOf]:
    """A file of one kind for these targets, with kohya's names; what it should change."""
    tensors: dict[str, Tensor] = {}
    changes = {}
    for seed, target in enumerate(targets):
        parts, changes[target.site] = of_one(target, kind, seed)
        stem = kohya_name(target.site, kind_of(family))
        tensors |= {f"{stem}.{name}": part.contiguous() for name, part in parts.items()}
    save(file, tensors)
    return changes


def fixed(change: Change, site: Site) -> Delta:
    if not isinstance(change, DecomposedAdapter):
        return change
    weight = weight_of(site).reshape(site.matrix)
    return change.over(lambda start, stop: weight[start:stop], site.matrix)


def check_changes(read: LoraFile, wanted: Mapping[Site, ChangeOf]) -> None:
    assert read.changes.keys() == wanted.keys()
    for site, change in wanted.items():
        expected = change(weight_of(site)).reshape(site.matrix)
        found = fixed(read.changes[site], site)
        torch.testing.assert_close(found.delta().double(), expected, rtol=1e-4, atol=1e-5)
        assert found.delta().dtype == torch.float32
        assert 1 <= found.rank <= min(site.matrix)


@pytest.mark.long
def test_every_kind_is_read_as_it_was_trained(tmp_path: Path, folder: Path) -> None:
    def check(case: tuple[str, str]) -> None:
        kind, family = case
        targets = some_layers(family, folder)
        wanted = write(tmp_path / "x.safetensors", family, targets, kind)
        read = read_lora(tmp_path / "x.safetensors", [target.site for target in everything(family, folder)])
        check_changes(read, wanted)
        (count,) = read.kinds
        assert (count.kind, count.count) == (KINDS[kind][0], len(targets))
        assert count.ranks == (None if kind in {"full", "LoKr"} else (RANK, RANK))

    check_each(product(KINDS, FAMILIES), check)


@pytest.mark.long
def test_norms_biases_and_embeddings_are_changed_whole(tmp_path: Path, folder: Path) -> None:
    def check(family: str) -> None:
        targets = everything(family, folder)
        wanted = write(tmp_path / "x.safetensors", family, targets, "full")
        read = read_lora(tmp_path / "x.safetensors", [target.site for target in targets])
        assert list(read.changes) == [target.site for target in targets]
        assert {target.layout for target in targets} >= {"matrix", "vector"}
        check_changes(read, wanted)
        assert read.parameters == sum(target.shape[0] * target.shape[1] for target in targets)
        assert all(isinstance(change, StoredDelta) for change in read.changes.values())

    check_each(FAMILIES, check)


def test_norms_have_two_names(tmp_path: Path, folder: Path) -> None:
    """LyCORIS' own, w_norm and b_norm, beside ComfyUI's."""
    norm = next(t for t in everything("sdxl", folder) if t.module.endswith("norm1") and t.component == "unet")
    stem = kohya_name(norm.site, kind_of("sdxl"))
    tensors = {f"{stem}.w_norm": torch.ones(norm.shape[0]), f"{stem}.b_norm": torch.ones(norm.shape[0])}
    sites = [target.site for target in everything("sdxl", folder)]
    read = read_lora(save(tmp_path / "x.safetensors", tensors), sites)
    assert {(site.module, site.parameter) for site in read.changes} == {
        (norm.module, "weight"),
        (norm.module, "bias"),
    }
    tensors[f"{stem}.diff"] = torch.ones(norm.shape[0])
    with pytest.raises(CheckpointError, match="two changes of the weight"):
        read_lora(save(tmp_path / "x.safetensors", tensors), sites)


@pytest.mark.long
def test_rows_have_the_very_bits_of_the_whole(tmp_path: Path, folder: Path) -> None:
    """Folding computes some rows at a time: what it writes must not depend on how many."""

    def check(kind: str) -> None:
        targets = some_layers("sdxl", folder)
        write(tmp_path / "x.safetensors", "sdxl", targets, kind)
        read = read_lora(tmp_path / "x.safetensors", [target.site for target in targets])
        for site, change in read.changes.items():
            delta, step = fixed(change, site), tile_rows(site.matrix[1])
            starts = range(0, site.shape[0], step)
            rows = [delta.rows(start, min(start + step, site.shape[0])) for start in starts]
            assert torch.equal(torch.cat([part.delta() for part in rows]), delta.delta())
            inner = rows[-1].rows(0, 1).delta()
            torch.testing.assert_close(inner, rows[-1].delta()[:1])

    check_each(KINDS, check)


def test_strength_multiplies_the_change(tmp_path: Path, folder: Path) -> None:
    """Of a DoRA, too: half of it is half of the way from the weight to what it was trained to."""

    def check(kind: str) -> None:
        targets = some_layers("sdxl", folder)[:6]
        wanted = write(tmp_path / "x.safetensors", "sdxl", targets, kind)
        read = read_lora(tmp_path / "x.safetensors", [target.site for target in targets])
        for site, change in read.changes.items():
            expected = -0.7 * wanted[site](weight_of(site)).reshape(site.matrix)
            found = fixed(change.scaled(-0.7), site).delta()
            torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)
            again = fixed(change, site).scaled(-0.7).delta()
            torch.testing.assert_close(again.double(), expected, rtol=1e-4, atol=1e-5)

    check_each(KINDS, check)


def test_alpha_is_the_rank_where_it_is_missing_or_zero(tmp_path: Path, folder: Path) -> None:
    """LyCORIS: ``alpha = lora_dim if alpha is None or alpha == 0``."""
    target = some_layers("sd1", folder)[0]
    stem = kohya_name(target.site, kind_of("sd1"))

    def check(case: tuple[str, Tensor | None]) -> None:
        kind, alpha = case
        parts, wanted = of_one(target, kind, 0)
        del parts["alpha"]
        if alpha is not None:
            parts["alpha"] = alpha
        file = save(tmp_path / "x.safetensors", {f"{stem}.{name}": part for name, part in parts.items()})
        (change,) = read_lora(file, [target.site]).changes.values()
        expected = wanted(weight_of(target.site)).reshape(target.shape)
        if kind != "LoKr":
            expected = expected * RANK / ALPHA
        torch.testing.assert_close(
            fixed(change, target.site).delta().double(), expected, rtol=1e-4, atol=1e-5
        )

    kinds = ("LoRA", "LoHa", "LoKr", "LoKr, half", "LoKr, pairs")
    check_each(product(kinds, (None, torch.tensor(0.0))), check)


def test_tucker_loras_are_pairs_of_factors(tmp_path: Path, folder: Path) -> None:
    """So every strategy and the export can carry them."""
    targets = some_layers("sd1", folder)
    write(tmp_path / "x.safetensors", "sd1", targets, "LoRA, Tucker")
    read = read_lora(tmp_path / "x.safetensors", [target.site for target in targets])
    assert len(read.factors) == len(targets)
    assert all(isinstance(change, Factors) and change.rank == RANK for change in read.changes.values())


BROKEN = (
    ("LoRA, Tucker", "lora_mid.weight", (RANK, RANK + 1, 3, 3)),
    ("LoHa", "hada_w2_b", (RANK, 5)),
    ("LoHa", "hada_w1_a", (0, RANK)),
    ("LoHa, Tucker", "hada_t2", (RANK, RANK)),
    ("LoKr", "lokr_w1", (3,)),
    ("LoKr", "lokr_w2", (3, 3)),
    ("LoKr, pairs", "lokr_w1_b", (RANK + 1, 4)),
    ("LoKr, half", "lokr_w2_a", (4, 1)),
    ("LoKr, Tucker", "lokr_t2", (RANK, RANK, 1, 1)),
    ("full", "diff", (2, 2)),
    ("DoRA of outputs", "dora_scale", (3, 1)),
    ("DoRA of inputs", "dora_scale", (1, 3)),
    ("DoRA of PEFT", "lora_magnitude_vector", (7,)),
)


def test_parts_that_do_not_fit_are_refused_with_their_shapes(tmp_path: Path, folder: Path) -> None:
    convolution = next(t for t in layers_of(base_of("sd1", folder)) if t.site.shape[2:] == (3, 3))
    stem = kohya_name(convolution.site, kind_of("sd1"))

    def check(case: tuple[str, str, tuple[int, ...]]) -> None:
        kind, part, shape = case
        parts, _ = of_one(convolution, kind, 0)
        tensors = {f"{stem}.{name}": tensor for name, tensor in parts.items()}
        assert f"{stem}.{part}" in tensors
        tensors[f"{stem}.{part}"] = torch.ones(shape)
        with pytest.raises(CheckpointError, match="do not fit the layer's weight") as caught:
            read_lora(save(tmp_path / "x.safetensors", tensors), [convolution.site])
        assert f"{stem}.{part}" in caught.value.message

    check_each(BROKEN, check)


MISSING = (
    ("LoHa", "hada_w2_a"),
    ("LoHa, Tucker", "hada_t1"),
    ("LoKr, half", "lokr_w2_b"),
    ("LoKr, pairs", "lokr_w1_a"),
)


def test_missing_parts_are_refused_by_name(tmp_path: Path, folder: Path) -> None:
    target = some_layers("sd1", folder)[0]
    stem = kohya_name(target.site, kind_of("sd1"))

    def check(case: tuple[str, str]) -> None:
        kind, part = case
        parts, _ = of_one(target, kind, 0)
        del parts[part]
        file = save(tmp_path / "x.safetensors", {f"{stem}.{name}": t for name, t in parts.items()})
        with pytest.raises(CheckpointError, match=f"the {part} factor of .* is missing"):
            read_lora(file, [target.site])

    check_each(MISSING, check)


def test_values_that_are_not_finite_are_refused_before_anything_is_folded(
    tmp_path: Path, folder: Path
) -> None:
    target = some_layers("sd1", folder)[0]
    stem = kohya_name(target.site, kind_of("sd1"))

    def check(kind: str) -> None:
        parts, _ = of_one(target, kind, 0)
        part = next(name for name in reversed(parts) if name != "alpha")
        parts[part].flatten()[-1] = torch.nan
        file = save(tmp_path / "x.safetensors", {f"{stem}.{name}": t for name, t in parts.items()})
        with pytest.raises(CheckpointError, match="not finite"):
            read_lora(file, [target.site])

    check_each(KINDS, check)
