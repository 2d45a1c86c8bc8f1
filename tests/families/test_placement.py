"""Networks take turns on a device that does not hold all of them; what was freed comes back to none."""

from typing import Any

import pytest
import torch
from torch import nn

from clora_ext.families import placement
from clora_ext.families.placement import Placement


class Card:
    """An accelerator of so many bytes: there is none in most machines."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.held: list[Network] = []
        self.moves: list[tuple[str, str]] = []

    def free(self, device: torch.device) -> int:
        assert device.type == "cuda"
        return self.size - sum(network.size for network in self.held)


class Network(nn.Module):
    """One that says where it lies."""

    def __init__(self, name: str, size: int, card: Card) -> None:
        super().__init__()
        self.name, self.size, self.card = name, size, card
        self.place = torch.device("cpu")
        self.weight = nn.Parameter(torch.zeros(size, dtype=torch.uint8), requires_grad=False)

    def parameters(self, recurse: bool = True) -> Any:  # noqa: FBT001, FBT002 - torch's own signature
        yield _Told(self.place, self.size)

    def to(self, device: Any) -> Any:  # type: ignore[override]
        self.place = torch.device(device)
        (self.card.held.append if self.place.type == "cuda" else self.card.held.remove)(self)
        self.card.moves.append((self.name, self.place.type))
        return self


class _Told:
    def __init__(self, device: torch.device, size: int) -> None:
        self.device, self._size = device, size

    def numel(self) -> int:
        return self._size

    def element_size(self) -> int:
        return 1


def placed(size: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Card, Network, Network, Placement]:
    card = Card(size)
    monkeypatch.setattr(placement, "free_memory", card.free)
    text, denoiser = Network("text", 8, card), Network("denoiser", 12, card)
    return card, text, denoiser, Placement(torch.device("cuda"), (text, denoiser))


def test_a_small_card_holds_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    card, text, denoiser, place = placed(16, monkeypatch)
    for network in (text, denoiser, denoiser, text):
        place.fetch(network)
    assert card.moves == [
        ("text", "cuda"), ("text", "cpu"), ("denoiser", "cuda"), ("denoiser", "cpu"), ("text", "cuda"),
    ]  # fmt: skip


def test_a_large_card_holds_both(monkeypatch: pytest.MonkeyPatch) -> None:
    card, text, denoiser, place = placed(24, monkeypatch)
    for network in (text, denoiser, text):
        place.fetch(network)
    assert card.moves == [("text", "cuda"), ("denoiser", "cuda")]
    place.make_room(4)
    assert len(card.moves) == 2
    place.make_room(10)
    assert card.moves[2:] == [("text", "cpu")]
    place.make_room(20)
    assert card.moves[3:] == [("denoiser", "cpu")]


def test_a_new_network_takes_what_room_there_is_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    card, text, denoiser, place = placed(16, monkeypatch)
    place.fetch_if_room(text)
    place.fetch_if_room(denoiser)
    assert card.moves == [("text", "cuda")]


def test_what_was_freed_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    card, text, denoiser, place = placed(16, monkeypatch)
    text.place = torch.device("meta")
    place.fetch(text)
    place.fetch(denoiser)
    place.make_room(16)
    assert card.moves == [("denoiser", "cuda"), ("denoiser", "cpu")]


def test_a_processor_holds_everything() -> None:
    real = nn.Linear(2, 2)
    place = Placement(torch.device("cpu"), (real,))
    place.fetch(real)
    place.make_room(1 << 60)
    assert real.weight.device.type == "cpu"
