"""Drawing a scene of the indoor world: what is in the room, and where."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from sclip_research.scenes.camera import Camera
from sclip_research.scenes.colours import COLOURS, sample_colour
from sclip_research.scenes.furniture import Model, turn
from sclip_research.scenes.indoor.building import between, one_of
from sclip_research.scenes.indoor.furniture import build
from sclip_research.scenes.indoor.materials import finish, sample_material
from sclip_research.scenes.indoor.rooms import draw_light, draw_look, draw_room
from sclip_research.scenes.indoor.words import HELD_OUT, ONLY, SURFACES, SYNONYMS, USUAL
from sclip_research.scenes.phrases import Thing, check_mode
from sclip_research.scenes.placement import FLAT_NOUNS, Placed, collides, hidden
from sclip_research.scenes.sampling import solid_parts
from sclip_research.scenes.scene import Contact, Part, Scene

FEWEST, MOST = 5, 16
MOST_PARTS = 400
TRIES = 18
SCENE_TRIES = 100
FLOOR = 0
# Nouns by where they are found; what stands in several lists is found in several places.
HUNG = ("door", "window", "picture", "curtain")
BACKED = ("shelf", "cabinet", "sofa", "bed", "stairs")
STANDING = (
    "table", "chair", "stool", "person", "plant", "bin", "bucket", "box", "pallet", "wheel",
    "cone", "ball", "cable", "rug", "pillow", "lamp", "cylinder", "pyramid",
)  # fmt: skip
SMALL = (
    "cup", "bottle", "bowl", "book", "lamp", "monitor", "keyboard", "plant", "box", "ball",
    "cylinder", "pyramid", "cone", "cable",
)  # fmt: skip
ON_FLOOR_TOO = ("cup", "bottle", "bowl", "book", "keyboard", "monitor")
# What may stand on a thing that has a deck.
ONTO: dict[str, tuple[str, ...]] = {
    "table": SMALL, "cabinet": ("plant", "lamp", "box", "book", "monitor", "bowl", "bottle"),
    "shelf": ("plant", "box", "book", "lamp"), "sofa": ("pillow", "book"),
    "bed": ("pillow", "book", "box"), "pallet": ("box", "box", "bucket", "cylinder", "bin"),
    "box": ("box", "ball", "cup", "book"),
}  # fmt: skip
HIGHEST_ON_DECK = 0.75
LEAST_SHARE = 0.3        # of a thing's frame that lies within the picture
LEAST_PIXELS = 20.0      # of a frame's longer side, in a picture 640 wide


class _Draft:
    """A scene in the making: what has been placed so far."""

    def __init__(self, rng: np.random.Generator, pairs: str) -> None:
        self.rng = rng
        self.pairs = pairs
        self.room, self.camera = draw_room(rng)
        self.things: list[Thing] = []
        self.supports: list[int | None] = []
        self.parts: list[Part] = []
        self.placed: list[Placed] = []

    def thing(self, noun: str, colour: str | None = None) -> Thing:
        """Draw a thing of the noun, by a colour that it may have."""
        rng = self.rng
        forbidden = HELD_OUT if self.pairs == "training" else frozenset()
        if colour is None:
            usual = USUAL.get(noun) if rng.random() < 0.6 else None
            options = [word for word in usual or ONLY.get(noun) or COLOURS
                       if (word, noun) not in forbidden]
            colour = one_of(rng, options)
        called = one_of(rng, SYNONYMS[noun]) if noun in SYNONYMS and rng.random() < 0.3 else None
        return Thing(colour, noun, sample_material(noun, colour, rng), called)

    def add(self, thing: Thing, model: Model | None, position: tuple[float, float, float],
            yaw: float, support: int | None) -> int:  # fmt: skip
        """Add a thing with its parts; floor, wall and ceiling have no model."""
        index = len(self.things)
        self.things.append(thing)
        self.supports.append(support)
        muted = _muting(thing)
        base = sample_colour(thing.colour, self.rng, muted=muted)
        skin = finish(thing.noun, thing.material, base, self.rng)
        if model is None:
            if thing.noun == "wall":
                skin = replace(skin, skirting=one_of(self.rng, (0.0, 0.06, 0.1)))
            self.parts += [Part(index, plane, skin) for plane in self.room.planes(thing.noun)]
        else:
            self.parts += solid_parts(index, model, skin, position, yaw)
        return index

    def place(self, thing: Thing, support: int = FLOOR, model: Model | None = None,
              near: tuple[float, float] | None = None) -> int | None:  # fmt: skip
        """Try to find a place for a thing; return its index, or None.

        Args:
            support: index of what it stands on.
            model: its shape; None draws one.
            near: a place on the floor to stay close to; None is anywhere.
        """
        given = model
        for attempt in range(TRIES):
            if given is None and attempt % 6 == 0:
                model = build(thing.noun, self.rng)
            assert model is not None
            if len(self.parts) + len(model.pieces) > MOST_PARTS:
                return None
            where = self._where(thing.noun, model, support, near)
            if where is None:
                continue
            candidate = Placed(-1, thing.noun, model, *where, support).framed(self.camera)
            if self._fits(candidate):
                index = self.add(thing, model, candidate.position, candidate.yaw, support)
                self.placed.append(replace(candidate, index=index))
                return index
        return None

    def _where(self, noun: str, model: Model, support: int, near: tuple[float, float] | None,
               ) -> tuple[tuple[float, float, float], float] | None:  # fmt: skip
        """Propose a position and a yaw."""
        rng = self.rng
        if support != FLOOR:
            return self._on_deck(noun, model, support)
        if noun in HUNG or (noun in BACKED and rng.random() < 0.85):
            return self._at_wall(noun, model)
        yaw = between(rng, -math.pi, math.pi)
        if noun in BACKED or noun in ("table", "pallet", "rug"):   # not with the back to us
            yaw = one_of(rng, (0.0, 0.5 * math.pi, -0.5 * math.pi)) + between(rng, -0.3, 0.3)
        if near is not None:
            angle, away = between(rng, -math.pi, math.pi), between(rng, 0.5, 1.1)
            x, y = near[0] + away * math.cos(angle), near[1] + away * math.sin(angle)
            return (x, y, 0.0), math.atan2(near[0] - x, y - near[1]) + between(rng, -0.5, 0.5)
        distance = math.exp(between(rng, math.log(0.8), math.log(6.0)))
        angle = self.camera.yaw + between(rng, -0.52, 0.52) * self.camera.field_of_view
        return (distance * math.sin(angle), distance * math.cos(angle), 0.0), yaw

    def _on_deck(self, noun: str, model: Model, support: int,
                 ) -> tuple[tuple[float, float, float], float] | None:  # fmt: skip
        """Propose a place on a table or the like."""
        rng = self.rng
        base = next(p for p in self.placed if p.index == support)
        if model.height > HIGHEST_ON_DECK or base.model.deck is None:
            return None
        reach = np.array(base.model.half) - np.array(model.half).max() - 0.01
        if reach.min() <= 0:
            return None
        x, y, _ = turn(base.yaw) @ np.array([*rng.uniform(-reach, reach), 0.0])
        facing = base.yaw if noun in ("monitor", "keyboard", "box") else between(rng, -3.1, 3.1)
        position = (float(base.position[0] + x), float(base.position[1] + y),
                    base.position[2] + base.model.deck)  # fmt: skip
        return position, facing + between(rng, -0.3, 0.3)

    def _at_wall(self, noun: str, model: Model,
                 ) -> tuple[tuple[float, float, float], float] | None:  # fmt: skip
        """Propose a place against one of the walls, facing the room."""
        rng, room = self.rng, self.room
        low = {"window": (0.75, 1.2), "picture": (0.9, 1.6), "curtain": (0.02, 0.3)}.get(noun)
        level = between(rng, *low) if low else 0.0
        top = (room.ceiling or 3.0) - 0.03
        if level + model.height > top:
            level = max(0.0, top - model.height)
        # Doors, windows and pictures lie in the wall; the others stand before it.
        out = 0.0 if noun in ("door", "window", "picture") else model.half[1] + 0.02
        walls = [0, 0] + [side for side, there in ((-1, room.left), (1, room.right)) if there]
        side = one_of(rng, walls)
        if side == 0:
            angle = self.camera.yaw + between(rng, -0.5, 0.5) * self.camera.field_of_view
            return (room.back * math.tan(angle), room.back - out, level), 0.0
        edge = room.right if side > 0 else room.left
        assert edge is not None
        y = between(rng, 0.8, room.back)
        return (side * (edge - out), y, level), -side * 0.5 * math.pi

    def _fits(self, candidate: Placed) -> bool:
        """Tell whether a thing is in sight, collides with nothing and hides little."""
        if not _in_sight(candidate, self.camera):
            return False
        in_wall = candidate.noun in HUNG
        if not in_wall and not self.room.holds(candidate.footprint):
            return False
        if in_wall and not self.room.holds(0.999 * candidate.footprint, -0.12):
            return False
        if self.room.ceiling and candidate.position[2] + candidate.model.height > self.room.ceiling:
            return False
        if any(collides(candidate, other) for other in self.placed):
            return False
        if candidate.noun in FLAT_NOUNS:
            return True
        upright = [other for other in self.placed if other.noun not in FLAT_NOUNS]
        eye = self.camera.position
        if hidden(candidate, upright, eye, 0.7):
            return False
        return not any(
            hidden(other, [candidate, *(o for o in upright if o is not other)], eye, 0.75)
            for other in upright
        )


def sample_scene(rng: np.random.Generator, pairs: str = "training") -> Scene:
    """Draw a scene of the indoor world.

    Args:
        rng: the only source of chance; the same state gives the same scene.
        pairs: "training" never draws a pair of HELD_OUT; "held-out" draws at least two things
            from them; "any" knows no difference.

    Raises:
        ValueError: the mode is unknown.
    """
    check_mode(pairs)
    for _ in range(SCENE_TRIES):
        draft = _Draft(rng, pairs)
        _fill(draft)
        unseen = sum((thing.colour, thing.noun) in HELD_OUT for thing in draft.things)
        if len(draft.placed) >= FEWEST and (pairs != "held-out" or unseen >= 2):
            return _finished(draft)
    raise RuntimeError(f"no scene with {FEWEST} well placed things in {SCENE_TRIES} attempts")


def _fill(draft: _Draft) -> None:
    """Put the room, then large things, then small ones into the draft."""
    rng = draft.rng
    for noun in SURFACES if draft.room.ceiling else SURFACES[:2]:
        draft.add(draft.thing(noun), None, (0.0, 0.0, 0.0), 0.0, None)
    count = int(rng.integers(FEWEST, MOST + 1))
    unseen = _unseen_pairs(rng) if draft.pairs == "held-out" else []
    for colour, noun in unseen:
        if noun not in SURFACES:
            draft.place(draft.thing(noun, colour))
    for _ in range(int(rng.integers(0, 4))):
        draft.place(draft.thing(one_of(rng, HUNG)))
    for _ in range(int(rng.integers(0, 3))):
        draft.place(draft.thing(one_of(rng, BACKED)))
    if rng.random() < 0.5:
        _place_table(draft)
    for _ in range(3 * count):
        if len(draft.placed) >= count:
            break
        decks = [p for p in draft.placed if p.model.deck is not None and p.noun in ONTO]
        if decks and rng.random() < 0.45:
            base = one_of(rng, decks)
            draft.place(draft.thing(one_of(rng, ONTO[base.noun])), base.index)
        else:
            draft.place(draft.thing(one_of(rng, STANDING + ON_FLOOR_TOO)))


def _place_table(draft: _Draft) -> None:
    """Stand a table with things on it and chairs around it; the chairs look alike."""
    rng = draft.rng
    table = draft.place(draft.thing("table"))
    if table is None:
        return
    for _ in range(int(rng.integers(1, 5))):
        draft.place(draft.thing(one_of(rng, SMALL)), table)
    spot = draft.placed[-1].position if draft.placed[-1].index == table else next(
        p.position for p in draft.placed if p.index == table)
    chair, model = draft.thing("chair"), build("chair", rng)
    for _ in range(int(rng.integers(0, 4))):
        draft.place(chair, model=model, near=(spot[0], spot[1]))


def _unseen_pairs(rng: np.random.Generator) -> list[tuple[str, str]]:
    """Choose the held-out pairs that a held-out scene is to show."""
    ordered = sorted(HELD_OUT)
    return [ordered[i] for i in rng.permutation(len(ordered))[: rng.integers(3, 7)]]


def _in_sight(placed: Placed, camera: Camera) -> bool:
    """Tell whether enough of a thing lies in the picture, neither too small nor too near."""
    if placed.frame is None:
        return False
    left, top, right, bottom = placed.frame
    wide, tall = right - left, bottom - top
    inside = max(0.0, min(right, 640.0) - max(left, 0.0)) * max(
        0.0, min(bottom, 480.0) - max(top, 0.0))
    if max(wide, tall) < LEAST_PIXELS or inside < LEAST_SHARE * wide * tall:
        return False
    return inside < (0.7 if placed.noun in HUNG + BACKED + FLAT_NOUNS else 0.4) * 640 * 480


def _muting(thing: Thing) -> float:
    """Return the saturation of large surfaces; pale red would be taken for pink."""
    if thing.noun not in SURFACES:
        return 1.0
    return {"red": 0.92, "orange": 0.88}.get(thing.colour, 0.7)


def _finished(draft: _Draft) -> Scene:
    """Add light and look to the placed things."""
    distances = [math.hypot(*p.position[:2]) for p in draft.placed if p.noun not in HUNG]
    focus = float(np.median(distances or [2.0])) + 0.2
    lighting = draw_light(draft.rng, draft.room, draft.camera, focus)
    look = draw_look(draft.rng)
    contacts = tuple(
        Contact(p.position[0], p.position[1], p.position[2], 0.8 * min(p.contact_half()))
        for p in draft.placed
        if p.noun not in (*HUNG, *FLAT_NOUNS, "table", "chair", "stool", "stairs")
    )
    return Scene(
        tuple(draft.things), tuple(draft.supports), tuple(draft.parts), contacts, lighting,
        draft.camera, look, focus,
    )  # fmt: skip
