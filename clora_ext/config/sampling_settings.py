"""What is looked at while and after a concept is taught."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from annotated_types import Ge, Le

from .knob import Knob

__all__ = ["SamplingSettings"]

_FULL_COUNT, _FULL_STEPS = 4, 30


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """What is looked at while and after a concept is taught; it changes nothing about the model."""

    sample_prompt: Annotated[
        str | None,
        Knob(
            "Prompt of previews and the contact sheet.",
            default_text="one that is no training caption",
        ),
    ] = None
    preview_every: Annotated[
        int,
        Ge(0),
        Knob(
            "Steps from one preview to the next, of the new concept and of the last eight learned before it, "
            "in the project's training folder (previews.png shows all); 0: none.",
        ),
    ] = 0
    preview_every_epochs: Annotated[
        int, Ge(0), Knob("The same in rounds through all pictures, where no steps are given; 0: none.")
    ] = 0
    preview_at_first: Annotated[
        bool,
        Knob("Previews before the first step too, of the model before; with no others if none are asked."),
    ] = False
    validate_every: Annotated[
        int,
        Ge(0),
        Knob("Steps from one validation of what is held out to the next; 0: by epochs, else ten in all."),
    ] = 0
    validate_every_epochs: Annotated[
        int, Ge(0), Knob("Rounds through all pictures from one validation to the next.")
    ] = 0
    sheet: Annotated[
        Literal["small", "full", "none"],
        Knob(
            "Contact sheet of what is drawn before and after: small, as sample_count and sample_steps "
            "say; full, at least four samples in at least 30 steps; none, nothing is drawn for it."
        ),
    ] = "small"
    sample_count: Annotated[
        int, Ge(1), Le(16), Knob("Samples in each row of the contact sheet.", suits_model=True)
    ] = 4
    kept_count: Annotated[
        int,
        Ge(0),
        Le(16),
        Knob(
            "Samples of each earlier concept after the new one is learned, by which a scorer tells what is "
            "kept; without a scorer one of each is drawn. 0: none, and nothing is told of them.",
        ),
    ] = 4
    sample_steps: Annotated[
        int, Ge(1), Le(1000), Knob("Denoising steps of each sample.", suits_model=True)
    ] = 30
    guidance: Annotated[
        float,
        Ge(1),
        Knob("Classifier-free guidance of samples; 1 switches it off.", step=0.5, suits_model=True),
    ] = 4.0

    @property
    def has_sheet(self) -> bool:
        """Whether there is a contact sheet."""
        return self.sheet != "none"

    @property
    def of_sheet(self) -> "SamplingSettings":
        """The same with the numbers by which the contact sheet is drawn, and what is compared with it."""
        if self.sheet != "full":
            return self
        count, steps = max(self.sample_count, _FULL_COUNT), max(self.sample_steps, _FULL_STEPS)
        return replace(self, sample_count=count, sample_steps=steps)
