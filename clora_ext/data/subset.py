"""A folder of pictures, and what holds for it alone."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from clora_ext.config.settings import AugmentationSettings, CaptionSettings, MaskSettings

from .kohya_buckets import KohyaBuckets

__all__ = ["INTERPOLATIONS", "Subset"]

INTERPOLATIONS: Mapping[str, str] = {
    "lanczos": "LANCZOS",
    "nearest": "NEAREST",
    "bilinear": "BILINEAR",
    "linear": "BILINEAR",
    "bicubic": "BICUBIC",
    "cubic": "BICUBIC",
    "area": "BOX",
}
"""Ways to resize by sd-scripts' names, and Pillow's."""

_LAID_OUT = (
    *("folder", "repeats", "caption_extension", "default_caption", "mask_folder", "skipped"),
    *("validation_split", "validation_seed"),  # the pictures that are left say what they do
)


@dataclass(frozen=True, slots=True)
class Subset:
    """One folder of a run.

    Attributes:
        folder: images; a kohya folder (``10_sks dog``); or a parent of kohya folders.
        repeats: how often each picture is shown in an epoch; None: as a kohya folder's name says, else once.
        captions: how they vary.
        augmentation: how pictures vary.
        masks: whether parts of them count more than others.
        mask_folder: where masks lie under the names of their pictures; None: beside them.
        caption_extension: ending of caption files; None: ``.txt`` and ``.caption``.
        default_caption: of pictures without a caption file, with ``{token}`` and ``{class}`` to be filled
            in; None: the words of a kohya folder, else the usual one.
        resolution: side of the square whose area pictures get, pixels; None: the run's.
        sides: (width, height), pixels, that pictures are cut to without sd-scripts' buckets, or whose area
            they get by them; None: the square's.
        batch_size: pictures in one step; None: the run's.
        validation_split: share of its pictures that is held out, 1: all of them; None: the run's.
        validation_seed: decides which; None: the run's.
        skipped: (width, height): pictures of at most this area are left out; None: none.
        interpolation: how pictures are resized, by :data:`INTERPOLATIONS`.
        buckets: sd-scripts' own; None: clora's, which cut nothing away up to 2:1 that need not be.
        regularisation: whether it shows other things of the concept's class, as DreamBooth's prior
            preservation (arXiv 2208.12242) has them: captions without the token, as many pictures as the
            others of its dataset.
        loss_weight: what the error of its pictures counts.
        preservation: whether the model has to answer its pictures as before the training, by which they keep
            what it draws rather than teach (differential output preservation).
        dataset: number of the dataset that it belongs to: regularisation pictures are counted by dataset.
    """

    folder: Path
    repeats: int | None = None
    captions: CaptionSettings = field(default_factory=CaptionSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    masks: MaskSettings = field(default_factory=MaskSettings)
    mask_folder: Path | None = None
    caption_extension: str | None = None
    default_caption: str | None = None
    resolution: int | None = None
    sides: tuple[int, int] | None = None
    batch_size: int | None = None
    validation_split: float | None = None
    validation_seed: int | None = None
    skipped: tuple[int, int] | None = None
    interpolation: str = "lanczos"
    buckets: KohyaBuckets | None = None
    regularisation: bool = False
    loss_weight: float = 1.0
    preservation: bool = False
    dataset: int = 0

    @property
    def shaping(self) -> Mapping[str, Any]:
        """What of it changes a training, beside its files, their captions and repeats; defaults left out.

        >>> Subset(Path("a"), resolution=512).shaping
        {'resolution': 512}
        """
        values, usual = asdict(self), asdict(Subset(self.folder))
        return {
            name: value for name, value in values.items() if name not in _LAID_OUT and value != usual[name]
        }
