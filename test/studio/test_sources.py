"""Photos, films and recordings: what there is to see, and any frame of it."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from recordings import DEPTH, FRONT, REAR, raw, record
from rosbags.rosbag2 import CompressionMode
from studio_harness import room, wait_until, write_rooms

from sclip_seg_ros.io.encodings import ImageError
from sclip_seg_ros.io.images import ImageFileError
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.studio.choices.choices import Choices, Refusal
from sclip_seg_ros.studio.desk import Desk
from sclip_seg_ros.studio.sources.recordings import open_recording
from sclip_seg_ros.studio.sources.sources import Film, open_sources
from sclip_seg_ros.studio.workbench import Workbench
from sclip_seg_ros.tools.arguments import UsageError
from sclip_seg_ros.tools.segment.video import VideoError, VideoSource

FRAMES = 12
DURATION = b"\x44\x89\x88"    # how Matroska's length of a film begins, before 8 bytes,
VOID = b"\xec\x89" + bytes(9)  # and a field as long that says nothing


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A film whose frames can be told apart: a bar moves to the right."""
    path = tmp_path_factory.mktemp("film") / "walk.avi"
    write_film(path, "MJPG")
    return path


def write_film(path: Path, codec: str) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 10.0, (320, 240))
    for index in range(FRAMES):
        pixels = room(2)[..., ::-1].copy()
        pixels[:, 20 * index:20 * index + 20] = (0, 0, 255)
        writer.write(pixels)
    writer.release()


def bar(image: np.ndarray) -> int:
    """Return the frame that a picture of the film is of."""
    red = (image[..., 0].astype(int) - image[..., 1] > 120).sum(0)
    return int(red.argmax()) // 20


def open_files(path: Path) -> int:
    """Return how often this process has a file open."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum(os.path.realpath(link) == str(path.resolve()) for link in links)


def test_a_film_is_open_when_it_is_looked_at_and_told_when_it_is_gone(film, tmp_path):
    path = tmp_path / "walk.avi"
    path.write_bytes(film.read_bytes())
    source = Film("walk", path)
    assert open_files(path) == 0
    path.rename(tmp_path / "away")
    with pytest.raises(VideoError, match="film 'walk' cannot be opened any more"):
        source.frame(3)
    (tmp_path / "away").rename(path)
    assert bar(source.frame(3).image) == 3 and source.count == FRAMES
    assert open_files(path) == 1


def test_any_frame_of_a_film_in_any_order(film):
    source = Film("walk", film)
    assert (source.count, source.rate) == (FRAMES, 10.0)
    for index in (0, 1, 7, 8, 2, 11, 0):
        frame = source.frame(index)
        assert bar(frame.image) == index and frame.seconds == pytest.approx(index / 10)
    with pytest.raises(ValueError, match="there is no frame 13; the source has 12"):
        source.frame(12)


def test_any_frame_of_a_film_that_does_not_tell_its_length(tmp_path):
    """As recorders write Matroska that streamed it, or that nobody let finish."""
    path = tmp_path / "walk.mkv"
    write_film(path, "mp4v")
    content = path.read_bytes()
    place = content.index(DURATION)
    path.write_bytes(content[:place] + VOID + content[place + len(VOID):])
    assert VideoSource(path).announced is None
    source, = open_sources([path])
    assert source.count == FRAMES
    for index in (0, 1, 7, 8, 2, 11, 0):
        assert bar(source.frame(index).image) == index
    with pytest.raises(ValueError, match="there is no frame 13; the source has 12"):
        source.frame(12)
    assert bar(source.frame(5).image) == 5


def test_a_film_with_a_colon_in_its_name_is_no_address(tmp_path, film, monkeypatch):
    (tmp_path / "12:30.avi").write_bytes(film.read_bytes())
    monkeypatch.chdir(tmp_path)
    source, = open_sources([Path("12:30.avi")])
    for index in (3, 0):
        assert bar(source.frame(index).image) == index


@pytest.mark.parametrize("compression", [CompressionMode.NONE, CompressionMode.FILE])
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_the_cameras_of_a_recording_and_any_frame_of_them(tmp_path, storage, compression):
    path = record(tmp_path / "drive", storage, frames=5, cameras=(FRONT, REAR),
                  compression=compression)
    assert [camera.kind for camera in open_sources([path])] == ["recording"] * 2
    cameras = {camera.name.split()[-1]: camera for camera in open_recording(path)}
    assert set(cameras) == {FRONT, REAR}, f"{DEPTH} has no colours"
    front = cameras[FRONT]
    assert front.count == 5
    first = front.frame(0).image
    for index in (4, 1, 3, 0):
        frame = front.frame(index)
        assert (frame.image == first).all() == (index == 0)
        assert (frame.seconds > 0) == (index > 0)


@pytest.mark.parametrize("broken", [raw(np.zeros((1, 0, 3), np.uint8), 0),
                                    raw(np.zeros((60, 80, 3), np.uint8), 0)[:200]],
                         ids=["empty", "cut short"])
def test_a_camera_that_begins_with_a_broken_image_is_there(tmp_path, broken):
    path = record(tmp_path / "drive", "mcap", frames=5, images={0: broken, 1: broken})
    camera, = open_recording(path)
    assert camera.count == 5 and camera.frame(2).image.shape == (60, 80, 3)
    with pytest.raises(ImageError):
        camera.frame(0)


def test_a_recording_without_a_readable_image_tells_why(tmp_path):
    broken = raw(np.zeros((60, 80, 3), np.uint8), 0)[:200]
    path = record(tmp_path / "drive", "mcap", frames=2, images={0: broken, 1: broken})
    with pytest.raises(ValueError, match=f"no topic with colour images; of images it has: '{FRONT}"
                                         f"': message cannot be read .*'{DEPTH}': encoding"):
        open_recording(path)


def test_a_folder_gives_its_pictures_and_its_films(tmp_path, film):
    write_rooms(tmp_path / "a" / "deep")
    write_rooms(tmp_path / "a", (9,))
    (tmp_path / "a" / "walk.avi").write_bytes(film.read_bytes())
    photos, walk = open_sources([tmp_path / "a"])
    assert [photos.name_of(index) for index in range(photos.count)] == [
        "deep/room_02.png", "deep/room_05.png", "room_09.png"]
    assert np.array_equal(photos.frame(2).image, room(9))
    assert walk.kind == "film" and walk.name == "walk.avi"


def test_a_bad_film_costs_itself_alone_and_a_macs_note_nothing(tmp_path, film):
    """As a stick leaves them that a Mac has written, or that was pulled out too early."""
    write_rooms(tmp_path / "a", (9,))
    (tmp_path / "a" / "walk.avi").write_bytes(film.read_bytes())
    (tmp_path / "a" / "._walk.avi").write_bytes(b"\0\5\x16\7" + bytes(99))
    (tmp_path / "a" / "broken.mp4").write_bytes(b"no film")
    left_out = []
    photos, walk = open_sources([tmp_path / "a"], left_out)
    assert (photos.count, walk.name) == (1, "walk.avi")
    [problem] = left_out
    assert "broken.mp4' cannot be opened" in str(problem)
    with pytest.raises(ValueError, match="broken.mp4' cannot be opened"):
        open_sources([tmp_path / "a"])


def test_among_several_names_one_that_leads_to_nothing_costs_itself_alone(tmp_path, film):
    left_out = []
    walk, = open_sources([tmp_path / "none", film, _written(tmp_path / "a.mcap")], left_out)
    assert walk.kind == "film"
    assert ["does not exist" in str(left_out[0]), "a.mcap" in str(left_out[1])] == [True, True]
    with pytest.raises(UsageError, match="does not exist"):
        open_sources([tmp_path / "none", tmp_path / "none either"], left_out)
    (tmp_path / "films").mkdir()
    _written(tmp_path / "films" / "a.mp4")
    with pytest.raises(ValueError, match="a.mp4' cannot be opened"):
        open_sources([tmp_path / "films"], left_out)


@pytest.mark.parametrize(("make", "kind", "said"), [
    (lambda path: path / "none", UsageError, "does not exist"),
    (lambda path: path, ImageFileError, "without pictures or films"),
    (lambda path: _written(path / "a.txt"), UsageError, "is not a picture, film or recording"),
    (lambda path: _written(path / "a.mp4"), ValueError, "cannot be opened"),
    (lambda path: _written(path / "a.mcap"), ValueError, "cannot be read")])
def test_a_name_that_leads_to_nothing_is_told(tmp_path, make, kind, said):
    with pytest.raises(kind, match=said):
        open_sources([make(tmp_path)])


def _written(path):
    path.write_bytes(b"nothing")
    return path


def test_a_film_plays_to_its_end_and_its_frames_help_one_another(film):
    bench = Workbench(SCLIPSegmentor(inference="whole"), open_sources([film]))
    desk = Desk(bench, Choices(("floor", "wall", "table")).with_settings({"inference": "whole"}))
    seen = []
    desk.on_shown = seen.append
    bench.start()
    desk.begin()
    wait_until(lambda: seen)
    desk.do({"do": "play", "on": True})
    wait_until(lambda: not desk.state["playing"])
    wait_until(lambda: seen[-1].index == FRAMES - 1)
    indices = [shown.index for shown in seen]
    assert indices == sorted(indices) and len(set(indices)) > 2
    assert all("temporal" in shown.labelled.stage_ms for shown in seen)
    desk.do({"do": "play", "on": True})  # from the beginning again
    wait_until(lambda: desk.state["index"] < FRAMES - 1)
    desk.do({"do": "play", "on": False})
    bench.close()


def test_photos_chosen_while_a_film_plays_are_shown_and_end_the_playing(film, tmp_path):
    bench = Workbench(SCLIPSegmentor(inference="whole"),
                      open_sources([film, write_rooms(tmp_path / "rooms")]))
    desk = Desk(bench, Choices(("floor", "wall")).with_settings({"inference": "whole"}))
    bench.start()
    desk.begin()
    desk.do({"do": "play", "on": True})
    wait_until(lambda: desk.shown and desk.shown.index)
    photos = next(number for number, source in enumerate(bench.sources) if not source.moving)
    for index in (0, 1):
        desk.do({"do": "go", "source": photos, "index": index})
        wait_until(lambda asked=(photos, index): (desk.shown.source, desk.shown.index) == asked)
    assert not desk.state["playing"] and desk.state["problem"] is None
    bench.close()


def test_photos_do_not_play(tmp_path):
    bench = Workbench(SCLIPSegmentor(), open_sources([write_rooms(tmp_path)]))
    desk = Desk(bench, Choices(("floor",)))
    with pytest.raises(Refusal, match="photos, which do not play") as caught:
        desk.do({"do": "play", "on": True})
    assert caught.value.field == "sources"
