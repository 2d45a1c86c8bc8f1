"""What a run would do, as data: everything read and checked, nothing written, no model loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clora_ext.adapters.sites import Target
from clora_ext.config.algorithm_settings import OPTIMIZERS
from clora_ext.config.settings import Settings
from clora_ext.data import Bucketed, Concept, Cut, Dataset, Picture, steps_per_epoch
from clora_ext.project import ConceptRecord, Reweighting
from clora_ext.project.records import file_stem
from clora_ext.sampling.prompt_file import FilePrompt

from .context import ProjectContext
from .cut_texts import CutText
from .layer_rank import layer_rank
from .lora_material import LoraMaterial
from .lora_output import LoraOutput
from .reading import reading_notes
from .request import Pictures, Request
from .starting_lora import StartingLora

if TYPE_CHECKING:
    from clora_ext.strategies.base import Strategy

__all__ = ["Plan", "bucketed", "steps_of_epoch"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run depends on.

    Attributes:
        request: as asked.
        context: the state of the project that the run starts from.
        settings: how the concept is taught; of several processes, the batch is that of all together.
        strategy: how it joins what is there.
        concept: what will be learned.
        material: the pictures, or the LoRA.
        targets: the layers that are taught; a finished LoRA may change norms, biases and embeddings too.
        resolution: of training and samples, pixels.
        cuts: how each picture is scaled and cut to be trained, in their order; none for a LoRA.
        sample_prompt: what previews and the contact sheet show.
        cut_texts: captions and prompts that are longer than the text encoder reads.
        learned: the concept's record if the project has learned just this already; nothing is left to do.
        resume_step: steps that a stopped run of this same plan has already done.
        fingerprint: sha256 over everything that shapes the result: equal plans give equal models.
        reweighting: of a concept that the project has; None: a new one is learned.
        held_out_cuts: as ``cuts``, of pictures that are held out.
        starting: the LoRA that the adapter begins as; None: it begins as nothing.
        preview_prompts: of the user's own file, drawn beside those of the concepts.
        beside: what else shapes the result of a training, as the manifest keeps it beside the settings.
        processes: that train together.
    """

    request: Request
    context: ProjectContext
    settings: Settings
    strategy: "Strategy"
    concept: Concept
    material: Dataset | LoraMaterial
    targets: tuple[Target, ...]
    resolution: int
    cuts: tuple[Cut, ...]
    sample_prompt: str
    cut_texts: tuple[CutText, ...]
    learned: ConceptRecord | None
    resume_step: int
    fingerprint: str
    reweighting: Reweighting | None = None
    held_out_cuts: tuple[Cut, ...] = ()
    starting: StartingLora | None = None
    preview_prompts: tuple[FilePrompt, ...] = ()
    beside: Mapping[str, Any] = field(default_factory=dict)
    processes: int = 1

    @property
    def own_batch_size(self) -> int:
        """Pictures that one process shows itself in a step."""
        return self.settings.data.batch_size // self.processes

    @property
    def ema_decay(self) -> float | None:
        """Decay of the average of the steps that is learned, the strategy's own unless the settings say one.

        None: what the last step leaves is learned, or what an optimiser that averages says.
        """
        wished = self.settings.network.ema_decay
        if wished is not None or OPTIMIZERS[self.settings.algorithm.optimizer_type].averages:
            return wished
        return self.strategy.ema_decay()

    @property
    def number(self) -> int:
        """The concept's number in the project."""
        return self.context.number if self.learned is None else self.learned.number

    @property
    def learned_note(self) -> str:
        """What is said of a request that asks for nothing new; empty: there is something to learn."""
        if self.learned is None:
            return ""
        if self.reweighting is not None:
            weight = self.reweighting.weight
            how = f"has the weight {weight:g} already" if weight else "is removed already"
            return f"concept {self.reweighting.number}, {self.concept.trigger}, {how}"
        how = "taught" if isinstance(self.material, Dataset) else "folded in"
        what = "these pictures have" if isinstance(self.material, Dataset) else "this LoRA has"
        return f"{what} been {how} already, as concept {self.learned.number}, in the same way"

    @property
    def text_notes(self) -> tuple[str, ...]:
        """What a user should know about how captions and prompts are read."""
        return (*reading_notes(self), *map(str, self.cut_texts))

    @property
    def dataset(self) -> Dataset:
        """The pictures.

        Raises:
            TypeError: the concept comes from a LoRA.
        """
        if isinstance(self.material, Dataset):
            return self.material
        message = "a LoRA has no pictures"
        raise TypeError(message)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(width, height) in pixels at which each picture is trained, in their order; none for a LoRA."""
        return tuple(cut.size for cut in self.cuts)

    @property
    def bucketed(self) -> list[Bucketed]:
        """The pictures as batches are made of them, in their order."""
        return bucketed(self.dataset.pictures, self.cuts)

    @property
    def epoch(self) -> int:
        """Steps in which every picture is shown with its repeats."""
        return steps_of_epoch(self.bucketed, self.settings)

    @property
    def lora_output(self) -> LoraOutput | None:
        """How the trained adapter is kept as a file of its own; None: nowhere."""
        source = self.request.source
        return source.lora if isinstance(source, Pictures) else None

    @property
    def cache_dir(self) -> Path | None:
        """Folder in which encodings are kept from one run to the next; None: nowhere."""
        source = self.request.source
        return source.cache_dir if isinstance(source, Pictures) else None

    @property
    def vae(self) -> Path | None:
        """A VAE in the place of the checkpoint's own while this is learned; None: its own."""
        source = self.request.source
        return source.vae if isinstance(source, Pictures) else None

    @property
    def log_name(self) -> str:
        """What other programs' logs call this run; one that was stopped has the same."""
        source = self.request.source
        prefix = source.log_prefix if isinstance(source, Pictures) else ""
        stem = file_stem(self.number, self.concept.token, self.concept.class_name)
        return f"{prefix}{stem}-{self.fingerprint[:8]}"

    @property
    def converts(self) -> bool:
        """Whether pictures that look different as 8-bit RGB are taken."""
        source = self.request.source
        return isinstance(source, Pictures) and source.convert

    @property
    def sample_size(self) -> int:
        """Side of samples, pixels: the resolution, as far as the model can draw it."""
        return self.resolution - self.resolution % self.context.size_multiple

    @property
    def parameters(self) -> int:
        """How many are trained, or hold the finished LoRA."""
        if isinstance(self.material, LoraMaterial):
            return self.material.parameters
        pairs = sum(layer_rank(one, self.settings).rank * sum(one.shape) for one in self.targets)
        return pairs + self.magnitudes

    @property
    def magnitudes(self) -> int:
        """How many of the trained parameters are magnitudes of outputs (DoRA)."""
        is_trained = isinstance(self.material, Dataset) and self.settings.network.dora
        return sum(one.shape[0] for one in self.targets) if is_trained else 0

    @property
    def layers(self) -> tuple[Target, ...]:
        """Those of the targets that read inputs: linear layers and convolutions."""
        modules = set(self.context.family.modules(self.context.header))
        return tuple(target for target in self.targets if target in modules)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "project": str(self.request.project),
            **self.context.as_dict(),
            "concept": {
                "number": self.number,
                "token": self.concept.token,
                "token_from": self.concept.token_from,
                "class": self.concept.class_name,
            },
            "learned_already": self.learned is not None,
            "reweighting": None if self.reweighting is None else asdict(self.reweighting),
            "keep_delta": self.request.keep_delta,
            **_material(self.material),
            "strategy": self.settings.strategy,
            "settings": self.settings.as_dict(),
            "resolution": self.resolution,
            "sizes": [list(size) for size in self.sizes],
            "prompt": self.sample_prompt,
            "text_notes": list(self.text_notes),
            "cut_texts": [{"what": cut.what, "tokens": cut.tokens} for cut in self.cut_texts],
            "layers": len(self.targets),
            "parameters": self.parameters,
            "state_level": self.strategy.state_level,
            "scorer": self.request.scorer,
            "max_forgetting": self.request.max_forgetting,
            "processes": self.processes,
            "resume_step": self.resume_step,
            "fingerprint": self.fingerprint,
        }


def bucketed(pictures: Sequence[Picture], cuts: Sequence[Cut]) -> list[Bucketed]:
    """Pictures as batches are made of them."""
    return [
        Bucketed(*cut.size, one.repeats, one.subset.batch_size, one.subset.dataset)
        for one, cut in zip(pictures, cuts, strict=True)
    ]


def _material(material: Dataset | LoraMaterial) -> dict[str, Any]:
    """Pictures or LoRA for JSON."""
    if isinstance(material, LoraMaterial):
        return {
            "lora": {"file": material.file_name, "sha256": material.sha256, "dialect": material.dialect},
            "kinds": [asdict(kind) for kind in material.kinds],
            "ranks": list(material.ranks),
            "weight": material.weight,
            "notes": list(material.notes),
        }
    return {
        "images": [
            {"file": str(picture.path), "width": picture.width, "height": picture.height,
             "caption": picture.caption, "caption_from": picture.caption_from,
             "repeats": picture.repeats, "notes": list(picture.notes)}
            for picture in material.pictures
        ],
        "held_out": [str(picture.path) for picture in material.held_out],
        "rejected": [
            {"file": str(bad.path), "reason": bad.reason, "fix": bad.fix} for bad in material.rejected
        ],
        "notes": list(material.notes),
    }  # fmt: skip


def steps_of_epoch(pictures: Sequence[Bucketed], settings: Settings) -> int:
    """Steps in which all of them are shown, of as many batches each as are asked for."""
    batches = steps_per_epoch(pictures, settings.data.batch_size)
    return -(-batches // settings.algorithm.gradient_accumulation_steps)
