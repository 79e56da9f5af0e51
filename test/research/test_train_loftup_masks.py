"""Masks for LoftUp's training: painting, COCO's encodings, files, and what does not match."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from sclip_research.training.loftup.masks import MaskError, decode_rle, from_indices, paint
from sclip_research.training.loftup.photographs import open_photographs

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


@pytest.mark.parametrize("item", [[["left", "right"]], [[1, 2, 3]], 5])
def test_a_segmentation_that_is_none_is_named_with_what_to_write(images, tmp_path, item):
    (tmp_path / "masks" / "day").mkdir(parents=True)
    (tmp_path / "masks" / "day" / "one.json").write_text(json.dumps([item]))
    with pytest.raises(MaskError, match=r"one\.png': segmentation .* is neither an RLE nor polygons"
                                        r"; write \{'size'.* or lists of x, y") as refusal:
        labels_of(images, tmp_path / "masks")
    assert str(item) in str(refusal.value)


def left_half(image_id: int) -> dict:
    """Annotate the left half of an image of 8x6 pixels with a polygon."""
    return {"image_id": image_id, "segmentation": [[0, 0, 3, 0, 3, 5, 0, 5]]}


def write_coco(path: Path, names: dict[int, str], annotations: list[dict]) -> str:
    path.write_text(json.dumps({"images": [{"id": key, "file_name": name}
                                           for key, name in names.items()],
                                "annotations": annotations}))
    return str(path)


def twins(tmp_path: Path, *folders: str) -> Path:
    """Return a folder with one picture of the same name in each of several folders."""
    for folder in folders:
        (tmp_path / "twins" / folder).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "twins" / folder / "0001.png"), np.full((6, 8, 3), 40, np.uint8))
    return tmp_path / "twins"


def test_images_of_one_name_keep_their_own_masks(tmp_path):
    coco = write_coco(tmp_path / "coco.json", {1: "a/0001.png", 2: "b/0001.png"}, [left_half(1)])
    source = open_photographs(twins(tmp_path, "a", "b"), coco, smallest=1.0)
    rng = np.random.default_rng(0)
    assert source.crop(0, 6, rng)[1].any()
    assert not source.crop(1, 6, rng)[1].any(), "the second image has no mask of its own"


def test_annotations_may_name_more_or_fewer_folders_than_there_are(images, tmp_path):
    for name in ("one.png", "val2017/day/one.png", "./day/one.png"):
        coco = write_coco(tmp_path / "coco.json", {1: name}, [left_half(1)])
        assert labels_of(images, coco).any()
    coco = write_coco(tmp_path / "coco.json", {1: "night/one.png"}, [left_half(1)])
    with pytest.raises(MaskError, match="1 of 1 images have no masks"):
        open_photographs(images, coco)


@pytest.mark.parametrize(("folders", "names", "message"), [
    (["a", "b"], ["0001.png"], "'0001.png' may mean '.*a/0001.png' and '.*b/0001.png'"),
    (["."], ["a/0001.png", "b/0001.png"], "'a/0001.png' and 'b/0001.png' may both mean"),
    (["a"], ["a/0001.png", "a/0001.png"], "'a/0001.png' and 'a/0001.png' may both mean")])
def test_names_that_may_mean_several_images_are_refused(folders, names, message, tmp_path):
    coco = write_coco(tmp_path / "coco.json", dict(enumerate(names)), [])
    with pytest.raises(MaskError, match=f"coco.json': {message}"):
        open_photographs(twins(tmp_path, *folders), coco)


def test_masks_lie_on_the_pixels_as_stored_whatever_the_orientation_tag(tmp_path):
    picture = np.full((8, 8, 3), 20, np.uint8)
    picture[:, :4] = 220  # what the polygon outlines
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    (tmp_path / "phone").mkdir()
    Image.fromarray(picture).save(tmp_path / "phone/one.jpg", exif=exif, quality=95)
    half = {"image_id": 1, "segmentation": [[0, 0, 3, 0, 3, 7, 0, 7]]}
    coco = write_coco(tmp_path / "coco.json", {1: "one.jpg"}, [half])
    source = open_photographs(tmp_path / "phone", coco, smallest=1.0)
    image, labels = source.crop(0, 8, np.random.default_rng(0))
    np.testing.assert_array_equal(image.mean(axis=2) > 120, labels == 1)


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
    with pytest.raises(ValueError, match="no_such_module:f' are neither a folder"):
        open_photographs(images, "no_such_module:f")
    with pytest.raises(ValueError, match="no images to train on"):
        open_photographs(tmp_path / "empty", str(tmp_path / "wrong"))
