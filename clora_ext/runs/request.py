"""What the user asks for: one more concept, from pictures or from a finished LoRA. Needs no torch."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from clora_ext.config.settings import Settings
from clora_ext.data.subset import Subset
from clora_ext.errors import UsageError, did_you_mean
from clora_ext.families.variant import VARIANT_OPTION
from clora_ext.formats.prediction import PredictionKind
from clora_ext.formats.statements import Statement
from clora_ext.formats.text import quoted

from .lora_output import LoraOutput

__all__ = ["Lora", "Pictures", "Request", "Reweight", "asked_statements", "named_companions"]


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures to train on.

    Attributes:
        folder: images; a kohya folder (``10_sks dog``); or a parent of kohya folders. Of several folders the
            first, whose name may say what the concept is called.
        skip_bad: leave out unusable files instead of refusing all.
        convert: accept pictures that look different as 8-bit RGB.
        export_lora: file outside of the project to keep the trained adapter in, in kohya's format, or more
            of how it is kept; None: it is kept nowhere.
        repeats: how often each picture is shown in an epoch; None: as a kohya folder's name says, else once.
        subsets: the folders with what holds for each; empty: the one folder, as the settings say.
        log_dir: folder of runs for TensorBoard; None: the loss curve stands in the project alone.
        log_prefix: of the name of this run there.
        wandb_project: project at Weights & Biases that the same numbers are sent to; None: nothing is sent.
        wandb_name: of this run there; None: the one that it has for TensorBoard.
        cache_dir: folder in which what the VAE and the text encoders say of pictures and captions is kept
            from one run to the next: latents can be turned into the pictures again. None: nothing is kept.
        vae: a VAE that encodes the pictures and draws previews in the place of the checkpoint's own, which
            stays in it; None: its own.
        preview_prompts: a file of prompts that are drawn with the previews, as sd-scripts has it; None: none.
        start_from: a plain LoRA file that the adapter begins as; its rank and alpha are taken. None: it
            begins as nothing.
    """

    folder: Path
    skip_bad: bool = False
    convert: bool = False
    export_lora: Path | LoraOutput | None = None
    repeats: int | None = None
    subsets: tuple[Subset, ...] = ()
    log_dir: Path | None = None
    log_prefix: str = ""
    wandb_project: str | None = None
    wandb_name: str | None = None
    start_from: Path | None = None
    cache_dir: Path | None = None
    vae: Path | None = None
    preview_prompts: Path | None = None

    def __post_init__(self) -> None:
        """Take text for paths."""
        object.__setattr__(self, "folder", _path(self.folder, "a folder of pictures"))
        if self.cache_dir is not None:
            object.__setattr__(self, "cache_dir", _path(self.cache_dir, "a folder"))
        if self.preview_prompts is not None:
            object.__setattr__(self, "preview_prompts", _path(self.preview_prompts, "a file of prompts"))
        if self.vae is not None:
            object.__setattr__(self, "vae", _path(self.vae, "a VAE"))
        if self.start_from is not None:
            object.__setattr__(self, "start_from", _path(self.start_from, "a LoRA to begin as"))
        if self.export_lora is not None and not isinstance(self.export_lora, LoraOutput):
            object.__setattr__(self, "export_lora", _path(self.export_lora, "a LoRA to write"))

    @property
    def lora(self) -> LoraOutput | None:
        """How the trained adapter is kept; None: nowhere."""
        return LoraOutput(self.export_lora) if isinstance(self.export_lora, Path) else self.export_lora

    def parts(self, settings: Settings) -> tuple[Subset, ...]:
        """The folders with what holds for each."""
        one = Subset(
            self.folder,
            self.repeats,
            captions=settings.captions,
            augmentation=settings.augmentation,
            masks=settings.masks,
        )
        return self.subsets or (one,)


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA that was trained elsewhere.

    Attributes:
        file: a safetensors file of any dialect; it is only read.
        weight: its strength, as in ``<lora:name:0.8>``.
    """

    file: Path
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Take text for a path."""
        object.__setattr__(self, "file", _path(self.file, "a LoRA"))


@dataclass(frozen=True, slots=True)
class Reweight:
    """A concept that is in the project and whose change was kept.

    Attributes:
        token: its trigger word.
        weight: that its change has from now on; 1: as it was taught, 0: the concept is removed.
    """

    token: str
    weight: float


@dataclass(frozen=True, slots=True)
class Request:
    """One more concept for a project's model, or another weight for one that it has.

    Paths may be given as text. So may the source: the name of a ``.safetensors`` file stands for a LoRA, any
    other for a folder of pictures.

    Attributes:
        source: what it is learned from.
        project: folder of the evolving model; made if it does not exist.
        base: what a new project starts from: a safetensors file, a diffusers folder, or, where there is no
            such path, the name of a model on the Hugging Face hub (which is then fetched); None: the built-in
            demo model.
        token: rare word that will call the concept; None: from the folder's name or what the LoRA's file
            says, else the next unused one.
        class_name: what kind of thing it is; None: from the folder's name; of a LoRA, ``LoRA``.
        settings: how to teach; None: as suits the model. Of a finished LoRA, strategy and samples count.
        keep: earlier checkpoints to keep for undo.
        prediction: what the network of a new project's base predicts, ``epsilon`` or ``v``; None: as its
            files say.
        zero_snr: whether it was trained on a noise schedule that ends in pure noise; None: likewise. A
            project keeps to both: a later request may leave them out, or say the same.
        keep_delta: keep the concept's change in the project, so that it can be removed or weighed anew later.
            That is a past adapter: the project then leaves the strict regime, in which none is kept. No
            strategy reads it.
        scorer: tells what is kept of earlier concepts: ``dinov2``, ``dino``, ``clip``, each with ``:FOLDER``
            or ``:NAME`` of the hub behind it, or ``csd:FILE``; None: on the demo model its own, else nothing.
        max_forgetting: the largest share of what was gained by any earlier concept that may be lost; more
            raises :class:`clora_ext.errors.Forgotten`, and the project stays as it was. None: any.
        text_encoder_file: the text encoder of a base that is a transformer alone; None: the one beside it. A
            project keeps to the same one, wherever it lies.
        vae_file: its VAE, likewise.
        variant: which of its family's variants the base is, where shapes do not tell, such as ``turbo``;
            None: as the project has recorded, or its name or its metadata say, else the usual one.
    """

    source: Pictures | Lora | Reweight
    project: Path = Path("clora-model")
    base: Path | None = None
    token: str | None = None
    class_name: str | None = None
    settings: Settings | None = None
    keep: int = 1
    prediction: str | None = None
    zero_snr: bool | None = None
    keep_delta: bool = False
    scorer: str | None = None
    max_forgetting: float | None = None
    text_encoder_file: Path | None = None
    vae_file: Path | None = None
    variant: str | None = None

    def __post_init__(self) -> None:
        """Take text for paths.

        Raises:
            UsageError: something is neither text nor a path.
        """
        if not isinstance(self.source, Pictures | Lora | Reweight):
            source = _path(self.source, "a folder of pictures")
            is_lora = source.suffix.lower() == ".safetensors" and not source.is_dir()
            object.__setattr__(self, "source", Lora(source) if is_lora else Pictures(source))
        object.__setattr__(self, "project", _path(self.project, "a project's folder"))
        if self.base is not None:
            object.__setattr__(self, "base", _path(self.base, "a model"))
        for name, what in (("text_encoder_file", "a text encoder"), ("vae_file", "a VAE")):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _path(getattr(self, name), what))

    @property
    def companions(self) -> dict[str, Path]:
        """Files of components that the base lacks, as far as they are named; see :func:`named_companions`."""
        return named_companions(self.text_encoder_file, self.vae_file)

    @property
    def statements(self) -> tuple[Statement, ...]:
        """What it says of the base; see :func:`asked_statements`."""
        return asked_statements(self.prediction, zero_snr=self.zero_snr, variant=self.variant)


def named_companions(text_encoder_file: Path | None, vae_file: Path | None) -> dict[str, Path]:
    """Files of components that a model lacks, by the component's name."""
    named = {"text_encoder": text_encoder_file, "vae": vae_file}
    return {name: file for name, file in named.items() if file is not None}


def _path(value: object, what: str) -> Path:
    """A path that may have been given as text."""
    if not isinstance(value, str | os.PathLike):
        raise UsageError(f"{value!r:.80} is no path of {what}", fix="give a path, as text or as pathlib.Path")
    return Path(value)


def asked_statements(
    prediction: str | None, *, zero_snr: bool | None, variant: str | None
) -> tuple[Statement, ...]:
    """What a user says of a base, by the options that say so; None: nothing.

    Raises:
        UsageError: what it predicts is no such word; the remedy is the nearest.
    """
    kinds = get_args(PredictionKind)
    if prediction not in {None, *kinds}:
        word = str(prediction)
        raise UsageError(f"unknown prediction {quoted(word)}", fix=did_you_mean(word, kinds))
    found = [] if prediction is None else [Statement("--prediction", prediction)]
    if zero_snr is not None:
        found.append(Statement("--zero-snr" if zero_snr else "--no-zero-snr", zero_snr=zero_snr))
    if variant is not None:
        found.append(Statement(VARIANT_OPTION, variant=variant))
    return tuple(found)
