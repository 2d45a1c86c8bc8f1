"""What a step sees: pictures, captions, and how they vary; and what is held out. Needs no torch."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le, Lt

from .knob import Knob

__all__ = [
    "AugmentationSettings",
    "CaptionSettings",
    "DataSettings",
    "MaskSettings",
    "PreservationSettings",
    "PromptSettings",
    "ValidationSettings",
]


@dataclass(frozen=True, slots=True)
class DataSettings:
    """What a step sees of the pictures."""

    batch_size: Annotated[int, Ge(1), Knob("Pictures in one step, of each process.", suits_model=True)] = 8
    resolution: Annotated[
        int | None,
        Ge(1),
        Knob(
            "Side of a square picture, pixels. Smaller takes less memory.",
            default_text="the model's own",
            step=8,
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class CaptionSettings:
    """What is done to a caption whenever its picture is shown, by sd-scripts' rules."""

    shuffle_caption: Annotated[bool, Knob("Put the tags of a caption into another order each time.")] = False
    keep_tokens: Annotated[
        int, Ge(0), Knob("So many tags at a caption's start stay where they are and are never left out.")
    ] = 0
    keep_tokens_separator: Annotated[
        str | None,
        Knob(
            "A mark in captions: tags before it stay, and those after a second one. It counts more than "
            "keep-tokens.",
            default_text="none",
        ),
    ] = None
    caption_separator: Annotated[str, Knob("What stands between tags.")] = ","
    secondary_separator: Annotated[
        str | None,
        Knob("A mark between tags that stay together; it becomes the separator.", default_text="none"),
    ] = None
    caption_prefix: Annotated[
        str | None, Knob("Text put before every caption, with a blank.", default_text="none")
    ] = None
    caption_suffix: Annotated[
        str | None, Knob("Text put after every caption, with a blank.", default_text="none")
    ] = None
    wildcards: Annotated[
        bool, Knob("Choose one of a caption's lines each time, and one of a and b for {a|b}.")
    ] = False
    caption_dropout: Annotated[float, Ge(0), Le(1), Knob("Share of captions left out.", step=0.05)] = 0.0
    tag_dropout: Annotated[float, Ge(0), Le(1), Knob("Share of tags left out.", step=0.05)] = 0.0
    caption_dropout_every: Annotated[
        int, Ge(0), Knob("Captions are left out in every epoch whose number is a multiple; 0: in none.")
    ] = 0

    @property
    def vary(self) -> bool:
        """Whether a caption may be another one in every step."""
        return bool(
            self.shuffle_caption
            or self.wildcards
            or self.caption_dropout
            or self.tag_dropout
            or self.caption_dropout_every
        )


@dataclass(frozen=True, slots=True)
class AugmentationSettings:
    """How a picture differs from step to step."""

    flip_aug: Annotated[
        bool, Knob("Mirror pictures by chance, half of the time; not for what has a left and a right.")
    ] = False
    random_crop: Annotated[
        bool,
        Knob(
            "Cut pictures at a place left to chance instead of about their centre; takes time in every step."
        ),
    ] = False
    color_aug: Annotated[
        bool,
        Knob(
            "Change hue or gamma a little, in one of three steps; takes time in every step, and is not for "
            "styles."
        ),
    ] = False

    @property
    def changes_pixels(self) -> bool:
        """Whether a picture has to be encoded anew in every step."""
        return self.random_crop or self.color_aug


@dataclass(frozen=True, slots=True)
class MaskSettings:
    """Parts of pictures that count more than others in the loss."""

    masked_loss: Annotated[
        bool,
        Knob(
            "Weigh the loss by masks beside the pictures: NAME-masklabel.png or NAME_mask.png, black where "
            "nothing counts."
        ),
    ] = False
    alpha_mask: Annotated[bool, Knob("Weigh the loss by the pictures' own transparency.")] = False
    normalize_masks: Annotated[
        bool,
        Knob("Divide each picture's loss by the mean of its mask, so that all pictures count alike."),
    ] = False


@dataclass(frozen=True, slots=True)
class PreservationSettings:
    """What the model has to go on drawing as before."""

    preserve_class: Annotated[
        float,
        Ge(0),
        Knob(
            "Weight of answering the pictures of a step as before where the token is left out of their "
            "captions, so that the class stays what it was; a step then takes about 2.3 times as long. 0: "
            "none.",
            step=0.5,
        ),
    ] = 0.0


_AS_BEFORE = "as of the concept before, else {}"


@dataclass(frozen=True, slots=True)
class PromptSettings:
    """How the text encoders read captions and prompts, in training and whenever the concept is drawn."""

    clip_skip: Annotated[
        int,
        Ge(1),
        Le(24),
        Knob(
            "Layer of Stable Diffusion 1's text encoder whose states are read, counted from its end; 2 suits "
            "models that were trained so. SDXL always reads its last but one.",
            default_text=_AS_BEFORE.format(1),
        ),
    ] = 1
    max_token_length: Annotated[
        Literal[75, 150, 225],
        Knob(
            "How much of a text is read: 75 tokens, or two or three times as many in parts, as ComfyUI and "
            "Automatic1111 do.",
            default_text=_AS_BEFORE.format(75),
        ),
    ] = 75

    @property
    def parts(self) -> int:
        """How often the text encoder is asked for one text.

        >>> PromptSettings(max_token_length=225).parts
        3
        """
        return self.max_token_length // 75


@dataclass(frozen=True, slots=True)
class ValidationSettings:
    """Pictures that are held out of the training, and asked about while it goes on."""

    validation_split: Annotated[
        float,
        Ge(0),
        Lt(1),
        Knob("Share of the pictures that are held out to validate the training, by content.", step=0.05),
    ] = 0.0
    validation_seed: Annotated[int, Ge(0), Knob("Decides which pictures are held out.")] = 0
    keep_best: Annotated[
        bool, Knob("Take the adapter with the lowest validation loss instead of the last one.")
    ] = False
