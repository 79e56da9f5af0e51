"""Whether a GPU has room, compiles kernels and records graphs, and what a CPU runs instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sclip_seg_ros.common.checkup import Finding, fault, not_run, ok, warning
from sclip_seg_ros.common.errors import Unusable
from sclip_seg_ros.common.text import first_line

if TYPE_CHECKING:  # a broken installation may lack it
    import numpy as np

LEAST_FREE = 1.0                    # GiB of a GPU's memory
NEARLY_ALL, MOST_OF_ALL = 0.97, 0.9  # of the labels, in half precision and in float32
NO_GPU = "torch sees no CUDA device"
WORDS = ["floor", "wall", "door", "rug", "table", "chair", "lamp", "box", "ball", "cup"]
SIZE = (480, 640)  # rows, columns


def picture() -> np.ndarray:
    """Return what is segmented: a rendered room, or where there is none a drawn one.

    Returns:
        (480, 640, 3) uint8 RGB.
    """
    import numpy as np

    try:
        from sclip_seg_ros.tools.scenes import render, sample_scene
    except Unusable:  # on robots
        return _drawn()
    return render(sample_scene(np.random.default_rng(3)), *SIZE).image


def room() -> Finding:
    """Look at the GPU's name and its free memory."""
    import torch

    if not torch.cuda.is_available():
        return not_run(NO_GPU)
    free, total = (size / 2**30 for size in torch.cuda.mem_get_info())
    text = f"{torch.cuda.get_device_name()}, {free:.1f} of {total:.1f} GiB free"
    return ok(text) if free >= LEAST_FREE else warning(text)


def kernels() -> Finding:
    """Compile and run the decoding kernel."""
    import torch

    from sclip_seg_ros.segmentation.scores.decoding import triton_kernel

    if not torch.cuda.is_available():
        return not_run(NO_GPU)
    if triton_kernel.usable(torch.device("cuda", torch.cuda.current_device())):
        return ok(f"Triton {triton_kernel.triton.__version__} compiles")
    return warning(f"the decoding kernel cannot run: {triton_kernel.fallback()}")


def decoding() -> Finding:
    """Load what decodes on the CPU."""
    from sclip_seg_ros.segmentation.scores.decoding import compiled

    failure = compiled.fallback()
    if failure:
        return warning(f"the compiled decoding cannot run: {failure}")
    return ok(f"compiled, {compiled.library_name()}")


def graphs() -> Finding:
    """Record a graph and replay it."""
    import torch

    from sclip_seg_ros.segmentation.backbones.cuda_graphs import capture

    if not torch.cuda.is_available():
        return not_run(NO_GPU)
    with torch.inference_mode():
        numbers = torch.ones(64, 64, device="cuda")
        try:
            doubled = capture(lambda argument: argument @ argument, numbers)(2 * numbers)
        except RuntimeError as error:
            return warning(f"no CUDA graph can be recorded: {first_line(error)}")
    return ok("recorded and replayed") if bool((doubled == 256).all()) else \
        fault("a replayed CUDA graph gives other results")


def half_precision(model: str = "embedded", pretrained: str = "", device: str = "auto") -> Finding:
    """Label a room in the precision that is fast here, and in float32.

    Args:
        model, pretrained, device: as of the node.
    """
    import numpy as np

    from sclip_seg_ros.models import fast_precision, resolve_device

    where = resolve_device(device)
    fast = fast_precision(where)
    if fast == "fp32":
        return ok(f"fp32 is what {where} is fast at")
    image = picture()
    labels = {precision: _labels(image, model, pretrained, where, precision)
              for precision in (fast, "fp32")}
    same = float(np.mean(labels[fast] == labels["fp32"]))
    text = f"{same:.1%} of the labels in {fast} are those of fp32, on {where}"
    return ok(text) if same >= NEARLY_ALL else warning(text) if same >= MOST_OF_ALL \
        else fault(text)


def _labels(image: np.ndarray, model: str, pretrained: str, device: Any,
            precision: str) -> np.ndarray:
    from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentorSettings

    segmentor = SCLIPSegmentor(model, pretrained, device, SegmentorSettings(precision=precision))
    return segmentor.segment(image, segmentor.vocabulary(WORDS))


def _drawn() -> np.ndarray:
    """Return a wall, a floor, a box and a ball, in plain colours with some grain."""
    import cv2
    import numpy as np

    rows, columns = SIZE
    image = np.full((rows, columns, 3), (120, 140, 190), np.uint8)
    image[rows // 2:] = (130, 90, 60)
    cv2.rectangle(image, (90, 210), (250, 400), (40, 160, 60), cv2.FILLED)
    cv2.circle(image, (460, 340), 70, (200, 40, 40), cv2.FILLED)
    grain = np.random.default_rng(0).integers(-8, 9, image.shape)
    return np.clip(image + grain, 0, 255).astype(np.uint8)
