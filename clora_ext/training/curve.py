"""A training's loss curve as a table, CSV: step, loss, rate, seconds, validation. Needs no torch."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from math import isfinite
from pathlib import Path

from clora_ext.errors import writing

__all__ = ["CurvePoint", "read_curve", "training_seconds", "write_curve"]

_LARGEST = 1 << 26  # bytes; half a million steps


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One step.

    Attributes:
        step: 1 for the first.
        loss: mean squared error of the predicted noise.
        rate: the learning rate.
        seconds: its duration; None: not known.
        validation: loss on what is held out, after it; None: it was not asked for.
    """

    step: int
    loss: float
    rate: float
    seconds: float | None
    validation: float | None = None


def write_curve(points: Iterable[CurvePoint], file: Path) -> None:
    """Write the table, with a header; its last column is there where something was validated.

    Raises:
        StorageError: the disk is full or refuses.
    """
    known = list(points)
    names = [field.name for field in fields(CurvePoint)]
    columns = names if any(one.validation is not None for one in known) else names[:-1]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for point in known:
        step, loss, rate, seconds, validation = astuple(point)
        row = [step, f"{loss:.8g}", f"{rate:.8g}", "" if seconds is None else f"{seconds:.3f}"]
        row.append("" if validation is None else f"{validation:.8g}")
        writer.writerow(row[: len(columns)])
    with writing(file):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text.getvalue(), encoding="ascii", newline="")


def read_curve(file: Path) -> tuple[CurvePoint, ...]:
    """The points of a table; empty: there is none, or it is damaged."""
    try:
        with file.open("rb") as opened:
            content = opened.read(_LARGEST + 1)
        rows = list(csv.DictReader(io.StringIO(content.decode("ascii")))) if len(content) <= _LARGEST else []
        points = tuple(
            CurvePoint(
                int(row["step"]),
                float(row["loss"]),
                float(row["rate"]),
                _number(row["seconds"]),
                _number(row.get("validation") or ""),  # older tables have no such column
            )
            for row in rows
        )
    except (OSError, ValueError, TypeError, KeyError, csv.Error):
        return ()
    whole = all(isfinite(one.loss) and isfinite(one.rate) for one in points)
    return points if whole and [one.step for one in points] == sorted({one.step for one in points}) else ()


def _number(text: str) -> float | None:
    """A finite number, or nothing.

    Raises:
        ValueError: it is neither.
    """
    if not text:
        return None
    number = float(text)
    if not isfinite(number):
        message = f"{text} is no finite number"
        raise ValueError(message)
    return number


def training_seconds(points: Sequence[CurvePoint]) -> float | None:
    """How long all steps took; None: of one it is not known, or there are none."""
    known = [one.seconds for one in points if one.seconds is not None]
    return sum(known) if known and len(known) == len(points) else None
