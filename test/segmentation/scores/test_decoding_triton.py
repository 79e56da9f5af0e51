"""The decoding kernel equals torch's own decoding: in Triton's interpreter, and on a GPU.

Run as a program, this file compares the two on one device and prints the differences as JSON; the
interpreter has to be chosen before Triton is first imported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch
from packaging.version import Version

from sclip_seg_ros.segmentation.scores.decoding import (
    plain,
    triton_kernel,
)
from sclip_seg_ros.segmentation.scores.decoding.rule import DecodingRule
from sclip_seg_ros.segmentation.scores.score_map import ScoreMap
from sclip_seg_ros.segmentation.scores.windows import stitch, window_boxes

triton = pytest.importorskip("triton", reason="triton is not installed")

# Earlier ones know neither the RTX 50 nor, when interpreting, the sizes of ranges.
triton_3_3 = pytest.mark.skipif(Version(triton.__version__) < Version("3.3"),
                                reason="needs Triton 3.3 or newer")
# Compute capabilities: Turing, A100, RTX 30 and 40, Jetson Orin, H100, RTX 50.
CAPABILITIES = (75, 80, 86, 89, 87, 90, pytest.param(120, marks=triton_3_3))


@dataclass(frozen=True)
class Case:
    """Scores and a rule to decode them by."""

    size: tuple[int, int]
    classes: tuple[int, ...] = (0, 1, 2, 3, 4)
    windows: bool = True
    background: int | None = None
    threshold: float = 0.0
    keep: tuple[bool, ...] | None = None
    broken: bool = False
    piece: int = triton_kernel.ENLARGED_ROWS

    def scores(self, device: torch.device) -> ScoreMap:
        """Return random scores of windows that overlap, or of one map."""
        generator = torch.Generator().manual_seed(len(self.classes))
        boxes = window_boxes(48, 72, 32, 16)
        parts = torch.rand(len(boxes), len(self.classes), 4, 4, generator=generator) * 0.2
        if self.broken:
            parts[:, :, 0, 0] = torch.nan
        scores = stitch(parts, boxes, (48, 72))
        if not self.windows:
            scores = ScoreMap.of(scores.dense((12, 18)))
        return ScoreMap(scores.values.to(device), scores.rows, scores.columns)

    def rule(self, device: torch.device) -> DecodingRule:
        """Return the rule."""
        keep = None if self.keep is None else torch.tensor(self.keep, device=device)
        return DecodingRule(torch.tensor(self.classes, device=device), 40.0, self.background,
                            self.threshold, keep)


CASES = {
    "plain": Case((13, 131)),
    "one class": Case((9, 7), classes=(0,)),
    "synonyms": Case((13, 131), classes=(0, 0, 1, 2, 2, 2, 3)),
    "unlabelled": Case((17, 25), threshold=0.5),
    "background": Case((17, 25), threshold=0.5, background=2),
    "kept classes": Case((17, 25), classes=(0, 0, 1, 2), keep=(True, False, True)),
    "dense scores": Case((17, 31), windows=False),
    "smaller than the scores": Case((11, 13)),
    "one pixel": Case((1, 1)),
    "254 classes": Case((2, 60), classes=tuple(range(254))),
    "in pieces": Case((41, 25), piece=1),
    "no numbers": Case((17, 25), broken=True),
}


def differences(device: torch.device) -> dict[str, dict[str, float]]:
    """Return how the kernel departs from torch, case by case."""
    found = {}
    for name, case in CASES.items():
        scores, rule = case.scores(device), case.rule(device)
        triton_kernel.ENLARGED_ROWS = case.piece
        labels, confidence = triton_kernel.label(scores, rule, case.size)
        expected_labels, expected = plain.label(scores, rule, case.size)
        found[name] = {"labels": (labels != expected_labels).float().mean().item(),
                       "confidence": (confidence - expected).abs().max().item(),
                       "distinct": len(expected_labels.unique())}
    return found


def in_interpreter(*arguments: str) -> subprocess.CompletedProcess:
    """Run this file with Triton's kernels interpreted on the CPU."""
    return subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True,
                          check=True, env={**os.environ, "TRITON_INTERPRET": "1",
                                           "PYTHONPATH": os.pathsep.join(sys.path)})


@pytest.fixture(scope="module")
def interpreted() -> dict[str, dict[str, float]]:
    return json.loads(in_interpreter("cpu").stdout)


@triton_3_3
@pytest.mark.parametrize("name", CASES)
def test_the_interpreted_kernel_equals_torch(interpreted, name):
    assert interpreted[name]["labels"] == 0
    assert interpreted[name]["confidence"] < 1e-5


@triton_3_3
def test_the_cases_decide_between_classes(interpreted):
    assert interpreted["plain"]["distinct"] == 5
    assert interpreted["synonyms"]["distinct"] == 4
    assert interpreted["kept classes"]["distinct"] == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", CASES)
def test_the_compiled_kernel_equals_torch(name):
    found = differences(torch.device("cuda"))[name]
    assert found["labels"] < 1e-3
    assert found["confidence"] < 1e-5


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("taps", [1, 2, 32])
def test_the_kernel_compiles_for_every_kind_of_gpu(tmp_path, monkeypatch, capability, taps):
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kinds = dict.fromkeys(("width", "queries", "row_cells", "fallback"), "i32") \
        | dict.fromkeys(("scale", "least"), "fp32") | dict.fromkeys(("TAPS", "PIXELS"), "constexpr")
    pointers = {"rows": "*fp32", "cells": "*i32", "weights": "*fp32", "classes": "*i32",
                "allowed": "*i32", "labels": "*u8", "confidence": "*fp32"}
    kernel = triton_kernel._label_rows
    signature = {name: (pointers | kinds)[name] for name in kernel.arg_names}
    program = triton.compile(
        ASTSource(kernel, signature, {"TAPS": taps, "PIXELS": triton_kernel.PIXELS}),
        target=GPUTarget("cuda", capability, 32))
    assert program.asm["cubin"]
    assert f"sm_{capability}" in program.asm["ptx"]
    assert program.metadata.shared <= 48 * 1024  # what every GPU gives a program


@triton_3_3
def test_another_vocabulary_or_size_needs_no_other_program():
    from triton.backends.compiler import GPUTarget
    from triton.compiler import make_backend
    from triton.runtime.jit import create_function_from_signature

    kernel = triton_kernel._label_rows
    bind = create_function_from_signature(kernel.signature, kernel.params,
                                          make_backend(GPUTarget("cuda", 87, 32)))
    numbers = torch.empty(4096)
    integers, labels = numbers.int(), numbers.to(torch.uint8)

    def program(width: int, queries: int, row_cells: int, fallback: int, first: int) -> str:
        _, specialisation, _ = bind(
            numbers, integers, numbers, integers, integers, labels[first:], numbers[first:], width,
            queries, row_cells, 40.0, 0.5, fallback, TAPS=4, PIXELS=triton_kernel.PIXELS)
        return str(specialisation)

    step = triton_kernel.ALIGNMENT
    assert len({program(640, 21, 40, 255, 0), program(641, 1, 16, 0, 0), program(1, 16, 1, 1, 0),
                program(641, 254, 210, 16, 641 * step)}) == 1


def test_a_kernel_that_cannot_run_is_reported_once(monkeypatch, caplog):
    monkeypatch.setattr(triton_kernel, "_failure", None)
    monkeypatch.setattr(triton_kernel, "triton", None)
    assert not triton_kernel.usable(torch.device("cpu"))
    assert not triton_kernel.usable(torch.device("cpu"))
    assert triton_kernel.fallback() == "triton is not installed"
    assert len(caplog.records) == 1
    assert "triton is not installed" in caplog.text


def test_a_kernel_that_lacked_memory_is_tried_again(monkeypatch):
    def full(device):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(triton_kernel, "_failure", None)
    monkeypatch.setattr(triton_kernel, "_try_out", full)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        triton_kernel.usable(torch.device("cuda"))
    assert triton_kernel.fallback() is None
    monkeypatch.setattr(triton_kernel, "_try_out", lambda device: None)
    assert triton_kernel.usable(torch.device("cuda"))


def test_a_kernel_with_wrong_labels_is_not_used(monkeypatch, caplog):
    monkeypatch.setattr(triton_kernel, "_failure", None)
    monkeypatch.setattr(triton_kernel, "label", lambda scores, rule, size: (
        torch.zeros(size, dtype=torch.uint8), torch.ones(size)))
    assert not triton_kernel.usable(torch.device("cpu"))
    assert "labels of a known image are wrong" in caplog.text


if __name__ == "__main__":
    with torch.inference_mode():
        print(json.dumps(differences(torch.device(sys.argv[1]))))
