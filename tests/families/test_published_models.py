"""Stable Diffusion 1.5 and SDXL: told from shapes alone, loaded, asked and drawn as diffusers does."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cases import check_each
from diffusers import DDIMScheduler, StableDiffusionXLPipeline
from layouts import header_of
from real_shapes import (
    BIG_G,
    CLIP_L,
    MINI_SD1_UNET,
    SD1_UNET,
    SDXL_UNET,
    SMALL_VAE,
    VAE,
    sd1_header,
    sd1_modules,
    sdxl_header,
    tables,
    tiny_sdxl,
    write,
)
from transformers import CLIPTokenizer

from clora_ext import families
from clora_ext.config.precision import Precision, pick_precision
from clora_ext.config.settings import TargetSet
from clora_ext.families.latent.layout import OriginalLayout
from clora_ext.families.model import SizeConditioning
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.header import Header, TensorInfo

HERE = Path("x.safetensors")
GOLDEN = Path(__file__).parents[1] / "formats" / "golden"
HEADERS = {"sd1": sd1_header, "sdxl": sdxl_header}
SQUARE = SizeConditioning((64, 64), (0, 0), (64, 64))


def config(header: Header) -> Mapping[str, Any]:
    family = families.detect(header, HERE)
    assert isinstance(family, OriginalLayout)
    return family.config(header, HERE)


def same(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether every wanted entry is there; lists and tuples are alike."""
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in wanted.items()}
    return {key: found.get(key) for key in plain} == plain


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    file = tmp_path_factory.mktemp("sdxl") / "tiny.safetensors"
    return Checkpoint(write(file, tiny_sdxl(), torch.float32))


def test_exactly_one_family_fits_each_header() -> None:
    for name, header in HEADERS.items():
        assert [one for one in families.names() if families.load(one).matches(header())] == [name]


def test_shapes_tell_the_published_configuration_of_sd15() -> None:
    found = config(sd1_header())
    assert same(found["unet"], SD1_UNET)
    assert same(found["vae"], VAE)
    assert same(found["text_encoder"], CLIP_L)
    assert found["vae"]["scaling_factor"] == 0.18215


def test_shapes_tell_the_published_configuration_of_sdxl() -> None:
    found = config(sdxl_header())
    assert same(found["unet"], SDXL_UNET)
    assert same(found["vae"], VAE)
    assert same(found["text_encoder"], CLIP_L)
    assert same(found["text_encoder_2"], BIG_G)
    assert found["vae"]["scaling_factor"] == 0.13025


def test_names_and_shapes_are_those_of_the_published_checkpoints() -> None:
    for name, golden, tensors in (("sd1", "sd15", 1130), ("sdxl", "sdxl", 2513)):
        lines = (GOLDEN / f"{golden}.txt").read_text(encoding="utf-8").splitlines()
        assert len(lines) == tensors
        header = HEADERS[name]()
        assert [f"{key} {' '.join(map(str, i.shape))}" for key, i in sorted(header.tensors.items())] == lines


TARGETS: list[tuple[str, TargetSet, dict[str, int]]] = [
    ("sd1", "attention", {"unet": 128, "text_encoder": 72}),
    ("sd1", "transformer", {"unet": 192, "text_encoder": 72}),
    ("sdxl", "attention", {"unet": 560, "text_encoder": 72, "text_encoder_2": 192}),
    ("sdxl", "transformer", {"unet": 722, "text_encoder": 72, "text_encoder_2": 192}),
]


def test_targets_are_those_of_the_paper_and_of_sd_scripts() -> None:
    for name, chosen, counts in TARGETS:
        family, header = families.load(name), HEADERS[name]()
        targets = family.targets(header, chosen, text_encoders=True)
        assert Counter(target.component for target in targets) == counts
        assert len({target.name for target in targets}) == len(targets)
        alone = family.targets(header, chosen, text_encoders=False)
        assert {target.component for target in alone} == {"unet"}


def test_another_depth_is_read_from_the_shapes() -> None:
    with torch.device("meta"):
        modules = sd1_modules(unet=MINI_SD1_UNET, vae=SMALL_VAE)
    found = config(header_of(modules, tables(modules)))
    assert same(found["unet"], MINI_SD1_UNET)
    assert same(found["vae"], SMALL_VAE)


def test_every_parameter_of_sdxl_arrives_where_it_belongs(sdxl: Checkpoint) -> None:
    model: Any = families.load("sdxl").load(sdxl, pick_precision())
    for component, module in tiny_sdxl().items():
        state = model.parts[component].state_dict()
        assert state.keys() == module.state_dict().keys()
        assert all(torch.equal(state[name], tensor) for name, tensor in module.state_dict().items())


def test_rows_of_a_fused_tensor_are_replaced_alone(sdxl: Checkpoint) -> None:
    family = families.load("sdxl")
    modules = (t for t in family.modules(sdxl.header) if t.component == "text_encoder_2")
    keys = next(target for target in modules if target.module.endswith("layers.1.self_attn.k_proj"))
    assert keys.tensor.endswith("resblocks.1.attn.in_proj_weight")
    assert keys.rows == (128, 256)
    model: Any = family.load(sdxl, pick_precision(), {keys.name: torch.full(keys.shape, 0.25)})
    plain: Any = family.load(sdxl, pick_precision())
    module, path = model.locate(keys)
    assert torch.equal(module.get_submodule(path).weight, torch.full(keys.shape, 0.25))
    other = path.replace("k_proj", "q_proj")
    before = plain.parts["text_encoder_2"].get_submodule(other).weight
    assert torch.equal(module.get_submodule(other).weight, before)


def pipeline(model: Any) -> StableDiffusionXLPipeline:
    """diffusers' own, with two tokenizers as it is published."""
    folder = Path(families.__file__).parent / "latent" / "clip_tokenizer"
    tokenizers = {
        name: CLIPTokenizer.from_pretrained(folder, model_max_length=77, **extra)
        for name, extra in (("tokenizer", {}), ("tokenizer_2", {"pad_token": "!"}))
    }
    made = StableDiffusionXLPipeline(
        vae=model.vae, unet=model.denoiser, **model.text.encoders, **tokenizers, add_watermarker=False,
        scheduler=DDIMScheduler.from_config(
            model.process.scheduler.config, clip_sample=False, set_alpha_to_one=False
        ),
    )  # fmt: skip
    made.set_progress_bar_config(disable=True)
    return made


def test_sdxl_reads_prompts_as_diffusers_does(sdxl: Checkpoint) -> None:
    model: Any = families.load("sdxl").load(sdxl, pick_precision())
    states, _, pooled, _ = pipeline(model).encode_prompt(
        "a photo of sks dog", do_classifier_free_guidance=False
    )
    told = model.condition(["a photo of sks dog"], [SQUARE])
    torch.testing.assert_close(told["states"], states)
    torch.testing.assert_close(told["pooled"], pooled)


def test_sdxl_draws_what_diffusers_draws(sdxl: Checkpoint) -> None:
    model: Any = families.load("sdxl").load(sdxl, pick_precision())
    drawn = model.sample("a photo of sks dog", negative="blur", seeds=[1], steps=3, guidance=4.0, size=64)
    theirs = pipeline(model)(
        "a photo of sks dog", negative_prompt="blur", generator=torch.Generator().manual_seed(1),
        num_inference_steps=3, guidance_scale=4.0, height=64, width=64,
    )  # fmt: skip
    assert drawn[0].tobytes() == theirs.images[0].tobytes()


def test_sdxl_is_conditioned_on_how_a_picture_was_cropped(sdxl: Checkpoint) -> None:
    model: Any = families.load("sdxl").load(sdxl, pick_precision())
    told = model.condition(["a dog"], [SizeConditioning((500, 400), (12, 0), (64, 48))])
    assert told["time_ids"].tolist() == [[500, 400, 12, 0, 64, 48]]


@pytest.mark.long
def test_sdxl_in_half_precision_is_conditioned_on_exact_sizes_and_draws_the_same(sdxl: Checkpoint) -> None:
    """The way it goes on a GPU, here on the processor."""
    half = Precision(torch.device("cpu"), torch.bfloat16, "a test")
    models: list[Any] = [
        families.load("sdxl").load(sdxl, precision) for precision in (pick_precision(), half)
    ]
    told = models[1].condition(["a dog"], [SizeConditioning((1083, 1081), (3, 1), (64, 64))])
    assert told["states"].dtype == torch.bfloat16
    assert told["time_ids"].tolist() == [[1083, 1081, 3, 1, 64, 64]]
    full, rough = (
        np.asarray(model.sample("a dog", negative="", seeds=[1], steps=3, guidance=4.0, size=64)[0], np.int16)
        for model in models
    )
    assert full.std() > 1
    assert np.abs(full - rough).mean() < 3


def test_an_exclamation_mark_is_read_as_one(sdxl: Checkpoint) -> None:
    """A tokenizer that pads with "!" reads it as padding in prompts too."""
    model: Any = families.load("sdxl").load(sdxl, pick_precision())
    told = [model.condition([prompt], [SQUARE])["pooled"] for prompt in ("dog", "dog!", "dog !")]
    assert not torch.equal(told[0], told[1])
    assert torch.equal(told[1], told[2])


def with_tensors(header: Header, **shapes: tuple[int, ...]) -> Header:
    extra = {name.replace("__", "."): TensorInfo("F16", shape, 0, 0) for name, shape in shapes.items()}
    return Header({**header.tensors, **extra}, header.metadata)


def test_v_prediction_is_found_in_marker_tensors_and_in_modelspec() -> None:
    said = {"modelspec.prediction_type": "v"}
    for plain, name in ((sd1_header(), "sd1"), (sdxl_header(), "sdxl")):
        family = families.load(name)
        assert family.prediction(plain).kind == config(plain)["scheduler"]["prediction_type"] == "epsilon"
        for marked in (with_tensors(plain, v_pred=(0,)), Header(plain.tensors, said)):
            assert family.prediction(marked).kind == "v"
            assert config(marked)["scheduler"]["prediction_type"] == "v_prediction"
            assert not config(marked)["scheduler"]["rescale_betas_zero_snr"]
        for markers in ({"ztsnr": (0,)}, {"v_pred": (0,), "ztsnr": (0,)}):
            assert config(with_tensors(plain, **markers))["scheduler"]["rescale_betas_zero_snr"]


def sized(channels: int, width: int) -> Header:
    first = "model.diffusion_model.input_blocks.0.0.weight"
    text = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
    return Header(
        {first: TensorInfo("F16", (channels, 4, 3, 3), 0, 0), text: TensorInfo("F16", (320, width), 0, 0)}
    )


def test_only_real_sizes_bear_the_real_names() -> None:
    sd1, sdxl = families.load("sd1"), families.load("sdxl")
    assert sd1.architecture(sized(320, 768)) == sd1.architecture(sd1_header()) == "stable-diffusion-v1"
    wanted = "stable-diffusion-xl-v1-base"
    assert sdxl.architecture(sized(320, 2048)) == sdxl.architecture(sdxl_header()) == wanted
    for header in (sized(64, 768), sized(320, 128), Header({})):
        assert sd1.architecture(header) is None
    assert sdxl.architecture(sized(320, 768)) is None


def test_every_number_of_denoiser_and_text_encoders_is_one_parameters(sdxl: Checkpoint) -> None:
    """Norms, biases, fused rows, embeddings and the transposed projection included."""

    def check(name: str) -> None:
        header = HEADERS[name]() if name in HEADERS else sdxl.header
        family = families.detect(header, HERE)
        places = [part.prefix for part in family.components.values() if part.role != "vae"]
        held: dict[str, list[tuple[int, int]]] = {}
        for target in family.parameters(header):
            held.setdefault(target.tensor, []).append(target.stored_rows)
            assert target.stored_shape[1] * header.tensors[target.tensor].shape[0] == (
                header.tensors[target.tensor].elements
            )
        assert set(held) == {key for key in header.tensors if key.startswith(tuple(places))}
        for key, rows in held.items():
            ends = [end for pair in sorted(rows) for end in pair]
            assert (ends[0], ends[-1]) == (0, header.tensors[key].shape[0])
            assert ends[1:-1:2] == ends[2:-1:2]
        assert set(family.modules(header)) < set(family.parameters(header))
        sites = [target.site for target in family.parameters(header)]
        assert len(set(sites)) == len(sites)

    check_each([*HEADERS, "tiny"], check)
