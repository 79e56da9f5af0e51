"""Drawing a scene: the room, the camera, the things, and where they stand."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from sclip_research.scenes.camera import Camera
from sclip_research.scenes.colours import COLOURS, sample_colour
from sclip_research.scenes.furniture import Model, build, turn
from sclip_research.scenes.phrases import HELD_OUT_PAIRS, Thing, check_mode
from sclip_research.scenes.placement import Placed, collides, well_seen
from sclip_research.scenes.primitives import Plane
from sclip_research.scenes.scene import Contact, Lighting, Look, Part, Scene
from sclip_research.scenes.textures import Finish, finish, sample_material

SMALL_NOUNS = ("ball", "box", "cone", "cup", "bottle", "bowl", "pyramid", "cylinder")
FEWEST, MOST = 3, 7
FEWEST_SMALL = 2
PLACEMENT_TRIES = 25
TRIES_PER_MODEL = 5
SCENE_TRIES = 200
COUNT_SHARES = (0.08, 0.22, 0.26, 0.24, 0.2)
FLOOR = 0
_SOBER = ("white", "gray")


@dataclass(frozen=True)
class Room:
    """Where the walls stand: the back wall at y, perhaps a side wall at x."""

    back: float
    side: float | None


class _Draft:
    """A scene in the making: what has been placed so far."""

    def __init__(self, rng: np.random.Generator, pairs: str) -> None:
        self.rng = rng
        self.pairs = pairs
        self.with_table = rng.random() < 0.45
        self.room, self.camera = _room_and_camera(rng, self.with_table)
        self.things: list[Thing] = []
        self.supports: list[int | None] = []
        self.parts: list[Part] = []
        self.placed: list[Placed] = []

    def thing(self, noun: str, colours: list[str] | None = None) -> Thing:
        """Draw a thing of the noun whose phrase is new in this scene."""
        used = {thing.phrase for thing in self.things}
        forbidden = HELD_OUT_PAIRS if self.pairs == "training" else frozenset()
        choice = [
            colour
            for colour in (colours or list(COLOURS))
            if (colour, noun) not in forbidden and f"{colour} {noun}" not in used
        ]
        colour = choice[self.rng.integers(len(choice))]
        return Thing(colour, noun, sample_material(noun, colour, self.rng))

    def add(self, thing: Thing, model: Model | None, position: tuple[float, float, float],
            yaw: float, support: int | None) -> int:  # fmt: skip
        """Add a thing with its parts; walls and floor have no model."""
        index = len(self.things)
        self.things.append(thing)
        self.supports.append(support)
        muted = _muting(thing)
        skin = finish(
            thing.noun,
            thing.material,
            sample_colour(thing.colour, self.rng, muted=muted),
            self.rng,
        )
        if model is None:
            if thing.noun == "wall":
                skin = replace(skin, skirting=float(self.rng.choice([0.0, 0.08, 0.1])))
            self.parts += [Part(index, plane, skin) for plane in _planes(thing.noun, self.room)]
            return index
        self.parts += solid_parts(index, model, skin, position, yaw)
        return index

    def place(self, thing: Thing, support: int) -> int | None:
        """Try to stand a thing on the floor or on a table; return its index, or None."""
        for attempt in range(PLACEMENT_TRIES):
            if attempt % TRIES_PER_MODEL == 0:
                model = build(thing.noun, self.rng)
            candidate = self._candidate(thing, model, support)
            if (
                candidate is not None
                and not any(collides(candidate, other) for other in self.placed)
                and well_seen(candidate, self.placed, self.camera.position)
            ):
                index = self.add(thing, model, candidate.position, candidate.yaw, support)
                self.placed.append(replace(candidate, index=index))
                return index
        return None

    def _candidate(self, thing: Thing, model: Model, support: int) -> Placed | None:
        """Propose a position inside the room, on the support."""
        rng, camera = self.rng, self.camera
        yaw = float(rng.uniform(-math.pi, math.pi))
        if thing.noun == "door":
            x = float(camera.position[0] + rng.uniform(-1.0, 1.0) * self.room.back * 0.5)
            position = (x, self.room.back, 0.0)
            yaw = 0.0
        elif support != FLOOR:
            base = next(p for p in self.placed if p.index == support)
            reach = np.array(base.model.half) - np.array(model.half).max() - 0.02
            if reach.min() <= 0:
                return None
            x, y, _ = turn(base.yaw) @ np.array([*rng.uniform(-reach, reach), 0.0])
            position = (float(base.position[0] + x), float(base.position[1] + y),
                        float(base.model.deck or 0.0))  # fmt: skip
        else:
            near = 1.5 if thing.noun in ("table", "rug", "chair", "lamp") else 0.9
            distance = math.exp(rng.uniform(math.log(near), math.log(2.8)))
            angle = camera.yaw + rng.uniform(-0.46, 0.46) * camera.field_of_view
            position = (float(camera.position[0] + distance * math.sin(angle)),
                        float(camera.position[1] + distance * math.cos(angle)), 0.0)  # fmt: skip
            if thing.noun in ("table", "rug"):
                yaw = float(camera.yaw * -1.0 + rng.uniform(-0.5, 0.5))
        if thing.noun == "chair":
            yaw = float(rng.uniform(-2.4, 2.4))
        placed = Placed(-1, thing.noun, model, position, yaw, support).framed(camera)
        return placed if placed.size_fits() and _inside(placed, self.room) else None


def solid_parts(thing: int, model: Model, skin: Finish, position: tuple[float, float, float],
                yaw: float) -> list[Part]:  # fmt: skip
    """Stand a model with a finish at a place of the world."""
    rotation = turn(yaw)
    parts = []
    for piece in model.pieces:
        offset = rotation @ np.array(piece.position) + np.array(position)
        surface = piece.skin
        if surface is None:
            surface = skin if piece.tint == 1.0 else skin.tinted(piece.tint)
            surface = replace(surface, glow=piece.glow)
        turned = rotation if piece.rotation is None else rotation @ piece.rotation
        x, y, z = (float(value) for value in offset)
        parts.append(Part(thing, piece.shape, surface, (x, y, z), turned))
    return parts


def sample_scene(rng: np.random.Generator, pairs: str = "training") -> Scene:
    """Draw a scene.

    Args:
        rng: the only source of chance; the same state gives the same scene.
        pairs: "training" never draws a pair of HELD_OUT_PAIRS; "held-out" draws at least two
            objects from them; "any" knows no difference.

    Raises:
        ValueError: the mode is unknown.
    """
    check_mode(pairs)
    for _ in range(SCENE_TRIES):
        draft = _Draft(rng, pairs)
        _fill(draft)
        unseen = sum(thing.held_out for thing in draft.things)
        small = sum(thing.noun in SMALL_NOUNS for thing in draft.things)
        enough = len(draft.placed) >= FEWEST and small >= FEWEST_SMALL
        if enough and (pairs != "held-out" or unseen >= 2):
            return _finished(draft)
    raise RuntimeError(f"no scene with {FEWEST} well placed objects in {SCENE_TRIES} attempts")


def _fill(draft: _Draft) -> None:
    """Put floor, wall and up to MOST objects into the draft."""
    rng = draft.rng
    sober = list(_SOBER) if rng.random() < 0.45 else None
    draft.add(draft.thing("floor", ["brown"] if rng.random() < 0.2 else None), None, (0, 0, 0), 0,
              None)  # fmt: skip
    draft.add(draft.thing("wall", sober), None, (0, 0, 0), 0, None)
    count = int(rng.choice(np.arange(FEWEST, MOST + 1), p=COUNT_SHARES))
    table = None
    unseen = _unseen_pairs(rng) if draft.pairs == "held-out" else []
    if draft.with_table:
        wanted = [pair for pair in unseen if pair[1] == "table"]
        table = draft.place(draft.thing("table", [wanted[0][0]] if wanted else None), FLOOR)
    if rng.random() < 0.3:
        draft.place(draft.thing("rug"), FLOOR)
    if rng.random() < 0.35:
        draft.place(draft.thing("door"), FLOOR)
    for colour, noun in unseen:
        if noun != "table":
            _place_somewhere(draft, draft.thing(noun, [colour]), table)
    large = [noun for noun in ("chair", "lamp") if rng.random() < 0.3]
    while len(draft.placed) < count:
        noun = large.pop() if large else SMALL_NOUNS[rng.integers(len(SMALL_NOUNS))]
        if _place_somewhere(draft, draft.thing(noun), table) is None and rng.random() < 0.15:
            break


def _place_somewhere(draft: _Draft, thing: Thing, table: int | None) -> int | None:
    """Place on the table more often than not, where there is one."""
    on_table = table is not None and thing.noun != "chair" and draft.rng.random() < 0.65
    return draft.place(thing, table if on_table and table is not None else FLOOR)


def _unseen_pairs(rng: np.random.Generator) -> list[tuple[str, str]]:
    """Choose the held-out pairs that a held-out scene is to show."""
    ordered = sorted(HELD_OUT_PAIRS)
    return [ordered[i] for i in rng.permutation(len(ordered))[: rng.integers(2, 5)]]


def _room_and_camera(rng: np.random.Generator, with_table: bool) -> tuple[Room, Camera]:
    """Draw the walls, and a robot's view that looks at the middle of the floor or table."""
    height = float(rng.uniform(0.85, 1.6) if with_table else rng.uniform(0.4, 1.5))
    aim = float(rng.uniform(1.7, 2.5))
    target = 0.45 if with_table else 0.12
    pitch = -math.atan2(height - target, aim) + float(rng.uniform(-0.03, 0.1))
    yaw = float(rng.uniform(-0.42, 0.42))
    field_of_view = math.radians(rng.uniform(50.0, 66.0))
    side = float(rng.uniform(1.3, 2.3)) * math.copysign(1.0, yaw) if rng.random() < 0.45 else None
    room = Room(float(rng.uniform(3.0, 5.0)), side)
    return room, Camera((0.0, 0.0, height), yaw, pitch, field_of_view)


def _planes(noun: str, room: Room) -> list[Plane]:
    """List the endless planes that are the floor or the wall."""
    if noun == "floor":
        return [Plane(2, 0.0)]
    planes = [Plane(1, room.back, facing=-1.0)]
    if room.side is not None:
        planes.append(Plane(0, room.side, facing=-math.copysign(1.0, room.side)))
    return planes


def _muting(thing: Thing) -> float:
    """Return the saturation of large surfaces; pale red would be taken for pink."""
    if thing.noun not in ("floor", "wall"):
        return 1.0
    return {"red": 0.92, "orange": 0.88}.get(thing.colour, 0.7)


def _inside(placed: Placed, room: Room) -> bool:
    """Tell whether the footprint keeps off the walls."""
    corners = placed.footprint
    if placed.noun != "door" and corners[:, 1].max() > room.back - 0.05:
        return False
    if room.side is None:
        return True
    return bool((corners[:, 0] * math.copysign(1.0, room.side)).max() < abs(room.side) - 0.05)


def _finished(draft: _Draft) -> Scene:
    """Add light and look to the placed things."""
    rng, camera = draft.rng, draft.camera
    distances = [math.hypot(*p.position[:2]) for p in draft.placed if p.noun != "door"]
    focus = float(np.median(distances or [2.0])) + 0.2
    position, angle = _lamp_place(draft, focus)
    fill = np.array([-math.sin(angle), -0.8, 0.5])
    fill /= np.linalg.norm(fill)
    lighting = Lighting(
        position, float(rng.uniform(0.14, 0.35)), float(rng.uniform(0.6, 0.8)),
        (float(fill[0]), float(fill[1]), float(fill[2])), float(rng.uniform(0.2, 0.32)),
        float(rng.uniform(0.42, 0.54)),
    )  # fmt: skip
    warm = float(rng.normal(0.0, 0.03))
    look = Look(
        exposure=float(rng.uniform(0.88, 1.1)),
        white_balance=(1.0 + warm, 1.0, 1.0 - warm),
        blur=float(rng.uniform(0.45, 0.8)),
        vignette=float(rng.uniform(0.05, 0.3)),
        noise=float(rng.uniform(0.003, 0.012)),
        noise_seed=int(rng.integers(2**31)),
    )
    contacts = tuple(
        Contact(p.position[0], p.position[1], p.position[2], 0.9 * max(p.contact_half()))
        for p in draft.placed
        if p.noun not in ("door", "rug", "table", "chair")
    )
    return Scene(
        tuple(draft.things), tuple(draft.supports), tuple(draft.parts), contacts, lighting,
        camera, look, focus,
    )  # fmt: skip


def _lamp_place(draft: _Draft, focus: float) -> tuple[tuple[float, float, float], float]:
    """Hang the lamp high and to one side of the things; return it and its angle there."""
    rng, yaw = draft.rng, draft.camera.yaw
    angle = yaw + rng.choice([-1.0, 1.0]) * rng.uniform(0.35 * math.pi, 0.75 * math.pi)
    away = rng.uniform(0.9, 2.0)
    x = focus * math.sin(yaw) + away * math.sin(angle)
    y = min(focus * math.cos(yaw) + away * math.cos(angle), draft.room.back - 0.4)
    if draft.room.side is not None and x / draft.room.side > 0.8:
        x = 0.8 * draft.room.side
    return (float(x), float(y), float(rng.uniform(1.9, 2.7))), float(angle)
