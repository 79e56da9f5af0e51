"""Of which cameras in a recording an image can be read, told by one image after the other."""

from __future__ import annotations

from typing import Generic, TypeVar

from sclip_seg_ros.io.encodings import DepthError
from sclip_seg_ros.tools.bag.recording.channel import Message
from sclip_seg_ros.tools.bag.recording.messages import Codec
from sclip_seg_ros.tools.failures import IMAGE_ERRORS, cause_of

Camera = TypeVar("Camera")  # what tells cameras apart: a topic, or a channel


class Readability(Generic[Camera]):
    """What the images of cameras tell of these.

    Cameras begin with empty or broken images, so the first one does not decide.

    Attributes:
        usable: cameras of which an image was read.
        depths: cameras whose images are not pictures, and why.
        problems: of each camera's first image that could not be read; others may be readable.
    """

    def __init__(self, codec: Codec) -> None:
        """Begin with nothing."""
        self._codec = codec
        self.usable: set[Camera] = set()
        self.depths: dict[Camera, str] = {}
        self.problems: dict[Camera, str] = {}

    def look(self, camera: Camera, message: Message) -> bool:
        """Look at an image of a camera that is not decided yet.

        Returns:
            whether it is decided now.
        """
        if camera in self.usable or camera in self.depths:
            return True
        try:
            self._codec.check_image(message)
            self.usable.add(camera)
        except IMAGE_ERRORS as error:
            cause = cause_of(error)
            self.problems.setdefault(camera, cause)
            if not isinstance(error, DepthError):
                return False
            self.depths[camera] = cause
        return True
