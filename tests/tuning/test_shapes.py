"""Convolutions as text and as CSV: written as they are read, and refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastconv.dispatch.table import problem_key
from fastconv.tuning import problem_of, read_csv, text_of

TEXTS = [
    "64x64x56x56,k3,p1",
    "3x64x224x224,k7,s2,p3",
    "8x8x20,k5,p4+0",
    "8x16x9x8x7,k3x2x1,s1x2x1,p1x0x0,d1x1x2",
    "32x32x14x14,k3,p1,g32,nhwc",
    "16x8x7x7,k4,s2,p1,o1,transposed,float64",
    "4x4x9x9,k3,p2,reflect,rtol=0.01",
    "1x1x5x5,k1,int8",
    "4x8x9x9,k3,precision=bf16",
]


@pytest.mark.parametrize("text", TEXTS)
def test_convolutions_are_written_as_they_are_read(text: str) -> None:
    problem = problem_of(text)
    assert text_of(problem) == text
    assert problem_of(text_of(problem)) == problem


def test_a_precision_is_no_other_problem_to_a_table() -> None:
    assert problem_key(problem_of("4x4x9x9,k3,precision=tf32")) == problem_key(
        problem_of("4x4x9x9,k3")
    )


def test_same_is_understood_and_keys_tell_problems_apart() -> None:
    assert text_of(problem_of("4x4x9x9,k3,same")) == "4x4x9x9,k3,p1"
    assert len({problem_key(problem_of(text)) for text in TEXTS}) == len(TEXTS)


BAD = {
    "": "does not begin with sizes",
    "64": "does not begin with sizes",
    "64x64,k3": "does not begin with sizes",
    "axbxc,k3": "does not begin with sizes",
    "4x4x9x9": "there must be a kernel",
    "4x4x9x9,k3,z": "'z' is not understood",
    "4x4x9x9,k3,k5": "says kernel a second time",
    "4x4x9x9,k3x3x3": "must have 1 or 2 numbers",
    "4x4x9x9,k3+1": "is not understood",
    "4x4x9x9,k11": "can't be greater than actual input size",
    "4x4x9x9,k3,s0": "non-positive stride",
    "4x4x9x9,k3,g3": "must divide 4 and 4 channels",
    "4x4x9x9,k3,o1": "for transposed",
    "4x4x9x9,k3,transposed,reflect": "no padding mode",
    "4x4x9x9,k3,rtol=-1": "rtol must not be negative",
    "4x4x9x9,k3,precision=fp8": "precision must be one of",
    "4x4x9x9,k3,int8,precision=tf32": "precision tf32 is not for int8",
    "4x4x9x9,k3,rtol=e": "could not convert",
    "99999999999999999999x4x9x9,k3": "is too large",
    "4x0x9x9,k3": "should be greater than zero",
}


@pytest.mark.parametrize("text", BAD)
def test_bad_convolutions_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=BAD[text]):
        problem_of(text)


def test_csv_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "layers.csv"
    head = "name,batch,in_channels,height,width,out_channels,kernel_h,kernel_w,stride,pad_h\n"
    path.write_text(head + "one,1,64,56,56,64,3,3,1,1\n,8,3,9,9,4,1,3,,\n")
    found = read_csv(path)
    assert {name: text_of(p) for name, p in found.items()} == {
        "one": "64x64x56x56,k3,p1x0",
        "3": "3x4x9x9,k1x3",
    }
    for text, message in {
        head.replace("stride", "stripe"): "'stripe' is not understood",
        head.replace("in_channels", "name"): "it lacks in_channels",
        head + "a,1,x,56,56,64,3,3,1,1\n": "line 2: in_channels must be a number, not 'x'",
        head + "a,1,4,2,2,64,3,3,1,0\n": "line 2: ",
        head + "a,1\n": "line 2: in_channels must be a number, not ''",
        "": "it lacks in_channels",
    }.items():
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_csv(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="is not a CSV file"):
        read_csv(path)
