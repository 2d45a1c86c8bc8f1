"""The benchmarks measure what they say: contenders give the same model, and clora takes little memory."""

from pathlib import Path

import pytest
import report
import torch
from contenders import CONTENDERS, Job
from rounds import contender, prepare
from safetensors.torch import load_file


def folded(name: str, folder: Path, out: Path) -> dict[str, torch.Tensor]:
    """One contender's result, in this process."""
    job = Job("tiny", folder, out / name.replace(" ", "_"))
    job.out.mkdir()
    CONTENDERS[name](job)()
    return load_file(job.result)


def test_clora_diffusers_and_peft_give_the_same_model(tmp_path: Path) -> None:
    """Real UNets and each library's own loader: alpha / rank, names and the sum are the same everywhere."""
    prepare("tiny", tmp_path / "tiny")
    ours = folded("clora merge, first", tmp_path / "tiny", tmp_path)
    before = load_file(tmp_path / "tiny" / "base.safetensors")
    changed = [name for name in ours if not torch.equal(ours[name], before[name])]
    assert len(changed) == 32
    for other in ("diffusers fuse_lora", "peft merge_and_unload"):
        theirs = folded(other, tmp_path / "tiny", tmp_path)
        assert theirs.keys() == ours.keys()
        for name, tensor in ours.items():
            # They compute the change in float16.
            torch.testing.assert_close(theirs[name], tensor, rtol=2e-3, atol=2e-5)
            assert torch.equal(theirs[name], tensor) or name in changed


@pytest.mark.benchmark
def test_folding_sd15_takes_less_than_64_mb_above_torch(tmp_path: Path) -> None:
    prepare("sd15", tmp_path / "sd15")
    for name in report.OURS:
        row = contender(name, "sd15", tmp_path / "sd15", tmp_path / "out", "")
        assert 0 < row["above_torch"] < 64e6


@pytest.mark.benchmark
def test_a_report_is_written_whichever_tools_fail(tmp_path: Path) -> None:
    output = tmp_path / "report.md"
    arguments = ["--kinds", "tiny", "--rounds", "1", "--work", str(tmp_path), "--output", str(output)]
    report.main(arguments)
    text = output.read_text(encoding="utf-8")
    assert "| clora merge, first | 1 |" in text
    assert "sd-mecha add failed" in text  # it knows no such model
    assert "memory above torch < 64 MB" in text
    assert not list(tmp_path.glob("tiny*"))
