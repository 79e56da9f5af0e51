"""The quality ladder: files read, mistakes refused, settings made."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sclip_seg_ros.latency.ladder import MAX_LEVELS, QualityLadder, QualityLevel, parse_ladder
from sclip_seg_ros.segmentation.refinement.pamr import PamrSettings
from sclip_seg_ros.segmentation.settings import SegmentorSettings

SHIPPED = sorted((Path(__file__).parents[2] / "config" / "ladders").glob("*.yaml"))
EVERYTHING_ON = SegmentorSettings(use_loftup=True, use_resclip=True, use_densecrf=True,
                                  pamr=PamrSettings(10, (8, 16), 1.0))


def read(text: str) -> QualityLadder:
    """Parse a ladder file's text."""
    return parse_ladder(yaml.safe_load(text))


def one_level(**settings) -> dict:
    """Return a ladder file's content with one level."""
    return {"levels": [{"name": "fast", **settings}]}


def test_a_file_becomes_settings_best_first() -> None:
    ladder = read("""
        levels:
          - name: full
          - {name: middle, stride: 224, pamr.steps: 4, loftup: {adaptive: false, factor: 2}}
          - {name: fast, inference: whole, short_side: 160, use_pamr: false, crf__iterations: 1}
        """)
    base = SegmentorSettings(use_pamr=True, short_side=448, attention="naclip")
    assert ladder.names == ("full", "middle", "fast") and len(ladder) == 3
    assert ladder.settings_for(base, 0) == base
    middle = ladder.settings_for(base, 1)
    assert (middle.stride, middle.pamr.steps, middle.short_side) == (224, 4, 448)
    assert (middle.loftup.adaptive, middle.loftup.factor) == (False, 2.0)
    assert isinstance(middle.loftup.factor, float)
    fast = ladder.settings_for(base, 2)
    assert (fast.inference, fast.short_side, fast.use_pamr) == ("whole", 160, False)
    assert fast.pamr.steps == base.pamr.steps, "a level changes the base, not the level above"
    assert fast.attention == "naclip"


def test_dilations_may_be_a_list() -> None:
    ladder = parse_ladder(one_level(**{"pamr.dilations": [4]}))
    assert ladder.settings_for(SegmentorSettings(), 0).pamr.dilations == (4,)


@pytest.mark.parametrize(("data", "message"), [
    (None, "list called 'levels'.* holds None"),
    ({"levels": {"full": {}}}, "list called 'levels'"),
    ({"levels": []}, "ladder is empty"),
    ({"levels": [{"name": "a"}], "budget": 3}, "'budget' means nothing"),
    ({"levels": ["full"]}, "level 0 of the ladder is 'full'"),
    ({"levels": [{"name": "a"}, {"stride": 224}]}, "level 1 of the ladder .* 'name'"),
    ({"levels": [{"name": " "}]}, "name ' ' is not text"),
    ({"levels": [{"name": 5}]}, "name 5 is not text"),
    ({"levels": [{"name": "a"}, {"name": "a", "stride": 224}]}, "'a' stands .* twice"),
    ({"levels": [{"name": str(i)} for i in range(MAX_LEVELS + 1)]}, "has 257 levels"),
    (one_level(strid=224), "level 'fast': setting 'strid' does not exist; did you mean stride"),
    (one_level(**{"pamr.stride": 2}), "'pamr.stride' does not exist; did you mean pamr.steps"),
    (one_level(**{"pamr.steps.more": 2}), "'pamr.steps.more' does not exist"),
    (one_level(pamr=None), "'pamr: None' gives a value to a group; .* 'pamr.steps'"),
    (one_level(precision="fp16"), "'precision', but all levels share one set of weights"),
    (one_level(loftup={"source": "hub"}), "'loftup.source', but all levels share"),
    (one_level(model_name="ViT-L/14"), "'model_name', but all levels share"),
    (one_level(**{"pamr.steps": 4, "pamr": {"steps": 5}}),
     "'fast': setting 'pamr.steps' is given twice"),
    (one_level(stride="224"), "'fast': setting 'stride' cannot be '224'; give a whole number"),
    (one_level(stride=True), "'stride' cannot be True; give a whole number"),
    (one_level(use_pamr=1), "'use_pamr' cannot be 1; give true or false"),
    (one_level(**{"loftup.factor": "2"}), "'loftup.factor' cannot be '2'; give a number"),
    (one_level(**{"pamr.dilations": [1.5]}), r"give a list of whole numbers, e.g. \[3, 12\]"),
])
def test_mistakes_are_named(data, message) -> None:
    with pytest.raises(ValueError, match=message):
        parse_ladder(data)


def test_a_level_that_does_not_fit_the_base_is_named_with_the_reason() -> None:
    ladder = parse_ladder(one_level(stride=224))
    small = SegmentorSettings(crop=160, stride=80)
    for use in (lambda: ladder.settings_for(small, 0), lambda: ladder.for_base(small)):
        with pytest.raises(ValueError,
                           match="level 'fast' does not fit .* stride must be 8 to 160, got 224"):
            use()


@pytest.mark.parametrize("level", [-1, 1])
def test_levels_beyond_the_ladder_are_refused(level) -> None:
    with pytest.raises(ValueError, match=f"level {level} is not on the ladder; give 0 to 0"):
        parse_ladder(one_level()).settings_for(SegmentorSettings(), level)


def test_a_level_cannot_be_changed_afterwards() -> None:
    changes = {"stride": 224}
    level = QualityLevel("fast", changes)
    changes["stride"] = 1
    assert level.changes["stride"] == 224
    with pytest.raises(TypeError):
        level.changes["stride"] = 1


def test_levels_without_effect_on_the_base_are_left_out() -> None:
    ladder = read("""
        levels:
          - name: full
          - {name: fewer-steps, pamr.steps: 2}
          - {name: no-crf, use_densecrf: false}
          - {name: whole, inference: whole}
          - {name: whole-stride, inference: whole, stride: 200}
          - {name: factor, use_loftup: true, loftup.factor: 1.5}
          - {name: adaptive, use_loftup: true, loftup.adaptive: true}
          - {name: no-factor, use_loftup: true, loftup.adaptive: true, loftup.factor: 3}
        """)
    assert ladder.for_base(SegmentorSettings(use_pamr=False)).names \
        == ("full", "whole", "factor", "adaptive")
    assert ladder.for_base(SegmentorSettings()).names \
        == ("full", "fewer-steps", "whole", "factor", "adaptive")
    assert ladder.for_base(SegmentorSettings(use_densecrf=True, inference="whole")).names \
        == ("full", "fewer-steps", "no-crf", "factor", "adaptive")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
class TestShippedLadders:
    """config/ladders: valid, in order, and useful whatever is switched on."""

    def test_every_level_counts_when_every_stage_is_on(self, path) -> None:
        ladder = read(path.read_text())
        assert ladder.for_base(EVERYTHING_ON).names == ladder.names

    def test_it_is_useful_for_the_default_settings(self, path) -> None:
        ladder = read(path.read_text()).for_base(SegmentorSettings())
        assert len(ladder) >= 4 and ladder.names[0] == "full"

    def test_work_never_grows_on_the_way_down(self, path) -> None:
        ladder = read(path.read_text())
        for base in (SegmentorSettings(), EVERYTHING_ON):
            base = base.for_model("ViT-B-16-quickgelu/openai")
            levels = [ladder.settings_for(base, index) for index in range(len(ladder))]
            assert levels[0] == base
            for better, cheaper in zip(levels, levels[1:], strict=False):
                assert all(a >= b for a, b in zip(work(better), work(cheaper), strict=True))
            assert not (levels[-1].use_densecrf or levels[-1].use_loftup)
            assert levels[-1].use_pamr and levels[-1].pamr == PamrSettings(), "its cheap form stays"


def work(settings: SegmentorSettings) -> tuple[float, ...]:
    """Return what makes a frame costly, each larger for more work."""
    whole = settings.inference == "whole"
    return (settings.short_side, settings.use_densecrf or settings.decode_resolution,
            0 if whole else 1 / settings.stride,
            settings.use_densecrf * settings.crf.iterations,
            settings.use_pamr * settings.pamr.steps * settings.pamr.resolution,
            settings.use_resclip,
            settings.use_loftup * (3 if settings.loftup.adaptive else settings.loftup.factor))


def test_a_ladder_ships_for_each_device_class() -> None:
    assert [path.stem for path in SHIPPED] == ["cpu", "desktop_gpu", "jetson"]
