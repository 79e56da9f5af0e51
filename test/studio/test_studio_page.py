"""The page in a real browser: what a person does, and what a person sees."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
from studio_harness import (
    browsing,
    page_of,
    room,
    serving,
    until,
    wait_until,
    write_rooms,
)

from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.studio.choices.choices import Choices
from sclip_seg_ros.studio.desk import Desk
from sclip_seg_ros.studio.sources.sources import open_sources
from sclip_seg_ros.studio.workbench import Workbench

WORDS = ("floor", "wall", "table")


@pytest.fixture(scope="module")
def browser():
    with browsing() as found:
        yield found


@pytest.fixture(scope="module")
def segmentor():
    return SCLIPSegmentor()


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    return write_rooms(tmp_path_factory.mktemp("rooms"))


@pytest.fixture
def served(segmentor, rooms):
    """Serve with one prompt a word, since some tests bring hundreds of words."""
    bench = Workbench(segmentor, open_sources([rooms]), {"templates": ("a photo of a {}.",)})
    desk = Desk(bench, Choices(WORDS))
    with serving(desk) as found:
        bench.start()
        desk.begin()
        yield found
    bench.close()


@pytest.fixture
def page(browser, served):
    with page_of(browser, served.url) as found:
        until(found, "document.body.dataset.serial")
        yield found


def legend(page) -> dict[str, str]:
    """Return the coverage of every class that the legend shows."""
    page.get_by_role("tab", name="Legend").click()
    return {row.get_attribute("data-name"): row.locator(".share span").inner_text()
            for row in page.locator("table.legend tbody tr[data-name]").all()}


def painted(page) -> np.ndarray:
    """Return the pixels of the overlay as they are painted."""
    page.keyboard.press("o")
    page.keyboard.press("2")
    data = page.evaluate("""() => {
        const canvas = document.querySelector("#stage canvas");
        const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return [canvas.height, canvas.width, Array.from(data)]; }""")
    return np.array(data[2], np.uint8).reshape(data[0], data[1], 4)[..., :3]


def chips(page) -> list[str]:
    return [chip.get_attribute("data-name") for chip in page.locator("#chips .chip").all()]


def add(page, text: str) -> None:
    page.locator("#add").focus()
    page.keyboard.type(text)
    page.keyboard.press("Enter")


def test_an_added_word_is_in_the_legend_and_in_the_overlay(page, served):
    before = painted(page)
    runs = served.desk.bench.sight.runs
    add(page, "bowl")
    page.wait_for_selector("table.legend tr[data-name=bowl]")
    until(page, "document.querySelector('#add').value === ''")
    assert chips(page) == [*WORDS, "bowl"]
    labels = served.desk.shown.labelled.labels
    found = labels == 3
    assert found.mean() > 0.01 and legend(page)["bowl"] != "0 %"
    page.keyboard.press("Escape")
    page.locator("#stage").focus()
    changed = np.abs(painted(page).astype(int) - before).sum(2) > 30
    assert changed[found].mean() > 0.8 > 0.3 > changed[~found].mean()
    assert served.desk.bench.sight.runs == runs


def test_suggestions_come_from_the_shipped_vocabularies_and_by_keyboard(page):
    page.keyboard.press("/")
    page.keyboard.type("traffic li")
    page.wait_for_selector("#suggestions li")
    page.keyboard.press("ArrowDown")
    assert page.locator("#add").get_attribute("aria-activedescendant") == "suggestion-0"
    page.keyboard.press("Enter")
    page.wait_for_selector("#chips [data-name='traffic light']")
    assert page.locator("#chips [data-name='traffic light'] .tag.warn").count() == 1


def test_words_are_edited_moved_made_background_and_removed_by_keyboard(page, served):
    page.locator("#chips [data-name=table] .name").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    page.keyboard.type("|desk")
    page.keyboard.press("Enter")
    wait_until(lambda: served.desk.choices.classes[2] == "table|desk")
    page.locator("#chips [data-name=table] .name").focus()
    page.keyboard.press("Alt+ArrowUp")
    wait_until(lambda: served.desk.choices.names == ["floor", "table", "wall"])
    until(page, "document.activeElement.closest('[data-name=table]')")
    page.keyboard.press("b")
    wait_until(lambda: served.desk.choices.background == "table")
    page.wait_for_selector("#chips [data-name=table] .tag")
    page.locator("#chips [data-name=table] .name").focus()
    page.keyboard.press("Delete")
    wait_until(lambda: served.desk.choices.names == ["floor", "wall"])
    for _ in range(4):
        page.keyboard.press("Control+z")
    wait_until(lambda: served.desk.choices.classes == WORDS)
    page.keyboard.press("Control+Shift+z")
    wait_until(lambda: served.desk.choices.classes[2] == "table|desk")


def test_the_words_under_the_pointer(page, served):
    page.keyboard.press("o")
    box = page.locator("#stage canvas").bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.95 * box["height"])
    page.wait_for_selector("#under ol li")
    found = page.locator("#under .where").inner_text()
    x, y = map(int, re.search(r"\((\d+), (\d+)\)", found).groups())
    expected = served.desk.shown.labelled.under(x, y)
    assert page.locator("#under .where b").inner_text() == expected["label"] == "floor"
    assert page.locator("#under li span").all_inner_texts() == [word["name"] for word in
                                                                expected["words"]]
    # The picture keeps its proportions: its middle is the canvas's, its rims are not.
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    until(page, "document.querySelector('#under .where').innerText.includes('(160, 120)')")
    shown = min(box["width"] / 320, box["height"] / 240)
    page.mouse.move(box["x"] + box["width"] / 2 + 100.5 * shown,
                    box["y"] + box["height"] / 2 - 99.5 * shown)
    until(page, "document.querySelector('#under .where').innerText.includes('(260, 20)')")
    page.locator("#stage").focus()
    page.keyboard.press("ArrowUp")
    until(page, "!document.querySelector('#under .where').innerText.includes('20)')")


def test_a_threshold_answers_from_kept_features(page, served):
    runs = served.desk.bench.sight.runs
    page.get_by_role("tab", name="Settings").click()
    field = page.locator("[id='set-probability_threshold']")
    field.fill("0.9")
    field.press("Enter")
    wait_until(lambda: served.desk.shown.labelled.labels.max() == 255)
    assert (served.desk.shown.labelled.labels == 255).mean() > 0.02
    page.get_by_role("tab", name="Legend").click()
    page.wait_for_selector("table.legend tr.none")
    assert served.desk.bench.sight.runs == runs
    assert "kept" in page.locator(".times h3").inner_text()


def test_a_slider_is_one_step_back_however_far_it_was_dragged(page, served):
    page.get_by_role("tab", name="Settings").click()
    slider = page.locator("[data-name='probability_threshold'] input[type=range]")
    slider.focus()
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    wait_until(lambda: served.desk.choices.settings.probability_threshold == 0.03)
    until(page, "document.querySelector('#undo').disabled === false")
    page.keyboard.press("Control+z")
    wait_until(lambda: served.desk.choices.settings.probability_threshold == 0.0)


def test_a_refusal_stands_at_its_field_and_changes_nothing(page, served):
    page.get_by_role("tab", name="Settings").click()
    field = page.locator("[id='set-area_threshold']")
    field.fill("7")
    field.press("Enter")
    until(page, "document.getElementById('set-area_threshold-error').textContent.includes('got 7')")
    assert served.desk.choices.settings.area_threshold == 0
    until(page, "document.getElementById('set-area_threshold').value === '0'")
    add(page, "FLOOR")
    until(page, "document.getElementById('words-error').textContent.includes('twice')")
    assert page.locator("#add").input_value() == "FLOOR" and chips(page) == list(WORDS)


def test_the_heat_map_of_one_word(page, served):
    page.locator("#chips [data-name=floor] .name").focus()
    page.keyboard.press("h")
    until(page, "document.querySelector('figcaption').innerText.includes('floor')")
    page.locator("#stage").focus()
    page.keyboard.press("o")
    until(page, "document.querySelector('figure').dataset.layers === 'heat'")
    page.wait_for_timeout(200)
    data = page.evaluate("""() => {
        const canvas = document.querySelector("#stage canvas");
        const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return [canvas.height, canvas.width, Array.from(data)]; }""")
    heat = np.array(data[2], float).reshape(data[0], data[1], 4)
    yellow = heat[..., 0] - heat[..., 2]  # the scale's upper end
    floor = served.desk.shown.labelled.labels == 0
    assert yellow[floor].mean() > 60 > 0 > yellow[~floor].mean()


@pytest.mark.parametrize("word", ["<script>hacked=1</script>", "<img src=x onerror=hacked=1>",
                                  "<b>bold</b>", "&ltjavascript:hacked=1"])
def test_a_word_is_text_and_never_code(page, served, word):
    add(page, word)
    wait_until(lambda: served.desk.choices.classes[-1] == word)
    page.wait_for_selector("table.legend tr:nth-child(4)")
    assert page.locator("#chips li").last.locator(".name").inner_text().startswith(word)
    assert page.evaluate("window.hacked") is None
    assert page.locator("main script, main img, main li b").count() == 0


def test_what_is_exported_can_be_imported(page, served):
    page.get_by_role("tab", name="Keep").click()
    until(page, "document.querySelector('.keep textarea').value.includes('ros__parameters')")
    exported = page.locator(".keep textarea").first.input_value()
    assert "classes: [floor, wall, table]" in exported
    page.locator("#import-text").fill(exported.replace("table", "'table|desk', cup"))
    page.locator("#import-go").click()
    wait_until(lambda: served.desk.choices.classes == ("floor", "wall", "table|desk", "cup"))
    page.locator("#export-form").select_option("segment")
    until(page, "document.querySelector('.keep textarea').value"
                           ".includes(\"sclip-segment PICTURES --vocabulary floor wall\")")
    page.locator("#import-text").fill("a\nA")
    page.locator("#import-go").click()
    until(page, "document.querySelector('#import-error').textContent.includes('twice')")
    assert len(served.desk.choices.classes) == 4


def test_two_browsers_see_the_same(browser, page, served):
    with page_of(browser, served.url) as other:
        add(page, "lamp")
        other.wait_for_selector("#chips [data-name=lamp]")
        other.wait_for_selector("table.legend tr[data-name=lamp]")
        other.keyboard.press("ArrowRight")
        until(page, "document.querySelector('.frame').innerText.includes('2 of 2')")
        other.keyboard.press("Control+z")
        until(page, "!document.querySelector('#chips [data-name=lamp]')")


def test_two_settings_are_compared(page, served):
    page.keyboard.press("p")
    add(page, "bowl")
    page.wait_for_selector("#compared:not([hidden])")
    until(page, "!document.querySelector('#compared b').innerText.startsWith('0 %')")
    shown = served.desk.shown
    assert shown.differ == pytest.approx((shown.labelled.labels != shown.pinned.labels).mean())
    assert page.locator("figcaption").inner_text() == "Pinned  |  Overlay"
    page.locator("#stage").focus()
    page.keyboard.press("x")
    wait_until(lambda: served.desk.choices.classes == WORDS)
    page.keyboard.press("p")
    until(page, "document.querySelector('#compared').hidden")


def test_five_hundred_words(page, served):
    """As synonyms of 250 classes; and more classes than a label image holds are refused."""
    words = [f"red ball {index}|blue box {index}" for index in range(250)]
    served.desk.choose(Choices(tuple(words)))
    until(page, "document.querySelectorAll('#chips li').length === 250")
    until(page, "document.querySelectorAll('table.legend tr[data-name]').length === 250")
    page.evaluate("document.querySelector('#add').focus()")
    page.locator("#add").fill(", ".join(f"word {index}" for index in range(10)))
    page.keyboard.press("Enter")
    until(page, "document.getElementById('words-error').textContent"
                ".includes('260 classes do not fit')")


def test_an_empty_studio_says_what_to_do_and_takes_a_picture(browser, segmentor, tmp_path):
    cv2.imwrite(str(tmp_path / "mine.png"), room(5)[..., ::-1])
    bench = Workbench(segmentor, [])
    desk = Desk(bench, Choices(WORDS))
    with serving(desk) as served, page_of(browser, served.url) as page:
        bench.start()
        desk.begin()
        page.wait_for_selector("#empty:not([hidden])")
        assert "sclip studio PICTURES" in page.locator("#empty").inner_text()
        page.locator("#pick").set_input_files(str(tmp_path / "mine.png"))
        until(page, "document.body.dataset.serial")
        assert np.array_equal(desk.shown.labelled.frame.image, room(5))
    bench.close()


def test_a_picture_that_cannot_be_read_is_told_where_it_would_be(browser, segmentor, tmp_path):
    write_rooms(tmp_path, (2,))
    (tmp_path / "a_broken.png").write_bytes(b"no picture")
    bench = Workbench(segmentor, open_sources([tmp_path]))
    desk = Desk(bench, Choices(WORDS))
    with serving(desk) as served, page_of(browser, served.url) as page:
        bench.start()
        desk.begin()
        until(page, "document.getElementById('picture-error').textContent.includes('a_broken.png')")
        page.keyboard.press("ArrowRight")
        until(page, "document.body.dataset.serial")
        until(page, "document.getElementById('picture-error').textContent === ''")
    bench.close()


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1024, 768), (768, 1024)])
def test_it_fits_a_small_screen_and_a_tablet(browser, served, width, height):
    with page_of(browser, served.url, width, height) as page:
        until(page, "document.body.dataset.serial")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for theme in ("dark", "light"):
            page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
            box = page.locator("#stage canvas").bounding_box()
            assert box["width"] > 300 and box["x"] >= 0 and box["x"] + box["width"] <= width
            ratio = page.evaluate(CONTRAST)
            assert ratio >= 4.5, f"text on {theme} has a contrast of {ratio:.1f}"


# The least contrast of the page's texts with what is behind them (WCAG 2, 1.4.3).
CONTRAST = """() => {
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const light = rgb => rgb.slice(0, 3).map(v => v / 255).map(v =>
    v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const found = parse(getComputedStyle(node).backgroundColor);
      if (found.length < 4 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  let least = 21;
  for (const node of document.querySelectorAll("main *, header *")) {
    const own = [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim());
    if (!own || !node.checkVisibility()) continue;
    if (node.closest("figcaption, :disabled, kbd, select")) continue;
    const text = light(parse(getComputedStyle(node).color)), back = light(behind(node));
    least = Math.min(least, (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05));
  }
  return least;
}"""
