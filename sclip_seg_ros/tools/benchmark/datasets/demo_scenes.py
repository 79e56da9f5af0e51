"""Rendered rooms that no training saw, each asked for its own phrases and six distractors."""

from __future__ import annotations

from collections.abc import Sequence

from sclip_seg_ros.tools.benchmark.datasets.base import Sample

SCENES = 100  # as `evaluate_embedded_model` takes by default


class DemoScenes:
    """Held-out scenes 0, 1, 2, ...; as many as wanted."""

    profile = ""
    classes: tuple[str, ...] = ()
    class_count = 0

    def choose(self, count: int | None) -> Sequence[int]:
        """Return the first `count` scenes."""
        return range(count or SCENES)

    def name(self, index: int) -> str:
        """Return the name of a scene."""
        return f"scene-{index:05d}"

    def load(self, index: int) -> Sample:
        """Render a scene.

        Raises:
            Unusable: the rooms are not installed; the sentence says what to do.
        """
        from sclip_seg_ros.tools.scenes import held_out_scene

        scene, words = held_out_scene(index)
        return Sample(self.name(index), scene.image, scene.labels(words), tuple(words))
