"""Masks for LoftUp's training: painting, COCO's encodings, files, and what does not match."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from sclip_seg_ros.tools.training.loftup.masks import MaskError, decode_rle, from_indices, paint
from sclip_seg_ros.tools.training.loftup.photographs import open_photographs

WHOLE = np.zeros((6, 8), bool)
WHOLE[1:5, 1:7] = True
PART = np.zeros((6, 8), bool)
PART[2:4, 2:4] = True


def runs_of(mask: np.ndarray) -> list[int]:
    """Encode a mask as COCO's uncompressed runs."""
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat.astype(np.int8))) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    return [0, *runs] if flat[0] else runs


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a folder with one photograph of 8x6 pixels, left half dark, right half bright."""
    folder = tmp_path / "images" / "day"
    folder.mkdir(parents=True)
    picture = np.full((6, 8, 3), 40, np.uint8)
    picture[:, 4:] = 200
    cv2.imwrite(str(folder / "one.png"), picture)
    return tmp_path / "images"


def labels_of(images: Path, masks: Path | str, **options) -> np.ndarray:
    """Return the label map of the whole of the only image, not mirrored."""
    source = open_photographs(images, str(masks), smallest=1.0, **options)
    assert len(source) == 1
    rng = np.random.default_rng(0)
    while True:
        image, labels = source.crop(0, 6, rng)
        assert image.shape == (6, 6, 3) and labels.shape == (6, 6)
        if image[0, 0].mean() < image[0, -1].mean():
            return labels


def test_a_part_keeps_its_own_mask_whatever_the_list_says():
    for masks in ([WHOLE, PART], [PART, WHOLE]):
        labels = paint(masks, WHOLE.shape)
        assert (labels[PART] == 2).all() and (labels[WHOLE & ~PART] == 1).all()
        assert (labels[~WHOLE] == 0).all()


def test_the_list_decides_when_asked_to():
    assert (paint([PART, WHOLE], WHOLE.shape, "as-listed")[PART] == 2).all()
    assert 1 not in paint([PART, WHOLE], WHOLE.shape, "as-listed")


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(MaskError, match="mask of 8x6 pixels lies on an image of 9x6"):
        paint([WHOLE], (6, 9))
    with pytest.raises(MaskError, match="picture of 8x6 pixels lies on an image of 8x7"):
        from_indices(np.zeros((6, 8), np.uint8), (7, 8))
    with pytest.raises(ValueError, match="order='random' is unknown"):
        paint([WHOLE], (6, 8), "random")


def test_ids_and_colours_name_masks_and_black_names_none():
    ids = np.array([[0, 7], [7, 200]], np.uint16)
    assert from_indices(ids, (2, 2)).tolist() == [[0, 1], [1, 2]]
    assert from_indices(ids + 1, (2, 2)).tolist() == [[1, 2], [2, 3]]
    colours = np.zeros((2, 2, 3), np.uint8)
    colours[0, 1] = (0, 0, 9)
    colours[1] = (9, 0, 0)
    assert len(np.unique(from_indices(colours, (2, 2)))) == 3


def test_compressed_runs_are_decoded():
    """Worked out by hand from the rules of pycocotools' maskApi."""
    mask = decode_rle({"size": [7, 8], "counts": "61X13mN"})
    assert runs_of(mask) == [6, 1, 40, 4, 5]
    assert mask[6, 0] and mask.sum() == 5


def test_plain_runs_are_decoded():
    for mask in (WHOLE, ~WHOLE, np.ones((3, 2), bool)):
        assert (decode_rle({"size": list(mask.shape), "counts": runs_of(mask)}) == mask).all()


@pytest.mark.parametrize("rle, message", [
    ({"size": [6, 8], "counts": [10, 3]}, "cover 13 pixels, its size 8x6 has 48"),
    ({"size": [7, 8], "counts": "61X13m"}, "cannot be decoded"),
    ({"counts": "61"}, "cannot be decoded")])
def test_broken_runs_are_refused(rle, message):
    with pytest.raises(MaskError, match=message):
        decode_rle(rle)


def test_a_picture_of_ids_is_read(images, tmp_path):
    folder = tmp_path / "masks" / "day"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "one.png"), np.where(PART, 2, WHOLE).astype(np.uint8))
    labels = labels_of(images, tmp_path / "masks")
    assert set(np.unique(labels)) == {0, 1, 2}


def test_a_folder_of_pictures_and_a_json_file_say_the_same(images, tmp_path):
    folder = tmp_path / "pictures" / "day" / "one"
    folder.mkdir(parents=True)
    other = tmp_path / "encoded" / "day"
    other.mkdir(parents=True)
    for name, mask in (("a", PART), ("b", WHOLE)):
        cv2.imwrite(str(folder / f"{name}.png"), mask.astype(np.uint8) * 255)
    rles = [{"size": [6, 8], "counts": runs_of(mask)} for mask in (PART, WHOLE)]
    (other / "one.json").write_text(json.dumps({"annotations": [{"segmentation": rle}
                                                                for rle in rles]}))
    first, second = (labels_of(images, tmp_path / name) for name in ("pictures", "encoded"))
    assert set(np.unique(first)) == {0, 1, 2}
    # Both show the same crop up to its place; how many pixels a mask has depends on that alone.
    assert (np.unique(first) == np.unique(second)).all()
    (other / "one.json").write_text(json.dumps(rles))
    assert set(np.unique(labels_of(images, tmp_path / "encoded"))) == {0, 1, 2}


def test_a_coco_file_brings_runs_and_polygons(images, tmp_path):
    coco = {"images": [{"id": 5, "file_name": "day/one.png"}],
            "annotations": [{"image_id": 5, "segmentation": [[1, 1, 6, 1, 6, 4, 1, 4]]},
                            {"image_id": 5, "segmentation": {"size": [6, 8],
                                                             "counts": runs_of(PART)}}]}
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(coco))
    assert set(np.unique(labels_of(images, path))) == {0, 1, 2}


def test_a_function_of_the_users_own_gives_masks(images, tmp_path, monkeypatch):
    (tmp_path / "my_masks.py").write_text(
        "def bright(image):\n    return [image.mean(axis=2) > 100]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_masks", raising=False)
    source = open_photographs(images, "my_masks:bright", smallest=1.0)
    image, labels = pickle.loads(pickle.dumps(source)).crop(0, 6, np.random.default_rng(0))
    assert ((labels == 1) == (image.mean(axis=2) > 100)).all() and labels.any()


def test_what_does_not_match_is_named(images, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(MaskError, match="1 of 1 images have no masks in .*'one.png'"):
        open_photographs(images, str(tmp_path / "empty"))
    folder = tmp_path / "wrong" / "day"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "one.png"), np.zeros((5, 8), np.uint8))
    with pytest.raises(MaskError, match="one.png': a mask picture of 8x5 .* image of 8x6"):
        labels_of(images, tmp_path / "wrong")
    (tmp_path / "other.json").write_text(json.dumps({"images": [], "annotations": []}))
    with pytest.raises(MaskError, match="have no masks"):
        open_photographs(images, str(tmp_path / "other.json"))
    (tmp_path / "broken.json").write_text("[]")
    with pytest.raises(MaskError, match="no COCO annotations"):
        open_photographs(images, str(tmp_path / "broken.json"))
    with pytest.raises(ValueError, match="no_such_module:f' are no folder"):
        open_photographs(images, "no_such_module:f")
    with pytest.raises(ValueError, match="no images to train on"):
        open_photographs(tmp_path / "empty", str(tmp_path / "wrong"))
