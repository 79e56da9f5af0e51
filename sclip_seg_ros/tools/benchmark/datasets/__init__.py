"""Data sets by name; each module states the layout it reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sclip_seg_ros.tools.benchmark.datasets.base import (
    Dataset,
    DatasetError,
    Picture,
    Pictures,
    Sample,
)
from sclip_seg_ros.tools.benchmark.datasets.coco import (
    open_coco_object,
    open_coco_stuff,
    open_coco_stuff10k,
)
from sclip_seg_ros.tools.benchmark.datasets.demo_scenes import DemoScenes
from sclip_seg_ros.tools.benchmark.datasets.layouts import (
    open_ade20k,
    open_camvid,
    open_cityscapes,
    open_context59,
    open_context60,
    open_folder,
    open_voc20,
    open_voc21,
)
from sclip_seg_ros.tools.benchmark.datasets.videos import DemoVideos, film_of, open_videos

__all__ = ["DATASETS", "DEMO_SCENES", "RENDERED", "VIDEOS", "Dataset", "DatasetError",
           "DemoScenes", "Picture", "Pictures", "Sample", "film_of", "open_dataset"]

DEMO_SCENES = "demo-scenes"
RENDERED: dict[str, Callable[[], Dataset]] = {DEMO_SCENES: DemoScenes, "demo-videos": DemoVideos}
VIDEOS = ("demo-videos", "video-folder")
_FILES: dict[str, Callable[[Path], Dataset]] = {
    "voc21": open_voc21,
    "voc20": open_voc20,
    "context60": open_context60,
    "context59": open_context59,
    "coco-object": open_coco_object,
    "coco-stuff": open_coco_stuff,
    "coco-stuff10k": open_coco_stuff10k,
    "ade20k": open_ade20k,
    "cityscapes": open_cityscapes,
    "camvid": open_camvid,
    "folder": open_folder,
    "video-folder": open_videos,
}
DATASETS = (*_FILES, *RENDERED)


def open_dataset(name: str, root: Path | None) -> Dataset:
    """Open a data set and check its layout; no image is read yet.

    Args:
        name: one of `DATASETS`.
        root: the folder that holds it; None for those that are rendered.

    Raises:
        DatasetError: an unknown name, or a root that is missing, superfluous or without the layout.
    """
    if name not in DATASETS:
        raise DatasetError(f"data set '{name}' is unknown; choose one of {', '.join(DATASETS)}")
    if name in RENDERED:
        if root is not None:
            raise DatasetError(f"--data-root '{root}' cannot apply to {name}, which are rendered; "
                               "leave it out")
        return RENDERED[name]()
    if root is None:
        raise DatasetError(f"data set '{name}' needs --data-root, the folder that holds it")
    if not root.is_dir():
        raise DatasetError(f"--data-root '{root}' is not a folder; give the one that holds {name}")
    return _FILES[name](root)
