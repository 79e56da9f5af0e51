"""What a file is by its first bytes, where it is not what its name or its reader takes it for."""

from __future__ import annotations

import stat
from pathlib import Path

_HEAD = 512  # bytes that tell

APPLE_DOUBLE = b"\0\x05\x16\x07"
ROS_1 = b"#ROSBAG V"
MCAP = b"\x89MCAP0\r\n"
SQLITE = b"SQLite format 3\0"
ZSTD = b"\x28\xb5\x2f\xfd"
_MCAP_PROFILE = len(MCAP) + 1 + 8  # behind the head of the first record stands the profile

_ARCHIVES = {b"PK\x03\x04": "zip", b"\x1f\x8b": "gzip", b"7z\xbc\xaf\x27\x1c": "7z",
             b"Rar!": "rar", ZSTD: "zstd", b"\xfd7zXZ\0": "xz", b"BZh": "bzip2"}
_PHOTOS = (b"heic", b"heix", b"heif", b"mif1", b"msf1", b"hevc", b"avif", b"avis")
PHOTOS = (".bmp", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff",
          ".webp")
FILMS = (".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts",
         ".ogv", ".webm", ".wmv")
# Photos and films that OpenCV's wheels do not read, or that hold something else under this name.
OTHERS = (".arw", ".avif", ".cr2", ".cr3", ".dng", ".gif", ".heic", ".heif", ".hevc", ".h264",
          ".h265", ".insp", ".insv", ".jp2", ".jxl", ".lrv", ".nef", ".orf", ".raf", ".rw2", ".ts")
_ENDINGS = {"photo": ("in .jpg or .png", *PHOTOS), "film": ("in .mp4 or .mkv", *FILMS),
            "recording": ("in .mcap or .db3", ".mcap", ".db3")}
_PROGRAMS = {"photo": "sclip-segment", "film": "sclip-segment", "recording": "sclip-bag"}
_MAKE_ROS_2 = "`rosbags-convert --src {} --dst {}` makes a ROS 2 recording of {} (it comes with " \
              "rosbags)"


def found_instead(path: Path, expected: str) -> str:
    """Say what a file is that cannot be read as what it was given for, and the remedy.

    Args:
        path: of the file.
        expected: "photo", "film", "recording" or "text".

    Returns:
        A clause such as "it is empty; copy it again"; empty where the bytes tell nothing.
    """
    if is_no_file(path):
        return "it is a pipe or a device and not a file; save in a file what comes from it"
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return ""
    if not head:
        return "it is empty; copy it again"
    if head.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS and not the file itself; `git lfs pull` fetches that"
    if head.startswith(APPLE_DOUBLE):
        return "it is what a Mac notes about another file; leave it out"
    if head.startswith(ROS_1):
        return f"it is a ROS 1 recording; {_MAKE_ROS_2.format(path, path.with_suffix(''), 'it')}"
    if head[_MCAP_PROFILE:].startswith(b"\4\0\0\0ros1") and head.startswith(MCAP):
        return ("it is a ROS 1 recording in MCAP; go back to its .bag file: "
                + _MAKE_ROS_2.format("NAME.bag", "NAME", "that"))
    for start, name in _ARCHIVES.items():
        if head.startswith(start):
            return f"it is packed ({name}); unpack it"
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "it is a web page; download the file itself"
    if head[4:8] == b"ftyp" and head[8:12] in _PHOTOS:
        return f"it is a photo in {head[8:12].decode().upper()}; convert it to JPEG or PNG"
    if head.startswith((b"GIF8", b"%PDF", b"<svg", b"<?xml")):
        return "it is neither a photo nor a film; convert it to JPEG or PNG"
    if kind := _kind_of(head):
        right, *endings = _ENDINGS[kind]
        if _PROGRAMS[kind] != _PROGRAMS.get(expected):
            return f"it is a {kind}, which is for {_PROGRAMS[kind]}"
        if path.suffix.lower() not in endings:
            return f"it is a {kind}; let its name end {right}"
    return ""


def is_no_file(path: Path) -> bool:
    """Tell a pipe, a socket or a device: whoever opens one may wait for ever."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _kind_of(head: bytes) -> str:
    if head.startswith((MCAP, SQLITE)):
        return "recording"
    if head[4:8] == b"ftyp" or head.startswith(b"\x1aE\xdf\xa3"):
        return "film"
    return "photo" if head.startswith((b"\xff\xd8\xff", b"\x89PNG")) else ""
