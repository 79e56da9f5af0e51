"""`sclip-gallery`: sheets that show what the model really does."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import timm
import torch
from checkpoints import save_loftup

from sclip_seg_ros.models import load_clip
from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentorSettings
from sclip_seg_ros.segmentation.backbones.attention import last_block_rules
from sclip_seg_ros.segmentation.backbones.families.timm_vit import TimmViT
from sclip_seg_ros.segmentation.scores.scoring import WindowScorer
from sclip_seg_ros.tools.figures.configurations import prepare_rows
from sclip_seg_ros.tools.gallery.attention import attention_maps, attention_tiles, patch_at
from sclip_seg_ros.tools.gallery.command import main
from sclip_seg_ros.tools.gallery.features import feature_tiles, principal_colours, working_image
from sclip_seg_ros.tools.gallery.sheet import Tile, draw_sheet
from sclip_seg_ros.tools.gallery.stages import shown_rows, stage_tiles

WORDS = ["floor", "table", "cup"]
SHEETS = {"features.png", "attention.png", "stages.png"}


@pytest.fixture(scope="module")
def loftup(tmp_path_factory) -> str:
    return save_loftup(tmp_path_factory.mktemp("loftup") / "loftup.safetensors", 32)


@pytest.fixture(scope="module")
def segmentor(tiny_model: str) -> SCLIPSegmentor:
    return SCLIPSegmentor(tiny_model)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)


@pytest.fixture
def file(image: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), image[..., ::-1])
    return path


def gallery(file: Path, model: str, *flags: str) -> int:
    return main(["--image", str(file), "--model", model, "--device", "cpu", "--vocabulary", *WORDS,
                 "--output", str(file.parent / "sheets"), *flags])


def test_sheets_without_loftup_say_so_on_one_line(file: Path, tiny_model: str, capsys) -> None:
    assert gallery(file, tiny_model) == 0
    output = capsys.readouterr()
    assert output.err.count("\n") == 1
    assert output.err.startswith("sclip-gallery: left out: no LoftUp for this model: ")
    assert {path.name for path in (file.parent / "sheets").iterdir()} == SHEETS
    assert {Path(line).name for line in output.out.splitlines()} == SHEETS


def test_loftup_adds_its_pictures(file: Path, tiny_model: str, loftup: str, capsys) -> None:
    assert gallery(file, tiny_model) == 0
    without = cv2.imread(str(file.parent / "sheets/features.png")).shape
    flags = ("--loftup-source", loftup, "--loftup-factor", "2.0")
    assert gallery(file, tiny_model, *flags) == 0
    assert "left out" not in capsys.readouterr().err.splitlines()[-1:]
    assert cv2.imread(str(file.parent / "sheets/features.png")).size > without[0] * without[1] * 3


def test_features_are_shown_before_and_after_loftup(segmentor: SCLIPSegmentor, loftup: str,
                                                    image: np.ndarray) -> None:
    settings = SegmentorSettings().with_changes(loftup__source=loftup, loftup__adaptive=False,
                                                loftup__factor=2.0)
    plain = segmentor.prepare(settings).scorer
    upsampling = segmentor.prepare(settings.with_changes(use_loftup=True)).scorer
    tiles = feature_tiles(plain, upsampling, working_image(segmentor, image),
                          segmentor.vocabulary(WORDS))
    assert [tile.title for tile in tiles] == ["features of the last block", "before LoftUp",
                                              "enlarged bilinearly", "after LoftUp"]
    assert [tile.picture.shape for tile in tiles] == [(6, 8, 3)] * 2 + [(12, 16, 3)] * 2
    assert (tiles[2].picture != tiles[3].picture).any()


def test_equal_features_have_equal_colours() -> None:
    torch.manual_seed(0)
    blocks = torch.randn(1, 16, 1, 3)             # three kinds of place
    small = blocks.repeat_interleave(2, dim=2)     # (1, 16, 2, 3)
    large = blocks.repeat_interleave(8, dim=2).repeat_interleave(4, dim=3)
    first, second = principal_colours([small, large])
    for kind in range(3):
        assert (first[:, kind] == first[0, kind]).all()
        assert (second[:, 4 * kind:4 * kind + 4] == first[0, kind]).all()
    assert len(np.unique(first[0], axis=0)) == 3


def test_attention_maps_are_distributions_and_differ(segmentor: SCLIPSegmentor,
                                                     image: np.ndarray) -> None:
    window = working_image(segmentor, image)
    maps = attention_maps(segmentor.prepare(segmentor.settings).scorer, window, (0.1, 0.9),
                          {"naclip_sigma": 1.0})
    assert set(maps) == set(last_block_rules())
    for taken in maps.values():
        assert taken.shape == (1 + 6 * 8,) and taken.min() >= 0
        assert taken.sum() == pytest.approx(1, abs=1e-5)
    for name in ("sclip", "clearclip", "naclip"):
        assert np.abs(maps[name] - maps["vanilla"]).max() > 1e-4


def test_naclip_looks_near_the_point(segmentor: SCLIPSegmentor, image: np.ndarray) -> None:
    window, scorer = working_image(segmentor, image), segmentor.prepare(segmentor.settings).scorer
    near, far = (
        attention_maps(scorer, window, (0.05, 0.05), {"naclip_sigma": sigma})["naclip"][1:]
        .reshape(6, 8) for sigma in (0.5, 1000.0))
    # A wide neighbourhood prefers no patch; a narrow one adds to the patch itself.
    assert near[0, 0] > far[0, 0]


@pytest.mark.parametrize(("point", "patch"), [((0.0, 0.0), (0, 0)), ((0.99, 0.5), (3, 7)),
                                              ((1.0, 1.0), (5, 7))])
def test_the_patch_under_a_point(point, patch) -> None:
    assert patch_at(point, (6, 8)) == patch


def test_the_brightest_place_is_the_most_attended(image: np.ndarray) -> None:
    taken = np.full(1 + 6 * 8, 0.001)
    taken[1 + 2 * 8 + 5] = 0.9
    tile = attention_tiles(np.zeros_like(image), {"sclip": taken}, (6, 8), (0.0, 0.0))[1]
    below_the_mark = tile.picture[16:].sum(-1)
    row, column = np.unravel_index(below_the_mark.argmax(), below_the_mark.shape)
    assert (1 + row // 16, column // 16) == (2, 5) and "most 90.0%" in tile.note


def test_a_tower_without_a_class_token_has_none_to_show(image: np.ndarray) -> None:
    taken = np.full(6 * 8, 0.001)
    taken[2 * 8 + 5] = 0.9
    tile = attention_tiles(np.zeros_like(image), {"sclip": taken}, (6, 8), (0.0, 0.0))[1]
    assert tile.note == "itself 0.1%, most 90.0%"


def test_the_point_asks_for_its_own_patch_whatever_comes_first(image: np.ndarray) -> None:
    """SigLIP's towers have no class token; with attention to itself alone the patch is found."""
    with torch.random.fork_rng(devices=[]):
        network = timm.create_model("test_vit", class_token=False, global_pool="map", num_classes=0)
    tower = TimmViT(network.eval().requires_grad_(False))
    scorer = WindowScorer(tower, load_clip(), SegmentorSettings(attention="vanilla"), None)
    maps = attention_maps(scorer, torch.rand(1, 3, 96, 128), (0.5, 0.5), {"naclip_sigma": 0.01})
    assert {len(taken) for taken in maps.values()} == {6 * 8}
    assert maps["naclip"].argmax() == 3 * 8 + 4


def test_stages_show_what_the_segmentor_gives(segmentor: SCLIPSegmentor,
                                              image: np.ndarray) -> None:
    rows, vocabulary = prepare_rows(segmentor, SegmentorSettings()), segmentor.vocabulary(WORDS)
    tiles = stage_tiles(rows, image, vocabulary)
    assert [tile.title for tile in tiles] == ["plain", "ResCLIP (RCS + SFR)", "PAMR", "DenseCRF",
                                              "ResCLIP + PAMR + DenseCRF"]
    plain = segmentor.prepare(SegmentorSettings(use_pamr=False))
    pamr = segmentor.prepare(SegmentorSettings(use_pamr=True))
    labels = [pipeline.predict([image], vocabulary)[0].labels for pipeline in (plain, pamr)]
    assert tiles[2].note.startswith(f"{(labels[0] != labels[1]).mean():.1%} of the labels changed")


def test_all_stages_are_shown_where_there_is_a_loftup(segmentor: SCLIPSegmentor,
                                                      loftup: str) -> None:
    rows = prepare_rows(segmentor, SegmentorSettings().with_changes(loftup__source=loftup))
    assert [row.configuration.key for row in shown_rows(rows)] == [
        "plain", "loftup", "resclip", "pamr", "densecrf", "all"]


def test_a_sheet_holds_every_tile(image: np.ndarray) -> None:
    colours = [(200, 30, 20), (20, 180, 40), (30, 40, 220), (240, 200, 10)]
    tiles = [Tile(np.full_like(image, colour), "tile", "note") for colour in colours]
    sheet = draw_sheet("heading", tiles, 3)
    for colour in colours:
        assert (sheet == colour).all(-1).sum() == 400 * 300


WRONG = {
    "missing image": (["--image", "/no/such.png"], "'/no/such.png'"),
    "point outside": (["--point", "500,10"], "'500,10'"),
    "point no pixel": (["--point", "here"], "'here'"),
    "switched stage": (["--use-pamr"], "--use-pamr"),
    "no words": (["--vocabulary-file", "/no/words.txt"], "--vocabulary"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_gives_one_line_and_code_2(case: str, file: Path, tiny_model: str,
                                               capsys) -> None:
    flags, named = WRONG[case]
    assert gallery(file, tiny_model, *flags) == 2
    message = capsys.readouterr().err
    assert message.startswith("sclip-gallery: ") and message.count("\n") == 1
    assert named in message


def test_a_file_that_is_no_image_is_refused(file: Path, tiny_model: str, capsys) -> None:
    file.write_bytes(b"rubbish")
    assert gallery(file, tiny_model) == 2
    assert f"'{file}' cannot be read" in capsys.readouterr().err
