"""Published encoders, tiny and random: what they see, whose weights they take, what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cases import check_each, empty_folder
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_scorers import csd_tensors, write_clip, write_csd, write_dino, write_dinov2
from torch import Tensor, nn

from clora_ext.errors import CheckpointError, CloraError, UsageError
from clora_ext.scoring import check_scorer, open_scorer
from clora_ext.scoring.csd import load_csd
from clora_ext.scoring.encoders import ClipScorer, VisionScorer
from clora_ext.scoring.framing import CLIP_COLOURS, IMAGENET_COLOURS, Framing
from clora_ext.scoring.weights import quiet_loading


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("scorers")
    write_clip(made / "clip")
    write_dino(made / "dino")
    write_dinov2(made / "dinov2")
    write_csd(made / "csd.safetensors")
    return made


def noise(count: int, width: int = 50, height: int = 40) -> list[Image.Image]:
    rng = np.random.default_rng(count)
    return [Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)) for _ in range(count)]


def test_the_centre_is_seen_in_the_colours_of_the_training() -> None:
    wide = Image.new("RGB", (300, 100), "red")
    wide.paste((51, 102, 204), (90, 0, 210, 100))
    framing = Framing(64, 56, IMAGENET_COLOURS)
    pixels = framing.pixels([wide, wide.rotate(90, expand=True)])
    assert pixels.shape == (2, 3, 56, 56)
    wanted = [(0.2 - 0.485) / 0.229, (0.4 - 0.456) / 0.224, (0.8 - 0.406) / 0.225]
    for picture in pixels:
        torch.testing.assert_close(picture[:, 28, 28], torch.tensor(wanted))
        assert float(picture.amax()) < 2  # nothing red is left of the edges
    assert Framing(32, 32, CLIP_COLOURS).pixels(noise(1, 5, 9)).shape == (1, 3, 32, 32)


NAMES = ("clip:{}/clip", "dino:{}/dino", "dinov2:{}/dinov2", "csd:{}/csd.safetensors")


def test_pictures_become_unit_vectors_one_by_one_or_in_batches(folder: Path) -> None:
    pictures = noise(35)

    def check(name: str) -> None:
        check_scorer(name.format(folder))
        scorer = open_scorer(name.format(folder))
        vectors = scorer.images(pictures)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(35))
        torch.testing.assert_close(vectors[34:], scorer.images(pictures[34:]))
        assert (vectors[0] - vectors[1]).abs().max() > 1e-4
        assert (scorer.name, len(scorer.digest)) == (name.split(":", maxsplit=1)[0], 64)
        assert open_scorer(name.format(folder)).digest == scorer.digest

    check_each(NAMES, check)
    assert len({open_scorer(name.format(folder)).digest for name in NAMES}) == 4


def test_clip_says_what_transformers_own_calls_say(folder: Path) -> None:
    from transformers import CLIPTokenizer

    from clora_ext.families.latent.text import load_tokenizer

    scorer = open_scorer(f"clip:{folder / 'clip'}")
    assert isinstance(scorer, ClipScorer)
    pictures, texts = noise(3), ["a photo of a dog", "cat", "word " * 90]
    pixels = scorer.framing.pixels(pictures)
    tokenizer: CLIPTokenizer = load_tokenizer("clip", Path())
    read = tokenizer(texts, padding=True, truncation=True, max_length=77, return_tensors="pt")
    with torch.no_grad():
        said = scorer.model(pixel_values=pixels, **read)
    torch.testing.assert_close(scorer.images(pictures), said.image_embeds)
    torch.testing.assert_close(scorer.texts(texts), said.text_embeds)
    other = open_scorer(f"clip:{write_clip(folder / 'few words', 99)}")
    assert isinstance(other, ClipScorer)
    with pytest.raises(CheckpointError, match="reads 99 tokens"):
        other.texts(["a"])


def test_dino_and_dinov2_take_the_class_token_and_a_frame_of_seven_eighths(folder: Path) -> None:
    def check(case: tuple[str, int, int]) -> None:
        kind, shorter, side = case
        scorer = open_scorer(f"{kind}:{folder / kind}")
        assert isinstance(scorer, VisionScorer)
        assert (scorer.framing.shorter, scorer.framing.side) == (shorter, side)
        pictures = noise(2)
        with torch.no_grad():
            states = scorer.model(scorer.framing.pixels(pictures)).last_hidden_state
        assert states.shape[1] == (side // scorer.model.config.patch_size) ** 2 + 1
        torch.testing.assert_close(scorer.images(pictures), nn.functional.normalize(states[:, 0], dim=1))

    check_each([("dino", 37, 32), ("dinov2", 48, 42)], check)


class OpenAiBlock(nn.Module):
    """A block of OpenAI's vision transformer, with torch's own attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, width // 64, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 2 * width), "c_proj": nn.Linear(2 * width, width)})

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        wide = self.mlp["c_fc"](self.ln_2(x))
        changed: Tensor = x + self.mlp["c_proj"](wide * torch.sigmoid(1.702 * wide))
        return changed


def test_csd_is_the_published_network(folder: Path) -> None:
    tensors = csd_tensors()
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(9))
    start = "backbone."
    patches = nn.functional.conv2d(pixels, tensors[f"{start}conv1.weight"], stride=8)
    x = torch.cat([tensors[f"{start}class_embedding"].expand(2, 1, 128), patches.flatten(2).mT], dim=1)
    x = x + tensors[f"{start}positional_embedding"]
    norms = {}
    for name in ("ln_pre", "ln_post"):
        norms[name] = nn.LayerNorm(128)
        norms[name].load_state_dict({end: tensors[f"{start}{name}.{end}"] for end in ("weight", "bias")})
    with torch.no_grad():
        x = norms["ln_pre"](x)
        for number in range(2):
            block, prefix = OpenAiBlock(128), f"{start}transformer.resblocks.{number}."
            own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
            block.load_state_dict(own)
            x = block(x)
        wanted = norms["ln_post"](x[:, 0]) @ tensors["last_layer_style"]
    scorer = load_csd(folder / "csd.safetensors", torch.device("cpu"))
    torch.testing.assert_close(scorer.encode(pixels), wanted, rtol=1e-4, atol=1e-4)
    assert "last_layer_content" not in scorer.weights


def _pickled(folder: Path) -> str:
    write_dino(folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    return f"dino:{folder}"


def _without_config(folder: Path) -> str:
    write_dino(folder)
    (folder / "config.json").unlink()
    return f"dino:{folder}"


def _lacking(folder: Path) -> str:
    write_dino(folder)
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {n: t for n, t in tensors.items() if not n.startswith("layernorm")}, folder / "model.safetensors"
    )
    return f"dino:{folder}"


def _damaged_config(folder: Path) -> str:
    write_dino(folder)
    (folder / "config.json").write_text("[" * 9)
    return f"dino:{folder}"


def _pth(folder: Path) -> str:
    (folder / "checkpoint.pth").write_bytes(b"never read")
    return f"csd:{folder / 'checkpoint.pth'}"


def _no_csd(folder: Path) -> str:
    save_file({"weight": torch.zeros(2)}, folder / "x.safetensors")
    return f"csd:{folder / 'x.safetensors'}"


REFUSED: list[tuple[Callable[[Path], str], str]] = [
    (lambda f: f"dino:{f / 'nowhere'}", "there is no folder .*nowhere"),
    (lambda f: f"dinov2:{write_dino(f)}", "type 'vit', not dinov2"),
    (lambda f: f"dino:{f}", "has no config.json"),
    (_without_config, "has no config.json"),
    (_pickled, "pytorch_model.bin is a pickle"),
    (_lacking, "lacks 2 tensors: layernorm"),
    (_damaged_config, "config.json cannot be read"),
    (_pth, "checkpoint.pth is a pickle"),
    (_no_csd, "is not CSD's: it lacks backbone"),
    (lambda f: f"csd:{f / 'none.safetensors'}", "there is no file"),
    (lambda f: "dinov2:owner/nothing", "the Hugging Face hub does not give it"),
    (lambda f: "dinv2", "unknown scorer 'dinv2'"),
    (lambda f: "demo:x", "ships with clora"),
    (lambda f: "csd", "needs its weights"),
]


def test_what_is_no_scorer_is_named(tmp_path: Path) -> None:
    def check(case: tuple[Callable[[Path], str], str]) -> None:
        name = case[0](empty_folder(tmp_path))
        calls: list[Callable[[str], Any]] = [open_scorer]
        if case[0] is not _lacking:  # only loading tells
            calls.append(check_scorer)
        for call in calls:
            with pytest.raises(CloraError, match=case[1]) as caught:
                call(name)
            assert caught.value.fix
            assert isinstance(caught.value, CheckpointError | UsageError)

    check_each(REFUSED, check)


def test_loading_leaves_the_callers_logging_as_it_was() -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with quiet_loading():
        assert logging.get_verbosity() > before[0]
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
