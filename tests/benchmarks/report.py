"""`make benchmark`: folds measured against a copy and against other tools, written to docs/benchmarks.md.

Needs Linux, some 30 GB of disk for SDXL and the `benchmark` extra. Big files go into --work and are removed.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import extraction
import rounds as measured
import starts
from model_shapes import UNETS, taught_share

ROOT = Path(__file__).parents[2]
OURS = ("clora merge, first", "clora merge, later", "clora mask, later")
OTHERS = (
    "clora mask, later, no memory", "diffusers fuse_lora", "peft merge_and_unload",
    "sd-mecha add", "sd-mecha larger",
)  # fmt: skip
SAME = (("clora merge, first", "sd-mecha add"), ("clora mask, later, no memory", "sd-mecha larger"))
TITLES = {"sd15": "SD 1.5", "sdxl": "SDXL", "tiny": "a tiny model"}
MB = 1e6

Rows = dict[str, list[tuple[measured.Row, measured.Row]]]


def main(arguments: Sequence[str]) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, help="folder for big files; removed at the end")
    parser.add_argument("--kinds", nargs="+", default=["sd15", "sdxl"], choices=list(UNETS))
    parser.add_argument("--rounds", type=int, default=5, help="of clora and the copy")
    parser.add_argument("--other-rounds", type=int, default=1, help="of the other tools")
    parser.add_argument("--extra", default="", help="folder with sd-mecha, if it is not installed")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks.md")
    chosen = parser.parse_args(arguments)
    sys.path.insert(0, str(ROOT))
    work = chosen.work or Path(tempfile.mkdtemp(prefix="clora-benchmark-"))
    parts = []
    try:
        for kind in chosen.kinds:
            measured.prepare(kind, work / kind)
            rows: Rows = {}
            for names, count in ((OURS, chosen.rounds), (OTHERS, chosen.other_rounds)):
                collect(rows, measured.rounds(names, kind, work, count, chosen.extra))
            size = (work / kind / "base.safetensors").stat().st_size
            parts.append(section(kind, size, rows, same(kind, work, rows)))
            if kind != "tiny":
                parts += [starts_section(kind), extraction_section(kind)]
            shutil.rmtree(work / kind)
            for file in work.glob(f"{kind}-*"):
                file.unlink()
            write(chosen.output, parts)
    finally:
        if chosen.work is None:
            shutil.rmtree(work)


def write(output: Path, parts: Sequence[str]) -> None:
    """The report with what there is so far."""
    text = (Path(__file__).parent / "report.md").read_text(encoding="utf-8")
    filled = text.replace("{machine}", machine()).replace("{parts}", "\n\n".join(parts))
    output.write_text(filled, encoding="utf-8")


def collect(rows: Rows, found: Iterable[tuple[str, measured.Row, measured.Row]]) -> None:
    """Group measurements by name; show each as it comes."""
    for name, row, beside in found:
        print(json.dumps({"name": name, **row, "copy": beside}), flush=True)
        rows.setdefault(name, []).append((row, beside))


def that_worked(rows: Rows) -> Rows:
    """Without the contenders that failed."""
    return {name: pairs for name, pairs in rows.items() if all("failed" not in row for row, _ in pairs)}


def same(kind: str, work: Path, rows: Rows) -> list[str]:
    """In how many numbers the results of two contenders differ that should give the same."""
    lines = []
    for one, other in SAME:
        if {one, other} <= that_worked(rows).keys():
            different, total = measured.differing(kind, work, one, other)
            lines.append(f"- {one} and {other}: {different:,} of {total:,} numbers differ in a bit.")
    return lines


def section(kind: str, size: int, rows: Rows, remarks: Sequence[str]) -> str:
    """One model's table; ``size`` of the model in bytes."""
    good = that_worked(rows)
    copies = [beside for pairs in rows.values() for _, beside in pairs]
    lines = [
        f"## Fold into {TITLES[kind]}'s UNet ({size / 1e9:.2f} GB, {taught_share(kind):.0%} of it taught)",
        "",
        "| | runs | CPU s | CPU / cp's | wall / cp | both with fsync | MB above torch | GB written |",
        "|---|---|---|---|---|---|---|---|",
        f"| cp | {len(copies)} | {measured.middle(copies, 'cpu'):.2f} | 1 | 1 | 1 | | {size / 1e9:.2f} |",
    ]
    lines += [table_row(name, pairs) for name, pairs in good.items()]
    lines.append("")
    lines += [
        f"- {name} failed: `{pairs[0][0]['failed']}`" for name, pairs in rows.items() if name not in good
    ]
    return "\n".join([*lines, *remarks, *goals(good)])


def table_row(name: str, pairs: Sequence[tuple[measured.Row, measured.Row]]) -> str:
    """Medians; ratios are medians of the ratios of pairs."""
    rows = [row for row, _ in pairs]
    cpu = [{"x": row["cpu"] / beside["cpu"]} for row, beside in pairs]
    plain = [{"x": (row["wall"] - row["sync"]) / beside["wall"]} for row, beside in pairs]
    synced = [{"x": row["wall"] / (beside["wall"] + beside["sync"])} for row, beside in pairs]
    # Tools that never force their file to the disk have no figure for it.
    forced = f"{measured.middle(synced, 'x'):.2f}" if any(row["sync"] for row in rows) else ""
    cells = [
        name, str(len(rows)), f"{measured.middle(rows, 'cpu'):.1f}", f"{measured.middle(cpu, 'x'):.1f}",
        f"{measured.middle(plain, 'x'):.2f}", forced,
        f"{measured.middle(rows, 'above_torch') / MB:.0f}", f"{measured.middle(rows, 'bytes') / 1e9:.2f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def goals(good: Mapping[str, Sequence[tuple[measured.Row, measured.Row]]]) -> list[str]:
    """What was aimed at, and what came."""

    def cpu(name: str) -> float:
        return measured.middle([row for row, _ in good[name]], "cpu")

    def wall(name: str) -> float:
        return measured.middle([{"x": (r["wall"] - r["sync"]) / c["wall"]} for r, c in good[name]], "x")

    above = max(row["above_torch"] for name in OURS for row, _ in good.get(name, ()))
    found = [("memory above torch < 64 MB", f"{above / MB:.0f} MB", above < 64 * MB)]
    for name, most in (("clora merge, later", 2.0), ("clora mask, later", 2.5)):
        if name in good:
            found.append((f"{name}: wall / cp <= {most}", f"{wall(name):.2f}", wall(name) <= most))
    for name, ours, least in (
        ("sd-mecha add", "clora merge, first", 5), ("sd-mecha larger", "clora mask, later", 5),
        ("diffusers fuse_lora", "clora merge, first", 4),
    ):  # fmt: skip
        if name in good:
            ratio = cpu(name) / cpu(ours)
            found.append((f"{name}: CPU >= {least} x {ours}'s", f"{ratio:.1f} x", ratio >= least))
    return table(found)


def table(found: Iterable[tuple[str, str, bool]]) -> list[str]:
    """Goals, what was measured, and whether they are met."""
    rows = (f"| {goal} | {value} | {'met' if met else '**not met**'} |" for goal, value, met in found)
    return ["", "| goal | measured | |", "|---|---|---|", *rows]


def starts_section(kind: str) -> str:
    """The orthogonal start's table."""
    found = starts.measure(kind)
    ratio = found.columns / found.ours
    seconds = f"{found.ours:.1f} s against {found.columns:.1f} s: 1/{ratio:.1f}"
    lines = table(
        [
            ("CPU time <= 1/5 of one SVD a column", seconds, ratio >= 5),
            ("norm(down @ earlier.T) <= 1e-6, relative", f"{found.overlap:.1e}", found.overlap <= 1e-6),
            ("effective rank >= 60 of 64", f"{found.rank:.1f}", found.rank >= 60),
        ]
    )
    title = f"### Orthogonal start, all attention of {TITLES[kind]}, rank 64 (reckoned from a part of it)"
    return "\n".join([title, *lines])


def extraction_section(kind: str) -> str:
    """The table of extracting a LoRA."""
    found = extraction.measure(kind)
    ratio = found.full / found.ours
    seconds = f"{found.ours:.1f} s against {found.full:.1f} s: 1/{ratio:.1f}"
    lines = table(
        [
            ("CPU time <= 1/16 of a whole SVD", seconds, ratio >= 16),
            ("error <= 1.014 x the least possible", f"{found.excess:.4f} x", found.excess <= 1.014),
        ]
    )
    title = f"### Extraction of a rank-64 LoRA, all attention of {TITLES[kind]} (reckoned from a part of it)"
    return "\n".join([title, *lines])


def machine() -> str:
    """Processor, memory, versions."""
    information = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next(line.split(":")[1].strip() for line in information if line.startswith("model name"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    wanted = ("torch", "diffusers", "peft", "safetensors", "numpy")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in wanted)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{os.cpu_count()} cores of {model}, {memory:.0f} GB of memory, Linux {platform.release()}, "
        f"Python {platform.python_version()}, {versions}. "
        f"Load of the machine at the end (1, 5, 15 minutes): {load}."
    )


if __name__ == "__main__":
    main(sys.argv[1:])
