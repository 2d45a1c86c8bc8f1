"""Phrasings of prompts: bare, short and long, with places, colours and looks.

A model remembers a concept as far as it is asked for it, so it is asked in many ways. {thing} is what is
shown, such as "sks dog" or "a fox in zwz style"; {colour}, {place} and {look} are filled in from lists.
"""

__all__ = ["BACKGROUNDS", "OPENINGS", "TEMPLATES"]

TEMPLATES = (
    "{thing}",
    "a photo of {thing}",
    "a picture of {thing}",
    "a drawing of {thing}",
    "a painting of {thing}",
    "an image of {thing}",
    "a close up of {thing}",
    "the {thing}",
    "one {thing}",
    "a {look} {thing}",
    "{thing} on {colour}",
    "{thing} {place}",
    "a photo of {thing} {place}",
    "a photo of a {look} {thing}",
    "{thing} in front of a {colour} background",
    "a photo of {thing} on a {colour} background",
    "a picture of {thing} on a {colour} background",
    "a photo of {thing} with a {colour} background",
    "a painting of {thing} on a {colour} background",
    "a drawing of {thing}, {colour} background",
    "an illustration of {thing} {place}",
    "high quality photo of {thing} {place}",
)

OPENINGS = ("a photo of", "a picture of", "an image of")
"""Beginnings of captions that say no more than that there is a picture."""

BACKGROUNDS = (
    "on a {colour} background",
    "with a {colour} background",
    "in front of a {colour} background",
    "on {colour}",
)
"""Ends of captions that say the same of what is behind a thing."""
