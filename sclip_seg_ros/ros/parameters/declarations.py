"""Every parameter of the node: name, default, range, and what it does.

Those of settings follow from the settings' own declarations; only the node's own stand here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sclip_seg_ros.common.settings import Setting, Settings
from sclip_seg_ros.segmentation.settings import SegmentorSettings
from sclip_seg_ros.segmentation.text.templates import DEFAULT_TEMPLATES, TEMPLATE_SETS
from sclip_seg_ros.temporal import TemporalSettings

IMAGE_TRANSPORTS = ("raw", "compressed")
IMAGE_RELIABILITIES = ("auto", "best_effort", "reliable")
# Nouns that the embedded model finds best: IoU of 0.45 and more in evaluation_indoor.json.
DEFAULT_CLASSES = ("floor", "wall", "ceiling", "door", "window", "curtain", "picture", "table",
                   "chair", "sofa", "bed", "cabinet", "lamp", "plant", "person", "ball", "bottle",
                   "cone", "pallet")


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
        unit: of a number, in the plural; empty where it has none.
        items: type of a list's items.
    """

    name: str
    default: Any
    description: str
    low: float | None = None
    high: float | None = None
    choices: Collection[str] = ()
    fixed: bool = False
    unit: str = ""
    items: type[str] | type[int] = str


def declarations_of(settings: type[Settings], prefix: str = "",
                    section: str = "Stages") -> dict[str, list[Declaration]]:
    """Declare a parameter after every setting of a class, by the headings they stand under.

    It has the setting's name, as in ``crf.iterations``, and its range, unit and description.

    Args:
        settings: the class.
        prefix: of the names, with its dot, where the class is a group of its own.
        section: heading of those that name none.
    """
    sections: dict[str, list[Declaration]] = {}
    for name, setting in settings.declared(prefix).items():
        sections.setdefault(setting.section or section, []).append(_after(name, setting))
    return sections


def _after(name: str, setting: Setting) -> Declaration:
    is_list = isinstance(setting.default, tuple)
    return Declaration(
        name, list(setting.default) if is_list else setting.default,
        setting.description + (f" At most {setting.most}." if is_list else ""),
        None if is_list else setting.low, setting.high, setting.choices, setting.fixed,
        setting.unit, type(setting.default[0]) if is_list else str)


_SETTINGS = declarations_of(SegmentorSettings)
TIME = tuple(declarations_of(TemporalSettings, "temporal.", "Time")["Time"])

VOCABULARY = (
    Declaration("classes", list(DEFAULT_CLASSES),
                "What to look for: a list of words or phrases, synonyms of one class separated by "
                "'|' as in 'person|pedestrian'; one text 'floor,wall,person|pedestrian' will do "
                "too. At most 254 classes. A change takes effect between two frames."),
    Declaration("class_ids", [],
                "Values in ~/label, one for each of the classes in their order: whole numbers from "
                "0 to 255, each once, without unlabelled_id; empty: 0, 1, 2 and so on without it. "
                "Where the number of classes changes, change both in one call: "
                "set_parameters_atomically, or ~/change_words.", items=int),
    Declaration("unlabelled_id", 255,
                "Value in ~/label of pixels without a class; Nav2's semantic nodes use 0.", 0, 255),
    Declaration("background", "",
                "Name of the class that takes the pixels below probability_threshold; empty: they "
                "stay unlabelled. It must be one of the classes: where both change, set them "
                "in one call of set_parameters_atomically, or at start; `ros2 param load` sets one "
                "after the other, background first."),
    Declaration("negative_words", [],
                "Words that compete with the classes and are never a label, e.g. ['mirror', "
                "'window']: their pixels are the background's, or without a class."),
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
                "Threads that torch computes with on the CPU; 0: as OMP_NUM_THREADS says, else all "
                "cores that affinity and quota allow, but of more than two one is left to the "
                "camera and the middleware. On a busy computer, give fewer.",
                0, 1024, fixed=True),
    *_SETTINGS["Model"],
    Declaration("cache_dir", "", "Folder for downloaded weights; empty: $HF_HOME/hub.",
                fixed=True),
)

NODE = (
    Declaration("autostart", True, "Configure and activate at once. Otherwise the node waits for "
                "its lifecycle to be driven: `ros2 lifecycle set /sclip_seg configure`, then "
                "`ros2 lifecycle set /sclip_seg activate`.",
                fixed=True),
    Declaration("image_topics", ["image_raw"],
                "Topics of one to eight cameras. The outputs of several are ~/<camera>/label and "
                "so on, after what tells the topics apart: front and rear of "
                "['/front/image_raw', '/rear/image_raw/compressed']; one text with commas will do "
                "as well. All cameras share one batch, the newest frame of each.", fixed=True),
    Declaration("image_transport", "raw",
                "'raw': sensor_msgs/Image on image_raw; 'compressed': sensor_msgs/CompressedImage "
                "(JPEG, PNG) on image_raw/compressed. A topic in image_topics that ends in "
                "/compressed needs no mention here.", choices=IMAGE_TRANSPORTS, fixed=True),
    Declaration("image_reliability", "auto",
                "Quality of service of the camera subscription; auto: reliable while all of the "
                "camera's publishers are, else best effort. Of large images sent with best effort "
                "between processes, many are lost on the way.", choices=IMAGE_RELIABILITIES,
                fixed=True),
    Declaration("label_size", "camera",
                "Size of ~/label, ~/confidence and ~/overlay: 'camera', a width and height such as "
                "'640x480', or 'as:' and a topic, e.g. 'as:/depth/camera_info', whose messages "
                "(CameraInfo, Image or an organised PointCloud2) have the size that is wanted. "
                "Labels are decided at that size, not enlarged or shrunk."),
    Declaration("enabled", True,
                "Label images. Where false, or after ~/enable with false, they are skipped, and "
                "labelling goes on at once when it is true again; the model stays in memory."),
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

POINTS = (
    Declaration("depth_topics", [],
                "Depth that is registered to the cameras, one topic for each of image_topics and "
                "'' for one without: a depth image (16UC1 in millimetres or 32FC1 in metres, with "
                "its camera_info beside it) or an organised PointCloud2, of the labels' size "
                "(label_size). With it there is a semantic cloud, ~/points.", fixed=True),
    Declaration("points.tolerance_ms", 20.0,
                "Between the stamps of an image and its depth, at most.", 0.0, 1000.0,
                unit="milliseconds"),
    Declaration("points.invalid", "drop",
                "Points without depth, or of classes left out: 'drop' leaves them out, 'keep' has "
                "them as NaN, so that the cloud has the rows of the label image.",
                choices=("drop", "keep")),
    Declaration("points.stride", 1,
                "Of every so many rows and columns, one makes points.", 1, 64),
    Declaration("points.voxel", 0.0,
                "Side of cubes that keep one point each; 0: all points.", 0.0, 10.0,
                unit="metres"),
    Declaration("points.classes", [],
                "Classes whose points are kept, by name; empty: all, and pixels without a class. "
                "With '-' before it, a class is left out: ['-floor', '-wall']."),
    Declaration("points.colours", "camera",
                "Colour of points: the camera's pixel, or that of the class.",
                choices=("camera", "classes")),
)

GROUPS: dict[str, tuple[Declaration, ...]] = {
    "Vocabulary": VOCABULARY, "Model": MODEL,
    **{title: tuple(entries) for title, entries in _SETTINGS.items() if title != "Model"},
    "Time": TIME, "Node": NODE, "Points": POINTS}
DECLARATIONS = {entry.name: entry for group in GROUPS.values() for entry in group}
SETTINGS = frozenset(SegmentorSettings.declared())  # names of the parameters that are a segmentor's
