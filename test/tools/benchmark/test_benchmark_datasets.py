"""Data sets of the benchmark, read from small trees of their true layouts."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sclip_research.scenes.films import film
from sclip_research.scenes.held_out import held_out_scene

from sclip_seg_ros.io.profiles import load_profile
from sclip_seg_ros.tools.benchmark.datasets import (
    DATASETS,
    DEMO_SCENES,
    RENDERED,
    DatasetError,
    film_of,
    open_dataset,
)

RED = (200, 30, 20)
STORED = np.array([[0, 1, 2, 255], [0, 1, 2, 255], [5, 5, 10, 10]], np.uint8)


def put_image(path: Path, size: tuple[int, int] = STORED.shape) -> None:
    """Write a red image of a size (rows, columns)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), RED, np.uint8)).save(path, quality=100, subsampling=0)


def put_labels(path: Path, labels: np.ndarray = STORED, palette: bool = False) -> None:
    """Write a label image, with a palette as PASCAL's are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels)
    if palette:
        image.putpalette(np.random.default_rng(0).integers(0, 256, 768, np.uint8).tobytes())
        assert image.mode == "P"
    image.save(path)


def put_list(path: Path, *names: str) -> None:
    """Write a list file of PASCAL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))


def voc(root: Path) -> None:
    """Lay out PASCAL VOC 2012 with an image that is not in the list."""
    for name in ("2007_000033", "2007_000999"):
        put_image(root / f"JPEGImages/{name}.jpg")
        put_labels(root / f"SegmentationClass/{name}.png", palette=True)
    put_list(root / "ImageSets/Segmentation/val.txt", "2007_000033")


def context(root: Path) -> None:
    """Lay out PASCAL Context."""
    put_image(root / "JPEGImages/2008_000002.jpg")
    put_labels(root / "SegmentationClassContext/2008_000002.png")
    put_list(root / "ImageSets/SegmentationContext/val.txt", "2008_000002")


def coco_stuff(root: Path) -> None:
    """Lay out COCO-Stuff 164k, the unconverted labels beside the converted ones."""
    put_image(root / "images/val2017/000000000139.jpg")
    put_labels(root / "annotations/val2017/000000000139.png")
    put_labels(root / "annotations/val2017/000000000139_labelTrainIds.png")


def coco_stuff10k(root: Path) -> None:
    """Lay out COCO-Stuff 10k with an image of the training split."""
    for split, name in (("train", "000000000077"), ("test", "000000000431")):
        put_image(root / f"images/{split}2014/COCO_train2014_{name}.jpg")
        put_labels(root / f"annotations/{split}2014/COCO_train2014_{name}_labelTrainIds.png")


def coco_object(root: Path) -> None:
    """Lay out COCO-Object as GroupViT's converter does."""
    put_image(root / "images/val2017/000000000139.jpg")
    put_labels(root / "annotations/val2017/000000000139_instanceTrainIds.png")


def ade20k(root: Path) -> None:
    """Lay out ADE20K."""
    put_image(root / "images/validation/ADE_val_00000001.jpg")
    put_labels(root / "annotations/validation/ADE_val_00000001.png")


def cityscapes(root: Path) -> None:
    """Lay out Cityscapes, with the other label files that lie there."""
    put_image(root / "leftImg8bit/val/lindau/lindau_000000_000019_leftImg8bit.png")
    for kind in ("color", "labelIds", "labelTrainIds", "instanceIds"):
        put_labels(root / f"gtFine/val/lindau/lindau_000000_000019_gtFine_{kind}.png")


def camvid(root: Path) -> None:
    """Lay out CamVid, with an unlabelled column."""
    put_image(root / "images/0016E5_07959.png")
    put_labels(root / "labels/0016E5_07959.png", np.where(STORED == 255, 11, STORED))


def folder(root: Path) -> None:
    """Lay out a data set of one's own, in two folders."""
    put_image(root / "images/kitchen/one.JPG")
    put_labels(root / "labels/kitchen/one.png", STORED % 3)
    (root / "classes.txt").write_text("floor\ntable, desk\n# nothing\ncup\n")


def videos(root: Path) -> None:
    """Lay out two films of one's own, of one frame and of two."""
    folder(root)
    (root / "images/walk").mkdir()
    for index in (1, 2):
        put_image(root / f"images/walk/{index:03d}.png")
        put_labels(root / f"labels/walk/{index:03d}.png", STORED % 3)


def decoded(*rows: list[int]) -> np.ndarray:
    """Return a truth."""
    return np.array(rows, np.uint8)


SAME = STORED
LESS_ONE = decoded([255, 0, 1, 255], [255, 0, 1, 255], [4, 4, 9, 9])
CASES = {
    "voc21": (voc, "2007_000033", SAME),
    "voc20": (voc, "2007_000033", LESS_ONE),
    "context60": (context, "2008_000002", SAME),
    "context59": (context, "2008_000002", LESS_ONE),
    "coco-object": (coco_object, "000000000139", SAME),
    "coco-stuff": (coco_stuff, "000000000139", SAME),
    "coco-stuff10k": (coco_stuff10k, "COCO_train2014_000000000431", LESS_ONE),
    "ade20k": (ade20k, "ADE_val_00000001", LESS_ONE),
    "cityscapes": (cityscapes, "lindau/lindau_000000_000019", SAME),
    "camvid": (camvid, "0016E5_07959", SAME),
    "folder": (folder, "kitchen/one", STORED % 3),
    "video-folder": (folder, "kitchen/one", STORED % 3),
}


@pytest.mark.parametrize("name", CASES)
def test_layout_is_read(name: str, tmp_path: Path) -> None:
    lay_out, expected_name, expected = CASES[name]
    lay_out(tmp_path)
    dataset = open_dataset(name, tmp_path)
    assert list(dataset.choose(None)) == [0]
    sample = dataset.load(0)
    assert sample.name == dataset.name(0) == expected_name
    assert sample.image.dtype == np.uint8 and sample.image.shape == (3, 4, 3)
    assert np.abs(sample.image.astype(int) - RED).max() <= 3  # RGB, not BGR; JPEG is not exact
    np.testing.assert_array_equal(sample.truth, expected)


def test_every_data_set_is_covered_here() -> None:
    assert {*CASES, *RENDERED} == set(DATASETS)


def test_films_are_folders_of_frames(tmp_path: Path) -> None:
    videos(tmp_path)
    dataset = open_dataset("video-folder", tmp_path)
    names = [dataset.name(index) for index in dataset.choose(None)]
    assert names == ["kitchen/one", "walk/001", "walk/002"]
    assert [film_of(name) for name in names] == ["kitchen", "walk", "walk"]
    assert list(dataset.choose(1)) == [0]
    assert dataset.load(2).seconds - dataset.load(1).seconds == pytest.approx(1 / 15)


def test_demo_videos_are_rendered_films_with_exact_motion() -> None:
    dataset = open_dataset("demo-videos", None)
    assert len(dataset.choose(None)) == 20 * len(film(0, moving=True))
    assert list(dataset.choose(1)) == list(range(24))
    shown = film(0, moving=True)
    shot, sample = next(islice(shown.shots(), 3, None)), dataset.load(24 + 3)
    assert sample.classes == shown.words and sample.name == "mover-001/003"
    np.testing.assert_array_equal(sample.image, shot.image)
    np.testing.assert_array_equal(sample.truth, shot.labels)
    np.testing.assert_array_equal(sample.following, shot.following)


@pytest.mark.parametrize("name", [name for name in CASES if "folder" not in name])
def test_profile_has_the_data_sets_classes(name: str, tmp_path: Path) -> None:
    CASES[name][0](tmp_path)
    dataset = open_dataset(name, tmp_path)
    assert len(load_profile(dataset.profile).classes) == dataset.class_count


def test_coco_object_from_coco_stuff_equals_the_converter(tmp_path: Path) -> None:
    coco_stuff(tmp_path)
    put_labels(tmp_path / "annotations/val2017/000000000139_labelTrainIds.png",
               decoded([0, 1, 79, 80], [0, 1, 79, 170], [5, 5, 5, 255]))
    truth = open_dataset("coco-object", tmp_path).load(0).truth
    # The converter: things move up by one; stuff and unlabelled pixels become background.
    np.testing.assert_array_equal(truth, decoded([1, 2, 80, 0], [1, 2, 80, 0], [6, 6, 6, 0]))


def test_folder_has_its_own_classes(tmp_path: Path) -> None:
    folder(tmp_path)
    assert open_dataset("folder", tmp_path).classes == ("floor", "table|desk", "cup")


def test_labels_of_16_bits_keep_their_values(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "classes.txt").write_text("\n".join(f"thing {index}" for index in range(250)))
    put_labels(tmp_path / "labels/kitchen/one.png", STORED.astype(np.uint16) * 24 % 250)
    np.testing.assert_array_equal(open_dataset("folder", tmp_path).load(0).truth,
                                  STORED.astype(int) * 24 % 250)


def test_no_image_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    camvid(tmp_path)
    (tmp_path / "images/broken.png").write_bytes(b"no image")
    put_labels(tmp_path / "labels/broken.png")
    dataset = open_dataset("camvid", tmp_path)
    assert [dataset.name(index) for index in dataset.choose(None)] == ["0016E5_07959", "broken"]
    dataset.load(0)
    with pytest.raises(DatasetError, match="broken.png' cannot be read"):
        dataset.load(1)


def test_a_number_of_images_is_spread_over_the_data_set(tmp_path: Path) -> None:
    for index in range(10):
        put_image(tmp_path / f"images/{index}.png")
        put_labels(tmp_path / f"labels/{index}.png")
    dataset = open_dataset("camvid", tmp_path)
    assert list(dataset.choose(3)) == [0, 3, 6]
    assert list(dataset.choose(10)) == list(dataset.choose(99)) == list(range(10))


MISSING = {
    "voc21": "ImageSets/Segmentation/val.txt",
    "voc20": "SegmentationClass",
    "context60": "ImageSets/SegmentationContext/val.txt",
    "context59": "SegmentationClassContext",
    "coco-stuff": "annotations/val2017",
    "coco-stuff10k": "images/test2014",
    "coco-object": "images/val2017",
    "ade20k": "images/validation",
    "cityscapes": "gtFine/val",
    "camvid": "labels",
    "folder": "classes.txt",
    "video-folder": "classes.txt",
}


@pytest.mark.parametrize("name", CASES)
def test_missing_part_of_a_layout_is_named(name: str, tmp_path: Path) -> None:
    CASES[name][0](tmp_path)
    part = tmp_path / MISSING[name]
    part.rename(tmp_path / "away")
    with pytest.raises(DatasetError) as caught:
        open_dataset(name, tmp_path)
    assert f"'{part}' does not exist" in str(caught.value)


def test_labels_without_the_wanted_ending_are_named(tmp_path: Path) -> None:
    coco_stuff(tmp_path)
    (tmp_path / "annotations/val2017/000000000139_labelTrainIds.png").unlink()
    with pytest.raises(DatasetError, match="000000000139_labelTrainIds.png' does not exist"):
        open_dataset("coco-stuff", tmp_path)


def test_empty_folder_of_images_is_named(tmp_path: Path) -> None:
    camvid(tmp_path)
    (tmp_path / "images/0016E5_07959.png").unlink()
    with pytest.raises(DatasetError, match=f"{tmp_path / 'images'}.*names no image"):
        open_dataset("camvid", tmp_path)


def test_id_without_a_class_is_refused(tmp_path: Path) -> None:
    camvid(tmp_path)
    put_labels(tmp_path / "labels/0016E5_07959.png", np.full_like(STORED, 12))
    with pytest.raises(DatasetError, match="holds id 12, but there are 11 classes"):
        open_dataset("camvid", tmp_path).load(0)


def test_labels_of_another_size_are_refused(tmp_path: Path) -> None:
    camvid(tmp_path)
    put_image(tmp_path / "images/0016E5_07959.png", (6, 8))
    with pytest.raises(DatasetError, match="4x3 pixels but its image is 8x6 pixels"):
        open_dataset("camvid", tmp_path).load(0)


def test_coloured_labels_are_refused(tmp_path: Path) -> None:
    camvid(tmp_path)
    put_image(tmp_path / "labels/0016E5_07959.png")
    with pytest.raises(DatasetError, match="has 3 channels"):
        open_dataset("camvid", tmp_path).load(0)


def test_demo_scenes_are_those_of_the_evaluation() -> None:
    dataset = open_dataset(DEMO_SCENES, None)
    assert list(dataset.choose(2)) == [0, 1] and len(dataset.choose(None)) == 100
    scene, words = held_out_scene(1)
    sample = dataset.load(1)
    assert sample.classes == tuple(words)
    np.testing.assert_array_equal(sample.image, scene.image)
    np.testing.assert_array_equal(sample.truth, scene.labels(words))


@pytest.mark.parametrize(("name", "root", "message"), [
    ("imagenet", None, "data set 'imagenet' is unknown"),
    ("voc21", None, "needs --data-root"),
    ("voc21", Path("no/such/folder"), "'no/such/folder' is not a folder"),
    (DEMO_SCENES, Path("."), "cannot apply"),
    ("demo-videos", Path("."), "cannot apply"),
])
def test_wrong_names_and_roots_are_refused(name: str, root: Path | None, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        open_dataset(name, root)


def test_camvid_frames_are_read(camvid_dir: Path) -> None:
    dataset = open_dataset("camvid", camvid_dir)
    sample = dataset.load(0)
    assert sample.image.shape == (360, 480, 3)
    assert set(np.unique(sample.truth)) <= {*range(11), 255}
