"""The embedded model's LoftUp: it is the one that was measured, and it sharpens outlines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sclip_research.evaluate_embedded_loftup import RESULTS, ROWS, SLICE, Row, measure, table

from sclip_seg_ros.models.clip import EMBEDDED, EMBEDDED_FOLDER
from sclip_seg_ros.models.weights import checksum
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.upsamplers.feature_contract import FeatureContract
from sclip_seg_ros.segmentation.upsamplers.loftup.weights import EMBEDDED_FILE, read_loftup

ROOT = Path(__file__).resolve().parents[3]
SCORES = ("miou", "boundary_f1", "boundary_iou")


@pytest.fixture(scope="module")
def results() -> dict:
    """Return the committed evaluation."""
    return json.loads(RESULTS.read_text())


def row(listed: list[dict], wanted: Row) -> dict:
    """Find one row's scores."""
    (found,) = [entry for entry in listed
                if (entry["inference"], entry["upsampling"], entry["factor"]) == tuple(wanted)]
    return found


def test_the_two_files_stay_small():
    weights = EMBEDDED_FOLDER / "open_clip_model.safetensors"
    assert EMBEDDED_FILE.stat().st_size + weights.stat().st_size <= 24e6


def test_the_evaluation_is_of_these_weights(results):
    assert results["loftup_sha256"] == checksum(EMBEDDED_FILE)
    assert results["weights_sha256"] == checksum(EMBEDDED_FOLDER / "open_clip_model.safetensors")
    assert results["scenes"] >= 100
    assert [tuple(Row(*list(entry.values())[:3])) for entry in results["rows"]] \
        == [tuple(wanted) for wanted in ROWS]


def test_with_windows_the_adaptive_factor_beats_bilinear_features_of_its_size(results):
    loftup, bilinear = (row(results["rows"], Row("slide", name, "adaptive"))
                        for name in ("loftup", "bilinear"))
    assert loftup["boundary_f1"] >= bilinear["boundary_f1"] + 0.03
    assert loftup["miou"] >= bilinear["miou"]


def test_a_slice_of_the_evaluation_comes_out_the_same(results):
    rows = [Row("slide", name, "adaptive") for name in ("bilinear", "loftup")]
    again = measure(SLICE, rows)
    for wanted in rows:
        new, old = (row(listed, wanted) for listed in (again["rows"], results["slice"]["rows"]))
        for name in SCORES:
            assert new[name] == pytest.approx(old[name], abs=0.005), (wanted, name)


def test_the_documents_show_the_table(results):
    text = (ROOT / "docs" / "training_loftup.md").read_text()
    shown = text.partition("<!-- evaluation -->\n")[2].partition("\n<!-- /evaluation -->")[0]
    assert shown == table(results)


def test_it_is_what_the_embedded_model_takes_without_being_asked():
    segmentor = SCLIPSegmentor(use_loftup=True)
    assert segmentor.fallbacks == ()
    metadata = read_loftup(EMBEDDED).metadata
    assert FeatureContract.from_metadata(metadata) == FeatureContract(EMBEDDED, "attended", "clip")
