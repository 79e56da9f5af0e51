"""Profiles: the published settings, written out here a second time, and what is refused."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from sclip_seg_ros.io.profiles import (
    load_profile,
    profile_names,
    read_profile,
    read_vocabulary,
)
from sclip_seg_ros.models.resources import config_path
from sclip_seg_ros.segmentation.backbones.proxies.table import ProxySettings
from sclip_seg_ros.segmentation.refinement.pamr import PamrSettings
from sclip_seg_ros.segmentation.resclip.settings import ResClipSettings
from sclip_seg_ros.segmentation.settings import SegmentorSettings
from sclip_seg_ros.segmentation.text.vocabulary import background_id, parse_class

CLASSES = {"voc21": 21, "voc20": 20, "context60": 60, "context59": 59, "coco_object": 81,
           "coco_stuff": 171, "coco_stuff10k": 171, "ade20k": 150, "cityscapes": 19, "camvid": 11}
BACKGROUND = {"voc21": "sky", "context60": "background", "coco_object": "sky"}

# SCLIP: short side, logit scale, probability threshold, area threshold.
SCLIP = {
    "voc21": (336, 65, 0.1, 0.1),
    "context60": (336, 50, 0.1, 0),
    "coco_object": (336, 50, 0.1, 0),
    "voc20": (336, 40, 0, 0),
    "context59": (336, 40, 0, 0),
    "ade20k": (336, 40, 0, 0),
    "coco_stuff": (448, 40, 0, 0),
    "coco_stuff10k": (336, 40, 0, 0),
    "cityscapes": (560, 40, 0, 0),
    "camvid": (336, 40, 0, 0),          # ours
}

# NACLIP and ResCLIP: inference, short side, probability threshold; ResCLIP's lambda_r, tau_s,
# lambda_s and first-pass threshold.
RESCLIP = {
    "voc21": ("whole", 336, 0.1, 0.3, 2.2, 0.7, 0.50),
    "voc20": ("whole", 336, 0, 0.6, 2.1, 0.6, 0.10),
    "context60": ("slide", 336, 0.1, 0.3, 1.8, 0.7, 0.30),
    "context59": ("slide", 336, 0, 0.4, 1.8, 0.7, 0.25),
    "coco_object": ("slide", 336, 0.1, 0.4, 1.8, 0.7, 0.11),
    "coco_stuff": ("slide", 336, 0, 0.4, 1.8, 0.7, 0.11),
    "ade20k": ("slide", 336, 0, 0.3, 2.1, 0.7, 0.25),
    "cityscapes": ("slide", 560, 0, 0.2, 2.1, 0.6, 0.10),
    "camvid": ("slide", 336, 0, 0.2, 2.1, 0.6, 0.10),   # ours
}

MINIMAL = "vocabulary: words.txt\nmethods:\n  sclip: {short_side: 224}\n"

PAMR = PamrSettings(10, (8, 16), 1.0)


def own_profile(folder: Path, text: str, words: str = "floor\nwall\n") -> Path:
    (folder / "words.txt").write_text(words)
    (folder / "own.yaml").write_text(text)
    return folder / "own.yaml"


def test_the_profiles_are_these() -> None:
    assert profile_names() == sorted(CLASSES)


@pytest.mark.parametrize(("name", "method"), [
    (name, method) for name in CLASSES for method in ("sclip", "naclip", "resclip")
    if method == "sclip" or name in RESCLIP])
def test_classes_and_background(name: str, method: str) -> None:
    profile = load_profile(name, method)
    assert (profile.name, profile.method) == (name, method)
    assert len(profile.classes) == CLASSES[name]
    assert profile.background == BACKGROUND.get(name, "")
    if profile.background:  # the papers' class 0
        assert background_id([parse_class(text) for text in profile.classes],
                             profile.background) == 0


@pytest.mark.parametrize("name", SCLIP)
def test_sclip_settings_are_as_published(name: str) -> None:
    short_side, logit_scale, probability, area = SCLIP[name]
    assert load_profile(name).settings == SegmentorSettings(
        attention="sclip", residual=True, inference="slide", crop=224, stride=112,
        antialias=False, enlarge=True, window_taper=False, short_side=short_side,
        logit_scale=logit_scale,
        probability_threshold=probability, area_threshold=area, use_pamr=False, pamr=PAMR)


@pytest.mark.parametrize("name", RESCLIP)
def test_naclip_and_resclip_settings_are_as_published(name: str) -> None:
    inference, short_side, probability, rcs, sfr_tau, sfr, threshold = RESCLIP[name]
    naclip = SegmentorSettings(
        attention="naclip", residual=False, naclip_sigma=5.0, inference=inference, crop=224,
        stride=112, antialias=False, enlarge=True, window_taper=False, short_side=short_side,
        logit_scale=40.0,
        probability_threshold=probability, use_pamr=True, pamr=PAMR)
    assert load_profile(name, "naclip").settings == naclip
    assert load_profile(name, "resclip").settings == replace(
        naclip, use_pamr=False, use_resclip=True,
        resclip=ResClipSettings("paper", blocks="5-8", rcs_temperature=2.0, rcs_weight=rcs,
                                sfr_temperature=sfr_tau, sfr_weight=sfr,
                                sfr_threshold=threshold, sfr_logit_scale=40.0))


@pytest.mark.parametrize("name", sorted(set(RESCLIP) - {"camvid"}))
def test_scclip_settings_are_as_published(name: str) -> None:
    scale, probability, area = {"voc21": (50.0, 0.15, 0.1), "coco_object": (55.0, 0.35, 0.0),
                                "context60": (40.0, 0.15, 0.0)}.get(name, (40.0, 0.0, 0.0))
    profile = load_profile(name, "scclip")
    assert profile.classes == load_profile(name).classes
    assert profile.settings == SegmentorSettings(
        attention="scclip", inference="slide", crop=224, stride=112, antialias=False, enlarge=True,
        window_taper=False, short_side=560 if name == "cityscapes" else 336, logit_scale=scale,
        probability_threshold=probability, area_threshold=area, use_pamr=False, pamr=PAMR)


@pytest.mark.parametrize("name", sorted(set(RESCLIP) - {"camvid"}))
def test_proxyclip_settings_are_as_published(name: str) -> None:
    profile = load_profile(name, "proxyclip")
    assert profile.classes == load_profile(name).classes
    assert profile.settings == SegmentorSettings(
        inference="slide", crop=224 if name == "cityscapes" else 336,
        stride=112, antialias=False, enlarge=True, window_taper=False,
        short_side=448 if name in ("cityscapes", "ade20k") else 336, logit_scale=40.0,
        probability_threshold={"voc21": 0.2, "context60": 0.15, "coco_object": 0.25}.get(name, 0.0),
        use_pamr=False, pamr=PAMR,
        use_proxy=True, proxy=ProxySettings(model="dino_vitb8", beta=1.2, gamma=3.0))


def test_synonyms_arrive_in_the_form_a_segmentor_takes() -> None:
    classes = load_profile("voc21").classes
    assert classes[15].startswith("person|person in shirt|")
    assert len(classes[0].split("|")) == 26     # the stuff words of SCLIP's background
    assert load_profile("camvid").classes[4] == "pavement|sidewalk"


def test_each_profile_states_its_source() -> None:
    for name in CLASSES:
        text = config_path(f"profiles/{name}.yaml").read_text(encoding="utf-8")
        if name == "camvid":
            assert "No paper of these methods publishes settings for CamVid" in text
        else:
            assert "wangf3014/SCLIP" in text


def test_unknown_profile_and_method_are_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"'voc12' does not exist.*voc20, voc21, or give the path"):
        load_profile("voc12")
    with pytest.raises(ValueError, match=r"'clip' is not in the profile.*sclip, naclip, resclip"):
        load_profile("voc21", "clip")


def test_a_profile_may_be_called_as_its_data_set_is() -> None:
    assert load_profile("coco-object", "naclip") == load_profile("coco_object", "naclip")


def test_own_profile_is_read_with_a_vocabulary_beside_it(tmp_path: Path) -> None:
    path = own_profile(tmp_path, "background: wall\nsettings: {use_pamr: false, short_side: 448}\n"
                       + MINIMAL)
    profile = read_profile(path)
    assert profile.settings == SegmentorSettings(short_side=224, use_pamr=False)
    assert (profile.classes, profile.background) == (("floor", "wall"), "wall")


@pytest.mark.parametrize(("text", "message"), [
    (MINIMAL + "treshold: 1\n", "key 'treshold' is unknown"),
    (MINIMAL.replace("short_side", "shortside"), "setting 'shortside' does not exist"),
    (MINIMAL.replace("short_side: 224", "resclip: {tau: 2.0}"), "'resclip.tau' does not exist"),
    (MINIMAL.replace("short_side: 224", "resclip: paper"), "'resclip: paper' gives a value to"),
    (MINIMAL.replace("224", "'224'"), "'short_side' cannot be '224'; give a whole number"),
    (MINIMAL.replace("short_side: 224", "use_pamr: 1"), "give true or false"),
    (MINIMAL.replace("short_side: 224", "logit_scale: true"), "give a number"),
    (MINIMAL.replace("224", "7"), "short_side must be 16 to 4096, or 0 for what suits the "
     "model, got 7"),
    (MINIMAL.replace("{short_side: 224}", "224"), "stands where settings belong"),
    (MINIMAL + "background: sky\n", "background 'sky' is none of the classes"),
    (MINIMAL + "background: no\n", "'background' is missing or not text"),
    ("methods: {sclip: {}}\n", "'vocabulary' is missing"),
    ("vocabulary: words.txt\n", "'methods' is missing"),
    ("- voc21\n", "holds no 'name: value' lines"),
    ("methods: {sclip: [\n", "not valid YAML"),
])
def test_faulty_profile_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match="own.yaml") as refusal:
        read_profile(own_profile(tmp_path, text))
    assert message in str(refusal.value)


def test_vocabulary_file_may_hold_comments_blank_lines_and_either_separator(
        tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("\ufeff# a room\n\n  floor ,  carpet\nwall # painted\n  person|pedestrian\n",
                    encoding="utf-8")
    assert read_vocabulary(path) == ["floor|carpet", "wall", "person|pedestrian"]


@pytest.mark.parametrize(("content", "message"), [
    (b"floor\nwall,,bricks\n", "line 2: 'wall,,bricks' has a blank synonym"),
    (b"floor,\n", "line 1"),
    (b"# nothing\n\n", "the list of classes is empty"),
    (b"floor\nwall, Floor\n", "'Floor' stands in the classes twice"),
    (b"\xff\xfe\x00", "not UTF-8 text"),
    (b"\n".join(b"class %d" % i for i in range(255)), "255 classes do not fit"),
])
def test_unusable_vocabulary_file_is_refused_with_its_place(
        tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="words.txt") as refusal:
        read_vocabulary(path)
    assert message in str(refusal.value)


@pytest.mark.parametrize("content, message", [
    (b'["floor", "wall"]', "looks like a piece of a list"),
    (b"classes:\n  - floor\n  - wall\n", "looks like a piece of a list"),
    (b"path: ../coco8\ntrain: images\nnames:\n  0: person\n  1: bicycle\nnc: 2\n",
     "'names:' looks like a piece of a list"),
    (b"0: unlabeled\n1: person\n2: bicycle\n", "class '0: unlabeled' begins with its number"),
    (b"7\troad\n8\tsidewalk, pavement\n11\tbuilding\n", "class '7 road' begins with its number"),
    (b"0,person\n1,bicycle\n", "give the words alone"),
    (b'"floor"\n"wall"\n', "without brackets, quotes"),
    ("floor\nwall\n".encode("utf-16"), "is not UTF-8 text"),
    ("floor\nwall\n".encode("utf-16-le"), "U+0000, which belongs to no text"),
    (b"\xff\xd8\xff\xe0rubbish", "is not text: it is a photo, which is for sclip-segment")])
def test_lists_of_other_kinds_are_no_vocabulary(tmp_path, content, message):
    (tmp_path / "words.txt").write_bytes(content)
    with pytest.raises(ValueError, match="words.txt") as refusal:
        read_vocabulary(tmp_path / "words.txt")
    assert message in str(refusal.value)


def test_what_is_no_file_is_not_called_missing(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, message in (("", "is a folder; name a file in it"),
                          ("pipe", "is a pipe or a device; save its text in a file")):
        with pytest.raises(FileNotFoundError, match=message):
            read_vocabulary(tmp_path / name)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.yaml' does not exist"):
        read_profile(tmp_path / "none.yaml")
    path = own_profile(tmp_path, MINIMAL.replace("words.txt", "others.txt"))
    with pytest.raises(FileNotFoundError, match=r"others\.txt' does not exist"):
        read_profile(path)
