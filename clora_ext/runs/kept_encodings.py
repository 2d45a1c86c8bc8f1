"""What encoders say of pictures and captions, kept on disk from one run to the next where that is wished."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clora_ext.data import Cut, Picture
from clora_ext.formats.tensor_cache import TensorCache, module_digest
from clora_ext.formats.text import escaped, quoted

from .plan import Plan

if TYPE_CHECKING:
    from torch import Tensor

    from clora_ext.families.model import Conditioning, Model, SizeConditioning

__all__ = ["Encodings", "KeptEncodings", "encodings_of"]


class Encodings:
    """Computes whatever is asked for."""

    def moments(
        self, picture: Picture, cut: Cut, compute: "Callable[[], tuple[Tensor, Tensor]]", *, mirrored: bool
    ) -> "tuple[Tensor, Tensor]":
        """Mean and standard deviation of a picture's latents, float32, on the processor.

        Args:
            picture: the file.
            cut: how it is scaled and cut.
            compute: gives them.
            mirrored: whether it is shown mirrored.
        """
        del picture, cut, mirrored
        return compute()

    def condition(
        self, prompt: str, cut: "SizeConditioning", compute: "Callable[[], Conditioning]"
    ) -> "Conditioning":
        """What the denoiser is given for a caption, as :func:`clora_ext.config.precision.to_keep` has it."""
        del prompt, cut
        return compute()


class KeptEncodings(Encodings):
    """The same, kept in a folder by everything that it depends on.

    Args:
        folder: where it is kept.
        model: whose encoders are asked, as they are now.
        plan: of the run.
    """

    def __init__(self, folder: Path, model: "Model", plan: Plan) -> None:
        from clora_ext.config.precision import pick_precision

        self._cache = TensorCache(folder)
        self._model, self._plan = model, plan
        precision = pick_precision()
        self._place = {"device": precision.device.type, "dtype": str(precision.frozen)}

    @cached_property
    def _vae(self) -> "Mapping[str, Any]":
        """What every picture's latents depend on; hashing a network takes a while."""
        digest = module_digest(self._model.picture_encoder)
        return {**self._place, "vae": digest, "converts": self._plan.converts}

    @cached_property
    def _text(self) -> "Mapping[str, Any]":
        """What every caption's condition depends on."""
        plan, digest = self._plan, module_digest(*self._model.text_encoders)
        read_as = {"family": plan.context.family.name, "prompts": asdict(plan.settings.prompts)}
        return {**self._place, **read_as, "text": digest}

    def moments(
        self, picture: Picture, cut: Cut, compute: "Callable[[], tuple[Tensor, Tensor]]", *, mirrored: bool
    ) -> "tuple[Tensor, Tensor]":
        """See :meth:`Encodings.moments`; the picture counts by its content, not by its name."""
        origin: Mapping[str, Any] = {
            **self._vae,
            "picture": picture.sha256,
            "size": cut.size,
            "box": cut.box,
            "interpolation": picture.subset.interpolation,
            "mirrored": mirrored,
        }

        def computed() -> "Mapping[str, Tensor]":
            mean, deviation = compute()
            return {"mean": mean, "deviation": deviation}

        found = self._cache.get(origin, f"what the VAE gave for {escaped(picture.path)}", computed)
        return found["mean"], found["deviation"]

    def condition(
        self, prompt: str, cut: "SizeConditioning", compute: "Callable[[], Conditioning]"
    ) -> "Conditioning":
        """See :meth:`Encodings.condition`."""
        origin = {**self._text, "prompt": prompt, "cut": asdict(cut)}
        return self._cache.get(origin, f"what the text encoder gave for {quoted(prompt)}", compute)

    def said(self, text: str, compute: "Callable[[], tuple[Tensor, ...]]") -> "tuple[Tensor, ...]":
        """What the text encoders say of a text in a step of the training, as ``compute`` gives it."""

        def computed() -> "Mapping[str, Tensor]":
            return {str(number): value for number, value in enumerate(compute())}

        origin = {**self._text, "prompt": text, "asked": "in a step"}
        found = self._cache.get(origin, f"what the text encoder gave for {quoted(text)}", computed)
        return tuple(found[str(number)] for number in range(len(found)))


def encodings_of(model: "Model", plan: Plan, folder: Path | None) -> Encodings:
    """Those of a run.

    Args:
        model: the one that learns, before it has.
        plan: of the run.
        folder: where they are kept; None: nowhere.
    """
    return Encodings() if folder is None else KeptEncodings(folder, model, plan)
