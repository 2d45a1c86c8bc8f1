"""What a safetensors file is, from its header alone. Imports no torch."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clora_ext import families
from clora_ext.errors import CheckpointError
from clora_ext.formats.header import Header, read_header
from clora_ext.formats.history import HISTORY_KEY, decode_history
from clora_ext.formats.lora.contents import describe
from clora_ext.formats.memory import STRATEGY_KEY
from clora_ext.formats.models import model_pieces, statements_beside
from clora_ext.formats.prediction import Prediction, say
from clora_ext.formats.training_state import TRAINING_KEY

__all__ = ["FileReport", "inspect_file"]

_NOT_TAUGHT, _UNKNOWN = "a model that clora does not teach", "unknown"
_MODELS = {"checkpoint", _NOT_TAUGHT, _UNKNOWN}


@dataclass(frozen=True, slots=True)
class FileReport:
    """A file's header in words.

    Attributes:
        path: of the file.
        kind: ``checkpoint``, ``LoRA``, ``clora memory``, ``clora training state``, ``a model that clora does
            not teach`` or ``unknown``; of other adapters their name, such as ``LoHa``, ``DoRA`` or ``OFT``.
        family: the kind of model, if clora knows it.
        prediction: what the model predicts and who says so, as :meth:`Prediction.as_dict`; None: no model, or
            one that predicts something else.
        refusal: why clora cannot teach this model, or does not know what it is; None: it can, or the file is
            something else.
        bytes: size of the file.
        tensors: how many.
        parameters: how many numbers in all of them.
        dtypes: how many tensors are stored in each.
        title: what the file calls itself, if it says so.
        architecture: what the file says it is, such as ``stable-diffusion-v1``.
        trigger_phrase: the words that call up what it was taught.
        history: the concepts that clora put in, oldest first.
        metadata: the header's own words.
    """

    path: Path
    kind: str
    family: str | None
    prediction: Mapping[str, Any] | None
    refusal: str | None
    bytes: int
    tensors: int
    parameters: int
    dtypes: Mapping[str, int]
    title: str | None
    architecture: str | None
    trigger_phrase: str | None
    history: tuple[Mapping[str, str], ...]
    metadata: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "path": str(self.path)}


def inspect_file(path: Path) -> FileReport:
    """Read the header of ``path``.

    Raises:
        CheckpointError: it is no safetensors file, damaged, or a pickle.
    """
    header = read_header(path)
    usual = _usual(path, header)
    family = families.recognise(usual)
    kind = "checkpoint" if family else _kind(usual)
    prediction, refusal = _judged(usual, path)
    return FileReport(
        path=path,
        kind=kind,
        family=family.name if family else None,
        prediction=prediction.as_dict() if prediction else None,
        refusal=refusal if kind in _MODELS else None,
        bytes=path.stat().st_size,
        tensors=len(header.tensors),
        parameters=sum(info.elements for info in header.tensors.values()),
        dtypes=dict(sorted(Counter(info.dtype for info in header.tensors.values()).items())),
        title=header.metadata.get("modelspec.title"),
        architecture=header.metadata.get("modelspec.architecture"),
        trigger_phrase=header.metadata.get("modelspec.trigger_phrase"),
        history=decode_history(header.metadata.get(HISTORY_KEY, "")),
        metadata=dict(sorted(header.metadata.items())),
    )


def _usual(path: Path, header: Header) -> Header:
    """The same under the names by which families know their models; as it is, if it has none of theirs."""
    try:
        pieces = model_pieces(path)
    except CheckpointError:
        return header
    return header if pieces is None else pieces.header()


def _judged(header: Header, path: Path) -> tuple[Prediction | None, str | None]:
    """What the model predicts, or why it is refused."""
    try:
        header = say(header, *statements_beside(path))
        return families.detect(header, path).prediction(header), None
    except CheckpointError as error:
        return None, error.message


def _kind(header: Header) -> str:
    """What a file that is no whole model is."""
    if STRATEGY_KEY in header.metadata:
        return "clora memory"
    if TRAINING_KEY in header.metadata:
        return "clora training state"
    if described := describe(header.tensors):
        return described
    return _NOT_TAUGHT if families.is_known_refusal(header) else _UNKNOWN
