"""Pixels that people name: counted on the page, kept in a file, counted the same by a program."""

from __future__ import annotations

import json

import numpy as np
import pytest
from studio_harness import browsing, page_of, serving, until, wait_until, write_rooms

from sclip_seg_ros.io.points import Score, as_json, judge, read_points, write_points
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.text.vocabulary import validate_classes
from sclip_seg_ros.studio.choices.choices import Choices, Refusal
from sclip_seg_ros.studio.desk import Desk
from sclip_seg_ros.studio.points import Points
from sclip_seg_ros.studio.sources.sources import Sent, open_sources
from sclip_seg_ros.studio.workbench import Workbench
from sclip_seg_ros.tools.segment.command import main as segment

WORDS = ("floor", "wall", "table", "bowl|cup")


@pytest.fixture(scope="module")
def segmentor():
    return SCLIPSegmentor()


@pytest.fixture
def at_work(segmentor, tmp_path):
    """A studio over two rooms, whose points lie beside them."""
    bench = Workbench(segmentor, open_sources([write_rooms(tmp_path / "rooms")]))
    desk = Desk(bench, Choices(WORDS), Points(tmp_path / "points.json"))
    bench.start()
    desk.begin()
    wait_until(lambda: desk.shown)
    yield desk, tmp_path
    bench.close()


def click(desk: Desk, x: int, y: int, word: str) -> None:
    desk.do({"do": "point", "x": x, "y": y, "word": word})


def test_where_there_is_no_room_for_points_one_can_still_be_taken_away(at_work, monkeypatch):
    desk, folder = at_work
    monkeypatch.setattr("sclip_seg_ros.studio.points.MOST", 1)
    click(desk, 160, 230, "floor")
    with pytest.raises(Refusal, match="1 points already"):
        click(desk, 10, 10, "wall")
    click(desk, 160, 230, "floor")
    click(desk, 10, 10, "wall")
    assert [point[2] for point in sum(read_points(folder / "points.json").points.values(), ())] \
        == ["wall"]


def test_the_page_and_sclip_segment_count_the_same(at_work, capsys):
    desk, folder = at_work
    labels = desk.shown.labelled.labels
    rng = np.random.default_rng(0)
    for _ in range(12):
        x, y = int(rng.integers(0, 320)), int(rng.integers(0, 240))
        click(desk, x, y, str(rng.choice(["floor", "wall", "bowl"])))
    click(desk, 160, 230, "floor")
    desk.do({"do": "go", "source": 0, "index": 1})
    wait_until(lambda: desk.shown.index == 1)
    click(desk, 160, 230, "floor")
    click(desk, 10, 10, "table")
    desk.do({"do": "count"})
    counted = wait_until(lambda: (desk.state["counted"] or {}).get("done") and
                         desk.state["counted"])
    total = sum(map(len, read_points(folder / "points.json").points.values()))
    assert counted["total"] == total and 0 < counted["right"] < total
    assert segment([str(folder / "rooms"), "--output", str(folder / "out"), "--vocabulary", *WORDS,
                    "--points-file", str(folder / "points.json"), "--device", "cpu"]) == 0
    line = f"{counted['right']} of {total} points right ({100 * counted['right'] / total:.1f} %)"
    assert line in capsys.readouterr().out
    run = json.loads((folder / "out/run.json").read_text())
    assert run["points"] == {"right": counted["right"], "total": total,
                             "by_word": counted["words"]}
    assert labels.shape == (240, 320)


def test_pictures_without_points_are_not_read_and_one_that_cannot_be_counts_as_wrong(segmentor,
                                                                                      tmp_path):
    folder = write_rooms(tmp_path / "rooms")
    (folder / "a_broken.png").write_bytes(b"no picture")
    bench = Workbench(segmentor, open_sources([folder]))
    desk = Desk(bench, Choices(WORDS), Points())
    bench.start()
    names = [bench.sources[0].name_of(index) for index in range(3)]
    for name in ("room_02.png", "room_05.png"):
        desk.do({"do": "go", "source": 0, "index": names.index(name)})
        wait_until(lambda name=name: desk.shown and desk.shown.labelled.frame.name == name)
        y, x = (int(part[len(part) // 2]) for part in np.nonzero(desk.shown.labelled.labels == 0))
        click(desk, x, y, "floor")
    desk.do({"do": "count"})
    wait_until(lambda: (desk.state["counted"] or {}).get("done"))
    assert (desk.state["counted"]["right"], desk.state["counted"]["total"]) == (2, 2)
    assert desk.state["problem"] is None
    (folder / "room_05.png").write_bytes(b"broken since")
    desk.do({"do": "count"})
    problem = wait_until(lambda: desk.state["problem"])
    assert (desk.state["counted"]["right"], desk.state["counted"]["total"]) == (1, 2)
    assert problem["field"] == "points"
    assert "the points of 1 picture count as wrong: " in problem["message"]
    assert "room_05.png" in problem["message"]
    bench.close()


def test_another_word_changes_the_number_and_makes_the_old_one_go(at_work):
    desk, _ = at_work
    labels = desk.shown.labelled.labels
    y, x = (int(part[len(part) // 2]) for part in np.nonzero(labels == 3))
    click(desk, x, y, "bowl")
    assert desk.state["points"] == [{"x": x, "y": y, "word": "bowl", "right": True}]
    desk.do({"do": "count"})
    wait_until(lambda: (desk.state["counted"] or {}).get("done"))
    desk.do({"do": "rename", "name": "bowl", "text": "lamp"})
    assert desk.state["counted"] is None
    wait_until(lambda: not desk.state["points"][0]["right"])
    desk.do({"do": "rename", "name": "lamp", "text": "cup|bowl"})  # a synonym counts as well
    wait_until(lambda: desk.state["points"][0]["right"])


def test_points_are_kept_and_taken_away_by_a_second_click(at_work):
    desk, folder = at_work
    click(desk, 100, 100, "wall")
    click(desk, 200, 200, "floor")
    assert read_points(folder / "points.json").points == {
        "rooms/room_02.png": ((100, 100, "wall"), (200, 200, "floor"))}
    assert Points(folder / "points.json").pictures == desk.points.pictures
    click(desk, 103, 98, "floor")
    assert desk.points.pictures == {"rooms/room_02.png": [(200, 200, "floor")]}
    desk.do({"do": "unpoint", "place": 0})
    assert not (folder / "points.json").exists()


@pytest.mark.parametrize(("command", "said"), [
    ({"do": "point", "x": 320, "y": 0, "word": "floor"}, "outside the picture of 320x240"),
    ({"do": "point", "x": 1, "y": 1, "word": "sky"}, "'sky' is none of the classes"),
    ({"do": "unpoint", "place": 3}, "no point 4"), ({"do": "count"}, "no points yet")])
def test_what_is_no_point_is_refused_at_its_field(at_work, command, said):
    desk, folder = at_work
    with pytest.raises(Refusal, match=said) as caught:
        desk.do(command)
    assert caught.value.field == "points" and not (folder / "points.json").exists()


def test_a_picture_without_a_file_has_no_points():
    sent = Sent()
    sent.add("x", np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(Refusal, match="belong to pictures of a folder"):
        Points().click(sent.frame(0), 1, 1, "floor")


def test_a_file_that_cannot_be_written_is_told(at_work, tmp_path):
    desk, _ = at_work
    desk.points.file = tmp_path / "missing" / "points.json"
    with pytest.raises(Refusal, match="cannot be kept in"):
        click(desk, 1, 1, "floor")


def test_a_file_comes_back_as_it_was_written(tmp_path):
    points = {"a b/1.jpg": [(1, 2, 'the "red" ball'), (3, 4, "plâtre")], "2.jpg": [(0, 0, "x")],
              "none.jpg": []}
    write_points(tmp_path / "p.json", points, ["x", "plâtre|wall", 'the "red" ball'])
    found = read_points(tmp_path / "p.json")
    assert {name: list(entries) for name, entries in found.points.items()} == {
        name: entries for name, entries in points.items() if entries}
    assert found.classes == ("x", "plâtre|wall", 'the "red" ball')
    assert json.loads(as_json({})) == {"images": {}}


def test_points_are_judged_by_class_synonym_and_place():
    labels = np.array([[0, 1], [255, 1]], np.uint8)
    classes = validate_classes(["floor|Ground", "wall"])
    points = [(0, 0, "floor"), (0, 0, "ground"), (1, 0, "floor"), (0, 1, "wall"), (5, 0, "wall"),
              (1, 1, "sky"), (1, 1, "WALL")]
    verdicts = judge(labels, classes, points)
    assert verdicts == [True, True, False, False, False, False, True]
    score = Score()
    score.add(points, verdicts)
    assert str(score) == "3 of 7 points right (42.9 %)" and score.by_word["floor"] == [1, 2]


def test_points_of_images_that_were_not_segmented_are_told(tmp_path, capsys):
    write_rooms(tmp_path / "rooms", (2,))
    write_points(tmp_path / "points.json", {"rooms/room_02.png": [(160, 230, "floor")],
                                            "rooms/gone.png": [(1, 1, "floor")]})
    assert segment([str(tmp_path / "rooms"), "--output", str(tmp_path / "out"), "--vocabulary",
                    "floor", "wall", "--points-file", str(tmp_path / "points.json")]) == 0
    told = capsys.readouterr()
    assert "1 of 1 points right (100.0 %)" in told.out
    assert "1 point of images that were not segmented count nowhere" in told.err


def test_points_are_set_by_click_and_by_keyboard_on_the_page(at_work):
    desk, _ = at_work
    with serving(desk) as served, browsing() as browser, page_of(browser, served.url) as page:
        until(page, "document.body.dataset.serial")
        page.keyboard.press("o")
        page.get_by_role("tab", name="Points").click()
        page.locator("#point-word").select_option("floor")
        box = page.locator("#stage canvas").bounding_box()
        page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.95 * box["height"])
        until(page, "document.getElementById('points-here').textContent === "
                    "'1 of 1 right in this picture'")
        page.locator("#point-word").select_option("wall")
        page.locator("#stage").focus()
        for _ in range(4):  # far enough not to take the first away
            page.keyboard.press("ArrowLeft")
        page.keyboard.press("Enter")
        until(page, "document.getElementById('points-here').textContent === "
                    "'1 of 2 right in this picture'")
        page.locator("#count-all").click()
        until(page, "document.getElementById('points-all').textContent.startsWith("
                    "'1 of 2 right in all pictures (50.0 %)')")
        page.get_by_role("tab", name="Legend").click()
        page.mouse.click(box["x"] + 0.3 * box["width"], box["y"] + 0.2 * box["height"])
        page.wait_for_selector("#under ol li")
        assert len(desk.state["points"]) == 2  # a click elsewhere sets none


def test_a_count_that_is_asked_for_at_the_very_end_of_another_is_done(segmentor, tmp_path):
    bench = Workbench(segmentor, open_sources([write_rooms(tmp_path / "rooms")]))
    ends = []

    def again(score, done):
        if done:
            ends.append(score)
            if len(ends) < 3:
                bench.count(Choices(WORDS), {}, lambda path, name: name, again)

    bench.start()
    bench.count(Choices(WORDS), {}, lambda path, name: name, again)
    wait_until(lambda: len(ends) == 3)
    bench.close()
