"""Image encoders that transformers knows: CLIP (CLIP-I, CLIP-T), DINO and DINOv2."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from clora_ext.errors import CheckpointError
from clora_ext.formats.hash_cache import cached_sha256
from clora_ext.formats.header import read_header
from clora_ext.formats.text import counted, listed

from .framing import CLIP_COLOURS, IMAGENET_COLOURS, Framing
from .weights import quiet_loading, read_config, weights_in

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "ClipScorer",
    "VisionScorer",
    "check_folder",
    "digest_of",
    "in_batches",
    "load_clip",
    "load_vision",
]

_AT_ONCE = 32  # pictures
_AGAIN = "download it again, whole"
_VISION = {"dino": "vit", "dinov2": "dinov2"}
_SIDE = 224  # pixels; DINOv2's own 518 is for dense tasks, its authors score at 224
_SHORTER = 256 / 224  # scaled to 256, of which 224 are cut: as DINO's authors evaluate


@dataclass(frozen=True)
class VisionScorer:
    """A vision transformer whose class token, after the last norm, is the picture.

    DINO (arXiv 2104.14294; ``facebook/dino-vits16`` is the metric of DreamBooth, arXiv 2208.12242) and DINOv2
    (arXiv 2304.07193).

    Attributes:
        name: ``dino`` or ``dinov2``.
        digest: of weights and framing.
        framing: of the pictures.
        model: the transformer.
    """

    name: str
    digest: str
    framing: Framing
    model: Any  # transformers' models are typed in parts

    def images(self, pictures: "Sequence[Image]") -> Tensor:
        """Unit vectors (n, width), float32, on the processor."""

        def encode(pixels: Tensor) -> Tensor:
            states: Tensor = self.model(pixels).last_hidden_state
            return states[:, 0]

        return in_batches(pictures, self.framing, encode, self.model.device)


@dataclass(frozen=True)
class ClipScorer:
    """CLIP (arXiv 2103.00020): pictures for CLIP-I, texts for CLIP-T, in one space.

    Attributes:
        digest: of weights and framing.
        framing: of the pictures.
        model: transformers' CLIPModel.
    """

    digest: str
    framing: Framing
    model: Any

    @property
    def name(self) -> str:
        """Of the scorer."""
        return "clip"

    def images(self, pictures: "Sequence[Image]") -> Tensor:
        """Unit vectors (n, width), float32, on the processor."""

        def encode(pixels: Tensor) -> Tensor:
            projected: Tensor = self.model.visual_projection(self.model.vision_model(pixels).pooler_output)
            return projected

        return in_batches(pictures, self.framing, encode, self.model.device)

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors (n, width), float32, on the processor; what is beyond 77 tokens is not read.

        Raises:
            CheckpointError: the model reads other tokens than OpenAI's, whose tokenizer ships with clora.
        """
        from clora_ext.families.latent.text import load_tokenizer

        tokenizer = load_tokenizer("clip", Path())
        words = self.model.config.text_config
        if words.vocab_size != len(tokenizer):
            message = f"this CLIP reads {words.vocab_size} tokens, OpenAI's has {len(tokenizer)}"
            raise CheckpointError(message, fix="use one of OpenAI's, such as openai/clip-vit-base-patch32")
        vectors = []
        for text in texts:  # one by one: nothing is padded, so no padding is read
            read = tokenizer(text, max_length=words.max_position_embeddings, truncation=True).input_ids
            ids = torch.tensor([read], device=self.model.device)
            vectors.append(self.model.text_projection(self.model.text_model(ids).pooler_output))
        return normalize(torch.cat(vectors).float(), dim=1).cpu()


def check_folder(kind: str, folder: Path) -> None:
    """Make sure that the folder holds such an encoder; loads nothing.

    Raises:
        CheckpointError: it does not.
    """
    read_config(folder, kind, ["clip" if kind == "clip" else _VISION[kind]])
    read_header(weights_in(folder))


def load_vision(kind: str, folder: Path, device: torch.device) -> VisionScorer:
    """DINO or DINOv2.

    Raises:
        CheckpointError: the folder holds no such encoder, or tensors are missing.
    """
    from transformers import AutoModel

    check_folder(kind, folder)
    options = {"add_pooling_layer": False} if kind == "dino" else {}
    model = _loaded(AutoModel, folder, device, options)
    patch, side = model.config.patch_size, min(_SIDE, model.config.image_size)
    side -= side % patch
    framing = Framing(round(side * _SHORTER), side, IMAGENET_COLOURS)
    return VisionScorer(kind, digest_of(kind, framing, weights_in(folder)), framing, model)


def load_clip(folder: Path, device: torch.device) -> ClipScorer:
    """CLIP.

    Raises:
        CheckpointError: the folder holds no CLIP, or tensors are missing.
    """
    from transformers import CLIPModel

    check_folder("clip", folder)
    model = _loaded(CLIPModel, folder, device, {})
    side = model.config.vision_config.image_size
    framing = Framing(side, side, CLIP_COLOURS)
    return ClipScorer(digest_of("clip", framing, weights_in(folder)), framing, model)


def digest_of(kind: str, framing: Framing, weights: Path) -> str:
    """sha256 over what decides the vectors."""
    return sha256(f"{kind} {framing} {cached_sha256(weights)}".encode()).hexdigest()


def _loaded(kind: Any, folder: Path, device: torch.device, options: Mapping[str, bool]) -> Any:  # noqa: ANN401 - transformers' models are typed in parts
    """The model in float32, with every weight from the file.

    Raises:
        CheckpointError: some would have been left to chance.
    """
    try:
        with quiet_loading():
            model, found = kind.from_pretrained(
                folder, use_safetensors=True, local_files_only=True, output_loading_info=True, **options
            )
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{folder} cannot be loaded: {reason}", fix=_AGAIN) from error
    missing = sorted(found["missing_keys"])
    if missing:
        message = f"{weights_in(folder)} lacks {counted(len(missing), 'tensor')}: {listed(missing, 3)}"
        raise CheckpointError(message, fix=_AGAIN)
    return model.float().to(device).eval()


def in_batches(
    pictures: "Sequence[Image]", framing: Framing, encode: Callable[[Tensor], Tensor], device: torch.device
) -> Tensor:
    """Unit vectors of any number of pictures, some of them at a time."""
    parts = []
    with torch.no_grad():
        for start in range(0, len(pictures), _AT_ONCE):
            pixels = framing.pixels(pictures[start : start + _AT_ONCE]).to(device)
            parts.append(normalize(encode(pixels).float(), dim=1).cpu())
    return torch.cat(parts)
