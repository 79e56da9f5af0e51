"""Every parameter of the node: name, default, range, and what it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sclip_seg_ros.segmentation.settings import (
    ATTENTIONS,
    CONTRACTS,
    CRF_BACKENDS,
    CRF_LEAST_WIDTH,
    INFERENCES,
    LEAST_STRIDE,
    MOST_DILATIONS,
    MOST_ITERATIONS,
    PRECISIONS,
    RESCLIP_VARIANTS,
    SegmentorSettings,
)
from sclip_seg_ros.segmentation.templates import DEFAULT_TEMPLATES, TEMPLATE_SETS

IMAGE_TRANSPORTS = ("raw", "compressed")
IMAGE_RELIABILITIES = ("auto", "best_effort", "reliable")
DEFAULT_CLASSES = ("floor", "wall", "door", "rug", "table", "chair", "lamp", "box", "ball", "cup",
                   "bowl", "cone", "bottle", "pyramid", "cylinder")

_DEFAULTS = SegmentorSettings()


@dataclass(frozen=True)
class Declaration:
    """One parameter.

    Attributes:
        name: of the parameter.
        default: its value and, by it, its type.
        description: for `ros2 param describe` and docs/parameters.md.
        low, high: range of a number, both inclusive.
        choices: allowed texts; empty where any will do.
        fixed: read when the node is configured.
        setting: path in SegmentorSettings, e.g. ``"crf__iterations"``; empty for the node's own.
    """

    name: str
    default: Any
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    fixed: bool = False
    setting: str = ""


def _setting(path: str, description: str, low: float | None = None, high: float | None = None,
             choices: tuple[str, ...] = (), fixed: bool = False) -> Declaration:
    """Declare a parameter after a setting, whose default it takes."""
    default: Any = _DEFAULTS
    for part in path.split("__"):
        default = getattr(default, part)
    if isinstance(default, tuple):
        default = list(default)
    return Declaration(path.replace("__", "_"), default, description, low, high, choices, fixed,
                       path)


VOCABULARY = (
    Declaration("classes", list(DEFAULT_CLASSES),
                "What to look for: a list of words or phrases, synonyms of one class separated by "
                "'|' as in 'person|pedestrian'; one text 'floor,wall,person|pedestrian' will do "
                "too. At most 254 classes. A change takes effect between two frames."),
    Declaration("background", "",
                "Name of the class that takes the pixels below probability_threshold; empty: they "
                "stay unlabelled (255). It must be one of the classes: where both change, set them "
                "in one call of set_parameters_atomically, or at start; `ros2 param load` sets one "
                "after the other, background first."),
    Declaration("vocabulary_file", "",
                "Text file with one class a line, synonyms separated by ', ' or '|', comments "
                "after '#'; a path, or a name in config/vocabularies such as 'cityscapes.txt'. "
                "When set, it fills classes when the node is configured; a background must then "
                "be one of its classes.", fixed=True),
    Declaration("prompt_templates", list(DEFAULT_TEMPLATES),
                "Sentences that words are put into before the text tower reads them, with {} for "
                "the word, e.g. ['a photo of a {}.', 'a {} in a warehouse.']; or the name of a "
                f"set: {', '.join(TEMPLATE_SETS)}. A word's embedding is the mean over them."),
    Declaration("palette", "",
                "Colours of classes, e.g. 'road=#804080, person=#dc143c'; the others have one of "
                "their own, by their name."),
)

MODEL = (
    Declaration("model", "embedded",
                "'embedded' (comes with the package, knows a small rendered world), or any ViT of "
                "open_clip, e.g. 'ViT-B/16'.", fixed=True),
    Declaration("pretrained", "",
                "Weights of the model: a tag of open_clip ('openai', 'metaclip_400m'), the path of "
                "a safetensors or torch file; empty: 'openai' for a named model.", fixed=True),
    Declaration("device", "auto",
                "Torch device: 'auto' (CUDA where there is one), 'cpu', 'cuda', 'cuda:1'.",
                fixed=True),
    Declaration("threads", 0,
                "Threads that torch computes with on the CPU; 0: all cores, but of more than two "
                "one is left to the camera and the middleware. On a busy computer, give fewer.",
                0, 1024, fixed=True),
    _setting("precision", "Arithmetic of the image tower; auto: bf16 or fp16 on CUDA, bf16 on a "
             "CPU with AVX512_BF16 or AMX, else fp32.", choices=PRECISIONS, fixed=True),
    Declaration("cache_dir", "", "Folder for downloaded weights; empty: open_clip's own.",
                fixed=True),
)

FEATURES = (
    _setting("attention", "Rule of the last block's self-attention.", choices=ATTENTIONS),
    _setting("residual", "Keep the last block's residual and feed-forward network."),
    _setting("naclip_sigma", "Width of NACLIP's neighbourhood in patches.", 0.001, 1000.0),
    _setting("inference", "'slide': overlapping windows; 'whole': the image in one forward.",
             choices=INFERENCES),
    _setting("short_side", "Pixels; a larger image is shrunk to it before it is labelled.", 16,
             4096),
    _setting("enlarge", "Enlarge a smaller image to short_side as well, and keep its exact "
             "proportions, as the papers' own code does; otherwise a side that holds no full "
             "window is rounded to whole patches."),
    _setting("antialias", "Low-pass filter when shrinking."),
    _setting("crop", "Side of a window in pixels; rounded down to whole patches, but for "
             "'enlarge'.", 16, 4096),
    _setting("stride", "Step between windows in pixels, at most crop.", LEAST_STRIDE, 4096),
    _setting("window_batch", "Windows in one forward at most; less needs less memory.", 1, 4096),
)

DECISION = (
    _setting("logit_scale", "Inverse softmax temperature; 0: the model's own.", 0.0, 1000.0),
    _setting("probability_threshold", "Pixels whose best class is less probable become background "
             "or unlabelled. Synonyms share a class's probability and lower it: choose the "
             "threshold with the words in use.", 0.0, 1.0),
    _setting("area_threshold", "Share of the foreground that a class must cover to be kept.",
             0.0, 1.0),
    _setting("decode_resolution", "Side of the grid that labels are decided on, as a share of the "
             "image's side; a smaller one is faster and its pixels are repeated. Without effect "
             "on the CRF.", 0.05, 1.0),
)

STAGES = (
    _setting("use_loftup", "Enlarge features with LoftUp. Its weights are loaded when it is first "
             "switched on; until they are there, frames are labelled without it."),
    _setting("loftup__adaptive", "Choose LoftUp's factor from the grid's size."),
    _setting("loftup__factor", "Enlargement where it is not adaptive.", 1.0, 16.0),
    _setting("loftup__contract", "Features that LoftUp is fed: 'value', 'attended', or as it was "
             "trained.", choices=CONTRACTS),
    _setting("loftup__source", "LoftUp's weights: 'embedded', 'hub', 'torch-hub', the path of a "
             "checkpoint, 'bilinear' for interpolation without any, or 'auto' for the model's own. "
             "'hub@<commit>' pins a download, '...#sha256=<checksum>' any file.", fixed=True),
    _setting("loftup__allow_fallback", "Enlarge bilinearly, with a warning and a mark in the "
             "status, where LoftUp cannot be loaded."),
    _setting("use_resclip", "ResCLIP: attention of earlier blocks, and a second pass with "
             "feedback."),
    _setting("resclip__variant", "As published, or as the project's design documents describe it "
             "(docs/design_expectations.md).", choices=RESCLIP_VARIANTS),
    _setting("resclip__rcs", "Residual cross-correlation self-attention."),
    _setting("resclip__sfr", "Semantic feedback refinement."),
    _setting("resclip__rcs_temperature", "Temperature of the cross-correlation.", 0.001, 1000.0),
    _setting("resclip__rcs_weight", "Weight of the cross-correlation.", 0.0, 1.0),
    _setting("resclip__sfr_temperature", "Temperature of the feedback.", 0.001, 1000.0),
    _setting("resclip__sfr_weight", "Weight of the feedback.", 0.0, 1.0),
    _setting("resclip__sfr_threshold", "Probability below which the first pass gives label 0.",
             0.0, 1.0),
    _setting("resclip__sfr_logit_scale", "Inverse softmax temperature of the first pass.",
             0.0, 1000.0),
    _setting("resclip__documents_weight", "Variant 'documents': weight of the attended features.",
             0.0, 10.0),
    _setting("resclip__documents_temperature", "Variant 'documents': temperature.", 0.001, 1000.0),
    _setting("resclip__documents_blend", "Variant 'documents': share of the finer scale.",
             0.0, 1.0),
    _setting("use_pamr", "Pixel-adaptive mask refinement of the scores."),
    _setting("pamr__steps", "Iterations.", 0, MOST_ITERATIONS),
    _setting("pamr__dilations", "Distances of the neighbours in pixels; at most "
             f"{MOST_DILATIONS} of them."),
    _setting("use_densecrf", "Fully connected CRF at the camera's size; slow."),
    _setting("crf__backend", "What computes the CRF; auto: the best at hand.",
             choices=CRF_BACKENDS),
    _setting("crf__iterations", "Iterations.", 0, MOST_ITERATIONS),
    _setting("crf__resolution", "Side of the copy it works on, as a share of the image's side; a "
             "smaller one is faster.", 0.05, 1.0),
    _setting("crf__gaussian_sxy", "Smoothness: radius in pixels.", CRF_LEAST_WIDTH, 10000.0),
    _setting("crf__gaussian_compat", "Smoothness: weight.", 0.0, 10000.0),
    _setting("crf__bilateral_sxy", "Appearance: radius in pixels.", CRF_LEAST_WIDTH, 10000.0),
    _setting("crf__bilateral_srgb", "Appearance: difference in grey levels.", CRF_LEAST_WIDTH,
             10000.0),
    _setting("crf__bilateral_compat", "Appearance: weight.", 0.0, 10000.0),
)

NODE = (
    Declaration("autostart", True, "Configure and activate at once. Otherwise the node waits for "
                "its lifecycle to be driven, e.g. by `ros2 lifecycle set /sclip_seg configure`.",
                fixed=True),
    Declaration("image_topics", ["image_raw"],
                "Topics of one to eight cameras. The outputs of several are ~/<camera>/label and "
                "so on, after what tells the topics apart: front and rear of "
                "['/front/image_raw', '/rear/image_raw/compressed']. All cameras share one batch, "
                "the newest frame of each.", fixed=True),
    Declaration("image_transport", "raw",
                "'raw': sensor_msgs/Image on image_raw; 'compressed': sensor_msgs/CompressedImage "
                "(JPEG, PNG) on image_raw/compressed. A topic in image_topics that ends in "
                "/compressed needs no mention here.", choices=IMAGE_TRANSPORTS, fixed=True),
    Declaration("image_reliability", "auto",
                "Quality of service of the camera subscription; auto: reliable while all of the "
                "camera's publishers are, else best effort. Of large images sent with best effort "
                "between processes, many are lost on the way.", choices=IMAGE_RELIABILITIES,
                fixed=True),
    Declaration("lazy", True, "Compute nothing while nobody listens to any output."),
    Declaration("overlay_alpha", 0.5, "Share of the class colours in the overlay.", 0.0, 1.0),
    Declaration("overlay_legend", True, "Draw the names of the classes present into the overlay."),
    Declaration("latency_budget_ms", 0.0,
                "Milliseconds from a frame's arrival to its last output; 0: none. It is kept by "
                "giving up quality in the order of quality_ladder, and quality comes back when "
                "there is time.", 0.0, 60000.0),
    Declaration("quality_ladder", "auto",
                "File with the quality levels, the best first: a path, or a name in "
                "config/ladders such as 'cpu.yaml'; auto: the one for the device.", fixed=True),
)

GROUPS = {"Vocabulary": VOCABULARY, "Model": MODEL, "Features": FEATURES, "Decision": DECISION,
          "Stages": STAGES, "Node": NODE}
DECLARATIONS = {entry.name: entry for group in GROUPS.values() for entry in group}
