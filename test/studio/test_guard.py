"""Who may use the page, and what it can reach: nobody else, and nothing else."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket

import pytest
from studio_harness import room, serving, wait_until, write_rooms
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.studio.choices.choices import Choices
from sclip_seg_ros.studio.desk import Desk
from sclip_seg_ros.studio.sources.sources import open_sources
from sclip_seg_ros.studio.web.guard import Guard
from sclip_seg_ros.studio.web.running import AddressError, address, listen
from sclip_seg_ros.studio.web.server import MOST_BYTES
from sclip_seg_ros.studio.workbench import Workbench

TOKEN = "a-token-of-this-test"


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    folder = write_rooms(tmp_path_factory.mktemp("rooms"))
    bench = Workbench(SCLIPSegmentor(), open_sources([folder]))
    yield Desk(bench, Choices(("floor", "wall")))
    bench.close()


@pytest.fixture(scope="module")
def open_to_all(desk):
    with serving(desk) as served:
        yield served


@pytest.fixture(scope="module")
def with_token(desk):
    with serving(desk, TOKEN) as served:
        yield served


def ask(served, path="/", method="GET", body=None, **headers):
    """Return status, headers and body of an answer; the path goes out as it stands."""
    client = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    client.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        client.putheader(name, value)
    if body is not None:
        client.putheader("Content-Length", str(len(body)))
    client.endheaders(body)
    answer = client.getresponse()
    return answer.status, dict(answer.headers), answer.read().decode("utf-8", "replace")


def refused_socket(url: str, **headers: str) -> int:
    with pytest.raises(InvalidStatus) as caught:
        origin = headers.pop("Origin", None)
        with connect(url, additional_headers=headers, origin=origin):
            pass
    return caught.value.response.status_code


def test_the_page_is_served_with_nothing_from_elsewhere(open_to_all):
    status, headers, body = ask(open_to_all)
    assert status == 200 and "sclip studio" in body
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "http://" not in body and "https://" not in body and "//" not in body.replace("</", "")


@pytest.mark.parametrize("path", [
    "/page/../server.py", "/page/%2e%2e/server.py", "/page/..%2fserver.py", "/page//etc/passwd",
    "/page/%2fetc%2fpasswd", "/page/....//....//etc/passwd", "/page/..\\server.py", "/etc/passwd",
    "/../../../../etc/passwd", "/page/page.css%00.py"])
def test_a_hostile_path_leads_nowhere(open_to_all, path):
    status, _, body = ask(open_to_all, path)
    assert status in (400, 403, 404)
    assert "root:" not in body and "import" not in body


def test_a_web_page_that_pretends_to_be_here_is_refused(open_to_all):
    port = open_to_all.port
    status, _, body = ask(open_to_all, Host=f"evil.example:{port}")
    assert status == 403 and "evil.example" in body
    assert ask(open_to_all, Host=f"localhost:{port}")[0] == 200
    for path, method in (("/", "GET"), ("/import", "POST"), ("/picture", "POST")):
        assert ask(open_to_all, path, method, b"a", Origin="http://evil.example")[0] == 403


def test_another_page_cannot_open_the_stream(open_to_all):
    url = f"ws://127.0.0.1:{open_to_all.port}/live"
    assert refused_socket(url, Origin="http://evil.example") == 403
    assert refused_socket(url) == 403
    with connect(url, origin=f"http://127.0.0.1:{open_to_all.port}") as stream:
        assert json.loads(stream.recv(10))["kind"] == "state"


def test_without_the_token_there_is_nothing(with_token):
    url = f"ws://127.0.0.1:{with_token.port}/live"
    origin = f"http://127.0.0.1:{with_token.port}"
    for path in ("/", "/?token=", "/?token=wrong", "/about.json", "/export.json?form=segment",
                 "/page/main.js"):
        status, _, body = ask(with_token, path)
        assert status == 403 and "token is missing or wrong" in body
    assert ask(with_token, Cookie=f"sclip_studio_{with_token.port}=wrong")[0] == 403
    assert refused_socket(url, Origin=origin) == 403


def test_the_token_is_told_once_and_then_kept_in_a_cookie(with_token):
    status, headers, _ = ask(with_token, f"/?token={TOKEN}")
    assert status == 303 and headers["location"] == "/"
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie
    ours = cookie.partition(";")[0]
    assert ours == f"sclip_studio_{with_token.port}={TOKEN}"
    assert ask(with_token, Cookie=ours)[0] == 200
    others = 'state={"a": 1}; words=two words; lonely; sclip_studio_1=of another studio'
    assert ask(with_token, Cookie=f"{others}; {ours}")[0] == 200
    assert ask(with_token, Cookie=others)[0] == 403


def test_a_host_is_known_as_browsers_write_it(open_to_all):
    passed = []

    async def page(scope, receive, send):
        passed.append(scope)

    asyncio.run(Guard(page, "Robot", "")({"type": "http", "query_string": b"", "headers": [
        (b"host", b"robot:8460")]}, None, None))
    assert passed
    assert ask(open_to_all, Host="[::1")[0] == 403


def test_an_upload_has_limits_and_is_decoded_like_any_picture(open_to_all, desk):
    status, _, body = ask(open_to_all, "/picture?name=x.png", "POST", b"<script>")
    assert status == 422 and "'x.png' is not a picture" in body
    status, _, body = ask(open_to_all, "/picture", "POST", b"\0" * (MOST_BYTES + 1))
    assert status == 413 and "32.0 MB" in body
    # 20000 x 20000 pixels, in a few bytes: its size is read before it is unpacked.
    bomb = b"P5 20000 20000 255\n"
    status, _, body = ask(open_to_all, "/picture?name=bomb", "POST", bomb)
    assert status == 422 and "bomb" in body
    import cv2
    data = cv2.imencode(".png", room(9)[..., ::-1])[1].tobytes()
    assert ask(open_to_all, "/picture?name=room.png", "POST", data)[0] == 200
    assert desk.bench.sources[-1].name_of(0) == "room.png"
    desk.do({"do": "go", "source": 0, "index": 0})


@pytest.mark.parametrize("command", [
    {"do": "go", "source": 0, "index": 99}, {"do": "go", "source": -1, "index": 0},
    {"do": "go", "source": "../../etc", "index": 0}, {"do": "__class__"}, {"do": ["add"]},
    {"do": "add"}, {"do": "set", "values": {"loftup.source": "/etc/passwd"}},
    {"do": "set", "values": [1]}, {"do": "colour", "name": "floor", "colour": "url(x)"}])
def test_a_hostile_command_is_refused_and_changes_nothing(open_to_all, desk, command):
    before = desk.choices
    origin = f"http://127.0.0.1:{open_to_all.port}"
    with connect(f"ws://127.0.0.1:{open_to_all.port}/live", origin=origin) as stream:
        stream.send(json.dumps({**command, "id": 1}))
        replies = []
        wait_until(lambda: (replies.append(stream.recv(30)) or
                            (isinstance(replies[-1], str) and '"reply"' in replies[-1])))
        assert json.loads(replies[-1])["message"]
        for text in ("{", "[]", "1", "[" * 100_000):
            stream.send(text)
            wait_until(lambda: '"reply"' in str(stream.recv(30)))
    assert desk.choices == before


def test_links_that_lead_out_of_a_folder_are_not_followed(tmp_path):
    outside = write_rooms(tmp_path / "outside")
    inside = write_rooms(tmp_path / "inside", (9,))
    (inside / "link.png").symlink_to(outside / "room_02.png")
    (inside / "folder").symlink_to(outside)
    source, = open_sources([inside])
    assert (source.count, source.name_of(0)) == (1, "room_09.png")


def test_an_address_that_is_taken_is_told():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AddressError, match=f"port {port} .*give another --port"):
            listen("127.0.0.1", port)
    with pytest.raises(AddressError, match="203.0.113.7"):
        listen("203.0.113.7", 0)
    assert address("::1", 80, "") == "http://[::1]:80/"
    assert address("192.168.0.2", 80, "x").endswith("?token=x")


def test_what_breaks_the_serving_of_a_page_is_told_on_the_terminal(open_to_all, monkeypatch,
                                                                   caplog):
    """A page that was closed is no error; whatever else ends it is one."""
    def broken(_):
        raise RuntimeError("nothing to say")

    monkeypatch.setattr(Desk, "state", property(broken))
    origin = f"http://127.0.0.1:{open_to_all.port}"
    with connect(f"ws://127.0.0.1:{open_to_all.port}/live", origin=origin) as page, \
            pytest.raises(ConnectionClosed):
        page.recv(timeout=30)
    wait_until(lambda: "nothing to say" in caplog.text)


def test_pages_that_are_closed_leave_no_error(open_to_all, caplog):
    origin = f"http://127.0.0.1:{open_to_all.port}"
    for _ in range(20):
        with connect(f"ws://127.0.0.1:{open_to_all.port}/live", origin=origin) as page:
            page.send('{"do": "under", "id": 1}')
            page.socket.close()
    with connect(f"ws://127.0.0.1:{open_to_all.port}/live", origin=origin) as page:
        page.recv(timeout=30)  # the server is past the others
    assert not caplog.records
