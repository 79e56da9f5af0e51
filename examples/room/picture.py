"""Camera, labels, cloud and costmap of one moment, in one picture."""

from __future__ import annotations

import cv2
import numpy as np
from sclip_research.scenes import Camera
from sclip_research.scenes.camera import look_at

from examples.room.grid import CELL
from sclip_seg_ros.io.overlay import draw_legend

_TITLE = 34               # pixels
_UNKNOWN, _FREE, _OCCUPIED, _ROBOT = (150, 150, 150), (245, 245, 245), (150, 30, 60), (40, 90, 220)
_MARGIN = 3               # cells around the map


def draw(image: np.ndarray, overlay: np.ndarray, points: np.ndarray, colours: np.ndarray,
         cells: np.ndarray, occupied: np.ndarray, camera: Camera, distance: float) -> np.ndarray:
    """Return the picture, RGB.

    Args:
        image, overlay: (H, W, 3) uint8 RGB.
        points: (N, 3) of the cloud, in the room.
        colours: (N, 3) uint8 RGB of them.
        cells, occupied: of the map.
        camera: where it was.
        distance: to what it looks at, in metres.
    """
    height, width = image.shape[:2]
    panels = (("camera", image), ("labels", overlay),
              ("cloud, seen from above and beside", _cloud(points, colours, camera, distance,
                                                           height, width)),
              ("costmap, cells of 10 cm", _map(cells, occupied, camera, height, width)))
    titled = [_titled(title, panel) for title, panel in panels]
    return np.vstack([np.hstack(titled[:2]), np.hstack(titled[2:])])


def _cloud(points: np.ndarray, colours: np.ndarray, camera: Camera, distance: float, height: int,
           width: int) -> np.ndarray:
    """Paint points as another camera would see them, the far ones first."""
    right, _, forward = camera.axes()
    ahead = np.array([forward[0], forward[1], 0.0]) / np.hypot(forward[0], forward[1])
    target = np.array(camera.position) + distance * forward
    eye = target - 1.05 * distance * ahead + 0.75 * distance * right
    eye[2] = 0.3 + distance
    view = look_at(eye, target, 1.0)
    places = view.project(points, height, width)
    seen = (places[:, 2] > 0.1) & (places[:, :2] > -2).all(1) \
        & (places[:, 0] < width) & (places[:, 1] < height)
    places, colours = places[seen], colours[seen]
    order = np.argsort(-places[:, 2])
    canvas = np.full((height + 2, width + 2, 3), 255, np.uint8)
    columns, rows = places[order, :2].astype(int).T
    for down in (0, 1, 2):
        for across in (0, 1, 2):
            canvas[(rows + down).clip(0, height), (columns + across).clip(0, width)] = \
                colours[order]
    return canvas[:height, :width]


def _map(cells: np.ndarray, occupied: np.ndarray, camera: Camera, height: int,
         width: int) -> np.ndarray:
    """Draw the map as seen from above, with the camera at its foot."""
    robot = np.floor(np.array(camera.position[:2]) / CELL).astype(int)
    low = np.minimum(cells.min(0), robot) - _MARGIN
    size = np.maximum(cells.max(0), robot) + _MARGIN + 1 - low
    grid = np.full((size[1], size[0], 3), _UNKNOWN, np.uint8)
    grid[cells[:, 1] - low[1], cells[:, 0] - low[0]] = np.where(occupied[:, None], _OCCUPIED, _FREE)
    scale = min(height / size[1], width / size[0])
    drawn = cv2.resize(grid[::-1], None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    spot = (robot - low + 0.5) * scale
    cv2.circle(drawn, (int(spot[0]), int(drawn.shape[0] - spot[1])), max(4, int(2 * scale)),
               _ROBOT, -1, cv2.LINE_AA)
    canvas = np.full((height, width, 3), _UNKNOWN, np.uint8)
    top, left = (height - drawn.shape[0]) // 2, (width - drawn.shape[1]) // 2
    canvas[top:top + drawn.shape[0], left:left + drawn.shape[1]] = drawn
    draw_legend(canvas, [("free", np.array(_FREE, np.uint8)),
                         ("obstacle", np.array(_OCCUPIED, np.uint8)),
                         ("camera", np.array(_ROBOT, np.uint8))])
    return canvas


def _titled(title: str, panel: np.ndarray) -> np.ndarray:
    bar = np.full((_TITLE, panel.shape[1], 3), 255, np.uint8)
    cv2.putText(bar, title, (8, _TITLE - 11), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (30, 30, 30), 1,
                cv2.LINE_AA)
    return np.pad(np.vstack([bar, panel]), ((2, 2), (2, 2), (0, 0)), constant_values=255)
