"""What features an upsampler was trained on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sclip_seg_ros.models.weights import WeightsError
from sclip_seg_ros.segmentation.upsamplers.feature_contract import PUBLISHED, FeatureContract


def test_a_file_without_metadata_is_taken_as_published():
    assert FeatureContract.from_metadata({"format": "pt"}) == PUBLISHED
    assert FeatureContract("ViT-B-16-quickgelu/openai", "value", "imagenet") == PUBLISHED


def test_metadata_overrides_what_it_states():
    contract = FeatureContract.from_metadata({"feature_layer": "attended"})
    assert contract == replace(PUBLISHED, layer="attended")


def test_metadata_may_state_everything():
    stated = {"feature_backbone": "embedded", "feature_layer": "attended",
              "feature_normalisation": "clip"}
    assert FeatureContract.from_metadata(stated) == FeatureContract("embedded", "attended", "clip")


def test_an_unknown_value_is_refused():
    with pytest.raises(ValueError, match="layer='query'.*value, attended"):
        FeatureContract(layer="query")
    with pytest.raises(WeightsError, match="normalisation='none'"):
        FeatureContract.from_metadata({"feature_normalisation": "none"})


def test_departures_name_each_difference():
    assert PUBLISHED.departures(PUBLISHED) == []
    phrases = PUBLISHED.departures(FeatureContract("embedded", "attended", "imagenet"))
    assert len(phrases) == 2
    assert "'embedded'" in phrases[0] and "'ViT-B-16-quickgelu/openai'" in phrases[0]
    assert "'attended'" in phrases[1]
