"""`python -m benchmarks.temporal`: its figures and the page made of them."""

from __future__ import annotations

from benchmarks.temporal.footage import takes
from benchmarks.temporal.measures import Measures
from benchmarks.temporal.page import page
from benchmarks.temporal.rows import Judge, aside, held, per_frame, remembered
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.temporal import TemporalSettings


def test_time_pays_on_a_film_with_a_mover_and_the_page_says_so(tmp_path) -> None:
    # In windows: of the whole image the embedded model leaves less to gain.
    segmentor = SCLIPSegmentor(device="cpu", use_pamr=False, inference="slide", short_side=336)
    judge = Judge(segmentor.settings.with_changes(decode_resolution=0.5),
                  segmentor.pipeline.logit_scale)
    take, = takes(segmentor, "movers", 1, tmp_path)
    again, = takes(segmentor, "movers", 1, tmp_path)  # from the cache
    assert (take.images == again.images).all() and take.scores[3].rows == again.scores[3].rows
    rows = {"per_frame": per_frame, "fused": remembered(TemporalSettings()),
            "aside": aside, "every_4": remembered(TemporalSettings(), every=4), "held_4": held(4)}
    figures = {}
    for name, row in rows.items():
        measures = Measures()
        measures.add(again, row(again, judge))
        figures[name] = measures.result()
    alone, fused = figures["per_frame"], figures["fused"]
    assert fused["miou"] > alone["miou"] + 1 and fused["flips"] < 0.5 * alone["flips"]
    assert fused["mover_iou"] > alone["mover_iou"]
    assert figures["every_4"]["miou"] > alone["miou"] - 1.5 > figures["held_4"]["miou"]
    assert figures["aside"]["flips"] < 0.6 * figures["aside"]["flips_exact"]  # it never flickers
    told = page({"device": "a computer", "films": 1,
                 "sequences": {"static": figures, "movers": figures}})
    assert f"| every frame alone | {alone['miou']:.2f} | {alone['flips']:.2f} |" in told
    assert "CamVid" not in told  # what was not measured is not spoken of


def test_the_page_tells_what_decoding_gained() -> None:
    row = {"plain": 80.0, "now": 16.0, "ratio": 5.04}
    told = page({"device": "a computer", "films": 1, "decode_ms": {"150": {"480x640": row}}})
    assert "| 150 | 480x640 | 80.0 | 16.0 | 5.04 |" in told
