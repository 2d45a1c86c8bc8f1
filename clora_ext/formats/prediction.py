"""What a diffusion network predicts, found in every place that tells it. Nothing in the weights does.

The network predicts the noise, or v (arXiv 2202.00512); and its noise schedule may end in pure noise, with a
signal-to-noise ratio of zero (arXiv 2305.08891). Needs no torch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from clora_ext.errors import CheckpointError

from .header import Header
from .statements import Statement
from .text import quoted

__all__ = [
    "PREDICTION_KEY",
    "V_MARKER",
    "ZERO_SNR_MARKER",
    "Prediction",
    "PredictionKind",
    "find_prediction",
    "kind_of",
    "markers_of",
    "say",
]

PredictionKind = Literal["epsilon", "v"]
"""What the network predicts, as modelspec spells it."""

PREDICTION_KEY = "modelspec.prediction_type"
"""Metadata key of a checkpoint's prediction."""

V_MARKER = "v_pred"
"""Name of an empty tensor: the network predicts v."""

ZERO_SNR_MARKER = "ztsnr"
"""Name of an empty tensor: the noise schedule ends in pure noise."""

_OWN_KEY, _OWN_ZERO_SNR_KEY = "clora.prediction", "clora.zero_snr"
_WORD_KEYS = (PREDICTION_KEY, "modelspec.predict_key")
_V_KEYS = ("ss_v_parameterization",)  # true or false; sd-scripts
_ZERO_SNR_KEYS = ("ss_zero_terminal_snr",)
_EDM_MARKERS = (("edm_mean", "edm_std"), ("edm_vpred.sigma_max",), ("edm_vpred.sigma_min",))
_TRUTH = {"true": True, "1": True, "false": False, "0": False}
_SPELLINGS: Mapping[PredictionKind, Sequence[str]] = {
    "epsilon": ("epsilon", "eps", "noise"),
    "v": ("v", "v_prediction", "v_pred", "vpred"),
}
_SCHEDULER_NAMES: Mapping[str, str] = {"epsilon": "epsilon", "v": "v_prediction"}
_WORDS = {spelling: kind for kind, spellings in _SPELLINGS.items() for spelling in spellings}
_NOTHING = frozenset({"", "none", "null", "unknown"})
_REFUSED = {
    "an EDM model": ("edm", "edm_vpred", "v_prediction_edm", "trigflow"),
    "a flow-matching model": (
        "flow",
        "flow_prediction",
        "flow_matching",
        "flow_match",
        "rectified_flow",
        "rf",
    ),
    "a model that predicts the picture itself ('sample')": ("sample", "x0", "x_0", "start_x"),
}
_LONGEST = 80
_FIX = "use a model that predicts noise or v (v_pred)"


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a network predicts, and on which noise schedule it was trained.

    Two are equal that mean the same, whoever says so.

    Attributes:
        kind: ``epsilon``, the noise, or ``v``; or ``flow``, of families that predict nothing else.
        zero_snr: whether the schedule ends in pure noise, as diffusers' ``rescale_betas_zero_snr`` makes it.
        source: who says so; empty: nobody says anything, and this is what is usual.
        notes: who says otherwise, in words for people.
    """

    kind: PredictionKind | Literal["flow"] = "epsilon"
    zero_snr: bool = False
    source: str = field(default="", compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def words(self) -> str:
        """For people.

        >>> Prediction("v", True).words, Prediction().words
        ('v, zero terminal SNR', 'epsilon')
        """
        return f"{self.kind}, zero terminal SNR" if self.zero_snr else self.kind

    @property
    def scheduler(self) -> dict[str, Any]:
        """In the words of diffusers' schedulers of diffusion."""
        return {
            "prediction_type": _SCHEDULER_NAMES[self.kind],
            "rescale_betas_zero_snr": self.zero_snr,
        }

    @property
    def metadata(self) -> dict[str, str]:
        """In a header's words: clora's own, which count more than any other of the same header."""
        return {_OWN_KEY: self.kind, _OWN_ZERO_SNR_KEY: str(self.zero_snr).lower()}

    def statement(self, source: str) -> Statement:
        """As what ``source`` says."""
        return Statement(source, self.kind, self.zero_snr)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "kind": self.kind,
            "zero_snr": self.zero_snr,
            "source": self.source,
            "notes": list(self.notes),
        }


def find_prediction(header: Header, where: Path, own: Statement | None = None) -> Prediction:
    """What the network of a checkpoint predicts.

    Of several who say it the first counts: what stands beside the weights (:attr:`Header.statements`),
    clora's own metadata, the marker tensors that ComfyUI writes, modelspec, sd-scripts' metadata, ``own``.
    Metadata travels along when models are merged or converted; a marker was set by somebody who meant it.

    Args:
        header: of the checkpoint.
        where: names it in complaints.
        own: what the model's own configuration says.

    Raises:
        CheckpointError: it is of a kind that cannot be trained in this way, which is named, or of one that is
            not known.
    """
    statements = [*header.statements, *_in_header(header), *([own] if own else [])]
    for one in statements:
        _refuse(one, where)
    said = [one for one in statements if _folded(one.word) not in _NOTHING]
    ends = [one for one in statements if one.zero_snr is not None]
    kind: PredictionKind = "epsilon"
    if said:
        kind = _kind(said[0], where)
    zero_snr = bool(ends and ends[0].zero_snr)
    sources = [*(one.source for one in said[:1]), *(one.source for one in ends[:1] if one.zero_snr)]
    notes = [*_word_notes(said, kind), *_zero_snr_notes(ends)]
    return Prediction(kind, zero_snr, " and ".join(dict.fromkeys(sources)), tuple(notes))


def say(header: Header, *statements: Statement) -> Header:
    """The same header, with statements that count more than all that it has."""
    return replace(header, statements=(*statements, *header.statements))


def markers_of(prediction: Prediction) -> tuple[str, ...]:
    """Names of the empty tensors that tell other programs; none for what is usual."""
    v = (V_MARKER,) if prediction.kind == "v" else ()
    return (*v, ZERO_SNR_MARKER) if prediction.zero_snr else v


def kind_of(word: str | None) -> PredictionKind | None:
    """What a word means, whoever spells it; None: nothing that can be trained.

    >>> kind_of("V-Prediction"), kind_of("eps"), kind_of("sample")
    ('v', 'epsilon', None)
    """
    return _WORDS.get(_folded(word))


def _folded(word: str | None) -> str:
    """A word as spellings of it are compared."""
    return "_".join((word or "").casefold().replace("-", " ").replace("_", " ").split())


def _in_header(header: Header) -> Iterator[Statement]:
    """What tensors and metadata say, the most deliberate first."""
    metadata, tensors = header.metadata, header.tensors
    for marker in _EDM_MARKERS:
        if all(name in tensors for name in marker):
            yield Statement(f"the tensor {marker[0]}", "edm")
    own = _truth(metadata.get(_OWN_ZERO_SNR_KEY))
    yield Statement("clora's own metadata", metadata.get(_OWN_KEY), own)
    if V_MARKER in tensors:
        yield Statement(f"the tensor {V_MARKER}", "v")
    if ZERO_SNR_MARKER in tensors:
        yield Statement(f"the tensor {ZERO_SNR_MARKER}", None, zero_snr=True)
    for key in _WORD_KEYS:
        if key in metadata:
            yield Statement(key, metadata[key])
    for key in _V_KEYS:
        is_v = _truth(metadata.get(key))
        if is_v is not None:
            yield Statement(key, "v" if is_v else "epsilon")
    for key in _ZERO_SNR_KEYS:
        yield Statement(key, None, _truth(metadata.get(key)))


def _truth(text: str | None) -> bool | None:
    """Yes, no, or that nothing is said."""
    return None if text is None else _TRUTH.get(text.strip().casefold())


def _refuse(statement: Statement, where: Path) -> None:
    """Networks that are trained on something else, whatever others say of them."""
    word = _folded(statement.word)
    for what, words in _REFUSED.items():
        if word in words:
            raise CheckpointError(f"{where} is {what}: {statement.source} says so", fix=_FIX)


def _kind(statement: Statement, where: Path) -> PredictionKind:
    """What the statement that counts means."""
    kind = kind_of(statement.word)
    if kind is None:
        word = quoted(statement.word or "", _LONGEST)
        message = f"{where}: {statement.source} says that the model predicts {word}, which is not known"
        fix = "if you know that it predicts noise or v, start a project with --prediction epsilon or v"
        raise CheckpointError(message, fix=fix)
    return kind


def _word_notes(said: Sequence[Statement], kind: PredictionKind) -> Iterator[str]:
    for other in said[1:]:
        if kind_of(other.word) != kind:
            word = kind_of(other.word) or quoted(other.word or "", _LONGEST)
            yield f"{said[0].source} says {kind}, {other.source} says {word}: {said[0].source} counts"


def _zero_snr_notes(ends: Sequence[Statement]) -> Iterator[str]:
    for other in ends[1:]:
        if other.zero_snr != ends[0].zero_snr:
            with_it, without = ("with", "without") if ends[0].zero_snr else ("without", "with")
            yield (
                f"{ends[0].source} says {with_it} zero terminal SNR, {other.source} says {without}: "
                f"{ends[0].source} counts"
            )
