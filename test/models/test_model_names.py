"""Names of models that are not known, or cannot work, are refused before anything is downloaded."""

from __future__ import annotations

import logging
from pathlib import Path

import open_clip
import pytest
from tiny_clip import PLAIN

from sclip_seg_ros.models import WeightsError, load_clip
from sclip_seg_ros.models import clip as clip_module
from sclip_seg_ros.models.names import architecture_of, split_tag
from sclip_seg_ros.segmentation import SCLIPSegmentor


@pytest.mark.parametrize(("model", "message"), [
    ("ViT-B/17", "'ViT-B/17' is unknown; did you mean 'ViT-B-16'.*choose 'embedded' or"),
    ("clip", "'clip' is unknown; choose 'embedded' or"),
    ("", "'' is unknown; choose 'embedded' or"),
    ("Embedded", "'Embedded' is unknown; did you mean 'embedded'"),
    ("https://huggingface.co/a/b-c/tree/main", "it is a web address; write 'hf-hub:a/b-c'"),
    ("./absent", "there is no such folder or file; give one that exists as 'local-dir:"),
    ("hf-hub:laion", "'hf-hub:laion' is unknown; write 'hf-hub:<org>/<repo>'"),
    ("vit-b-16", "did you mean 'ViT-B-16'"),
    ("ViTB16", "did you mean 'ViT-B-16'"),
    ("openai/clip-vit-base-patch16", "transformers' name; write 'ViT-B/16', or 'hf-hub:openai/"),
    ("clip-vit-large-patch14-336", "write 'ViT-L/14@336px', or 'hf-hub:openai/clip-vit-large"),
    ("laion/CLIP-ViT-B-16-laion2B-s34B-b88K", "write 'ViT-B-16' with pretrained 'laion2b_s34b"),
    ("someone/something", "for a repository of the hub write 'hf-hub:someone/something'"),
    (str(Path(__file__).parent), "it is a folder; write 'local-dir:/.*models'"),
    (__file__, "it is a file; give it as pretrained, and its architecture"),
    ("hub:laion/some", "'hub:laion/some' is unknown; write 'hf-hub:"),
    ("local-dir:", "'local-dir:' is unknown; write"),
])
def test_an_unknown_model_is_refused(model, message):
    with pytest.raises(WeightsError, match=message):
        load_clip(model, "random")


@pytest.mark.parametrize("arguments", [{"model": None}, {"pretrained": 5}])
def test_a_name_that_is_no_text_is_refused(arguments):
    with pytest.raises(ValueError, match=r"(model=None|pretrained=5) is of type .*give a text"):
        load_clip(**arguments)


def test_an_unknown_tag_is_refused_with_the_known_ones(named):
    with pytest.raises(WeightsError, match="'opnai' is neither a file nor a tag of 'ViT-B/16'.*"
                                           "openai.*laion2b_s34b_b88k"):
        load_clip("ViT-B/16", "opnai")
    with pytest.raises(WeightsError, match=r"'openai' is neither.*\(none\)"):
        load_clip(PLAIN)
    with pytest.raises(WeightsError, match="'metaclip' is .*did you mean 'metaclip_400m'"):
        load_clip("ViT-B/16", "metaclip")
    with pytest.raises(WeightsError, match="'hf-hub:a/b' brings its own architecture; give it as "
                                           "model"):
        load_clip("ViT-B/16", "hf-hub:a/b")


@pytest.mark.parametrize(("model", "architecture"), [
    ("ViT-L/14@336px", "ViT-L-14-336"), ("ViT-B/16", "ViT-B-16"),
])
def test_openais_own_spelling_is_understood(model, architecture):
    assert architecture_of(model) == architecture


def test_a_model_may_be_named_as_the_log_names_it(named, offline, tmp_path):
    assert split_tag("ViT-B-16/openai", "") == ("ViT-B-16", "openai")
    assert split_tag("ViT-B-16-quickgelu/openai", "") == ("ViT-B-16-quickgelu", "openai")
    for kept in (("ViT-B/16", ""), ("ViT-B-16/openai", "laion2b_s34b_b88k"), ("a/b", "")):
        assert split_tag(*kept) == kept


def test_an_architecture_without_openais_weights_is_told_so(named):
    with pytest.raises(WeightsError, match="'ViT-H-14' has no weights called 'openai', which is "
                                           "what an empty pretrained stands for.*laion2b"):
        load_clip("ViT-H-14")


@pytest.mark.parametrize(("model", "pretrained", "name", "command"), [
    ("ViT-B/16", "", "ViT-B-16-quickgelu/openai", "--model ViT-B/16 --to"),
    ("ViT-B/16", "OpenAI", "ViT-B-16-quickgelu/openai",
     "--model ViT-B/16 --pretrained OpenAI --to"),
    ("ViT-B-32", "laion2b_s34b_b79k", "ViT-B-32/laion2b_s34b_b79k",
     "--model ViT-B-32 --pretrained laion2b_s34b_b79k --to"),
    ("ViT-B-32-quickgelu", "metaclip_400m", "ViT-B-32-quickgelu/metaclip_400m",
     "--model ViT-B-32-quickgelu --pretrained metaclip_400m --to"),
    ("hf-hub:laion/no-such-model", "", "hf-hub:laion/no-such-model",
     "--model hf-hub:laion/no-such-model --to"),
])
def test_weights_out_of_reach_name_the_remedies(offline, tmp_path, caplog, model, pretrained, name,
                                                command):
    with pytest.raises(WeightsError, match=f"'{name}' are out of reach: '{tmp_path}' lacks them, "
                                           "and HF_HUB_OFFLINE is set.*unset.*"
                                           f"sclip-fetch {command} FOLDER.*local-dir:FOLDER.*"
                                           "'embedded', which needs no network"):
        load_clip(model, pretrained, cache_dir=str(tmp_path))
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert not [file for file in tmp_path.rglob("*") if file.suffix in (".safetensors", ".bin")]


def test_random_weights_of_an_unreachable_repository_are_refused(offline, tmp_path):
    with pytest.raises(WeightsError, match="'hf-hub:laion/no-such-model' are out of reach"):
        load_clip("hf-hub:laion/no-such-model", "random", cache_dir=str(tmp_path))


# Refused before anything is downloaded


@pytest.mark.parametrize(("model", "pretrained", "family"), [
    ("RN50", "openai", "ResNet"), ("MobileCLIP2-S0", "dfndr2b", "MobileCLIP"),
    ("coca_ViT-B-32", "laion2b_s13b_b90k", "CoCa")])
def test_a_family_that_cannot_work_is_refused_before_it_is_downloaded(offline, tmp_path, model,
                                                                      pretrained, family):
    """Offline, whoever wanted to download would complain of that."""
    with pytest.raises(WeightsError, match=f"'{model}' cannot be used: {family} is not supported "
                                           ".*ViT"):
        SCLIPSegmentor(model, pretrained, cache_dir=str(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model", ["xlm-roberta-base-ViT-B-32", "ViT-L-14-CLIPA"])
def test_a_lack_of_transformers_is_called_so_before_anything_is_downloaded(
        offline, tmp_path, monkeypatch, model):
    monkeypatch.setattr(clip_module, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=f"'{model}' needs .*pip install transformers"):
        load_clip(model, open_clip.list_pretrained_tags_by_model(model)[0],
                  cache_dir=str(tmp_path))
    assert not list(tmp_path.iterdir())
