"""The page's server: files of the package, one stream to each browser, commands from it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from sclip_seg_ros.common.text import first_line
from sclip_seg_ros.io.encodings import ImageError, decompress
from sclip_seg_ros.io.profiles import shipped_words
from sclip_seg_ros.studio.choices import imports
from sclip_seg_ros.studio.choices.choices import Refusal
from sclip_seg_ros.studio.choices.export import FORMS, Origin, export
from sclip_seg_ros.studio.desk import Desk, described_settings
from sclip_seg_ros.studio.web.wire import Parcel
from sclip_seg_ros.studio.workbench import Shown

PAGE = Path(__file__).resolve().parent / "page"  # colcon may link each file by itself
MOST_BYTES = 32_000_000    # of a picture that a browser sends
MOST_PIXELS = 64_000_000   # of the same, unpacked
MOST_COMMAND = 1_000_000   # bytes of a command

_log = logging.getLogger(__name__)


class Server:
    """Serve one desk to any number of browsers.

    A browser says when it has drawn what it was sent, and then gets the newest there is: a slow one
    misses frames, and holds nobody up.
    """

    def __init__(self, desk: Desk, origin: Origin) -> None:
        """Take a desk; ``origin`` is what exported lines name."""
        self._desk = desk
        self._origin = origin
        self._parcel: Parcel | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._browsers: set[Browser] = set()
        self._serial = 0
        desk.on_change, desk.on_shown = self._wake, self._took
        if desk.shown is not None:
            self._took(desk.shown)
        self.app = Starlette(routes=[
            Route("/", self._index), Route("/about.json", self._about),
            Route("/export.json", self._export), Route("/points.json", self._points),
            Route("/import", self._import, methods=["POST"]),
            Route("/picture", self._picture, methods=["POST"]),
            WebSocketRoute("/live", self._live),
            Mount("/page", StaticFiles(directory=PAGE))])

    def _took(self, shown: Shown) -> None:
        self._serial += 1
        self._parcel = Parcel(shown, self._serial)
        self._wake()

    def _wake(self) -> None:
        """Tell every browser's task that there is something new; from any thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._tell_browsers)

    def _tell_browsers(self) -> None:
        for browser in self._browsers:
            browser.news.set()

    async def _index(self, request: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    async def _about(self, request: Request) -> Response:
        return JSONResponse({"settings": described_settings(), "forms": list(FORMS),
                             "suggestions": await run_in_threadpool(shipped_words)})

    async def _points(self, request: Request) -> Response:
        text = self._desk.points.text(self._desk.choices.classes)
        return Response(text, media_type="application/json", headers={
            "content-disposition": 'attachment; filename="points.json"'})

    async def _export(self, request: Request) -> Response:
        form = request.query_params.get("form", "")
        try:
            made = export(form, self._desk.choices, self._origin)
        except ValueError as error:
            return JSONResponse({"field": "export", "message": str(error)}, 422)
        return JSONResponse({"text": made.text, "file": made.file, "notes": list(made.notes)})

    async def _import(self, request: Request) -> Response:
        return await self._upload(request, 4 * imports.LONGEST, "import", self._take_text)

    async def _picture(self, request: Request) -> Response:
        name = request.query_params.get("name", "")[:100] or "picture"
        return await self._upload(request, MOST_BYTES, "sources",
                                  lambda data: self._take_picture(name, data))

    async def _upload(self, request: Request, most: int, field: str,
                      take: Callable[[bytes], dict[str, Any]]) -> Response:
        """Read a body of limited size, and hand it on in another thread."""
        data = bytearray()
        async for chunk in request.stream():
            data += chunk
            if len(data) > most:
                return JSONResponse({"field": field, "message": "it is larger than the "
                                     f"{most / 1e6:.1f} MB that are taken"}, 413)
        try:
            return JSONResponse(await run_in_threadpool(take, bytes(data)))
        except Refusal as error:
            return JSONResponse({"field": error.field, "message": str(error)}, 422)

    def _take_text(self, data: bytes) -> dict[str, Any]:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise Refusal("import", "the file is not UTF-8 text; save it as UTF-8") from error
        found = imports.read(text, self._desk.choices)
        try:
            self._desk.choose(found.choices)
        except Refusal as error:
            raise Refusal("import", error) from error
        return {"notes": list(found.notes)}

    def _take_picture(self, name: str, data: bytes) -> dict[str, Any]:
        try:
            with Image.open(BytesIO(data)) as picture:
                width, height = picture.size
        except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
            raise Refusal("sources", f"'{name}' is not a picture that can be read; send a JPEG or "
                                     "PNG") from error
        if width * height > MOST_PIXELS:
            raise Refusal("sources", f"'{name}' has {width}x{height} pixels; at most "
                                     f"{MOST_PIXELS / 1e6:.0f} million are taken")
        try:
            self._desk.send(name, decompress(data, upright=True))
        except ImageError as error:
            raise Refusal("sources", f"'{name}' cannot be read ({error})") from error
        return {}

    async def _live(self, socket: WebSocket) -> None:
        self._loop = asyncio.get_running_loop()
        await socket.accept()
        browser = Browser(socket, self._desk, lambda: self._parcel)
        self._browsers.add(browser)
        self._desk.watch(len(self._browsers))
        try:
            await browser.serve()
        finally:
            self._browsers.discard(browser)
            self._desk.watch(len(self._browsers))


class Browser:
    """One open page.

    Attributes:
        news: set when there may be something to send.
    """

    def __init__(self, socket: WebSocket, desk: Desk,
                 newest: Callable[[], Parcel | None]) -> None:
        """Serve one socket."""
        self.news = asyncio.Event()
        self._socket = socket
        self._desk = desk
        self._newest = newest
        self._ready = True
        self._sent = (0, "")  # serial and heat map of the last frame
        self._heat = ""
        self._camera: tuple[Any, ...] = ()  # frame whose picture it has
        self._commands: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._sending = asyncio.Lock()

    async def serve(self) -> None:
        """Send and receive until the page is closed."""
        self.news.set()
        tasks = [asyncio.create_task(work) for work in
                 (self._send_news(), self._receive(), self._obey())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            errors = [error for task in done if (error := task.exception()) is not None]
            if errors and not any(isinstance(error, WebSocketDisconnect) for error in errors):
                raise errors[0]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send_news(self) -> None:
        """Send state and frames, the newest of each, as the browser is ready for them."""
        state: dict[str, Any] | None = None
        while True:
            await self.news.wait()
            self.news.clear()
            if self._desk.state is not state:
                state = self._desk.state
                await self._say(state)
            parcel = self._newest()
            if parcel is not None and self._ready and (parcel.serial, self._heat) != self._sent:
                self._ready, self._sent = False, (parcel.serial, self._heat)
                key = parcel.shown.labelled.frame.key
                message = await run_in_threadpool(parcel.message, key != self._camera, self._heat)
                self._camera = key
                await self._send(self._socket.send_bytes, message)

    async def _receive(self) -> None:
        while True:
            text = await self._socket.receive_text()
            try:
                given = json.loads(text) if len(text) <= MOST_COMMAND else None
            except (ValueError, RecursionError):
                given = None
            if not isinstance(given, dict):
                await self._say({"kind": "reply", "id": None, "field": "page",
                                 "message": "the page sent what is not a command; load it again"})
                continue
            if given.get("do") == "ready":
                self._ready = True
                self.news.set()
            elif given.get("do") == "heat":
                self._heat = str(given.get("name") or "")
                self.news.set()
            elif given.get("do") == "under":
                await self._under(given)
            else:
                self._commands.put_nowait(given)

    async def _obey(self) -> None:
        """Carry out commands one after another; a slow one does not hold frames up."""
        while True:
            given = await self._commands.get()
            reply: dict[str, Any] = {"kind": "reply", "id": given.get("id")}
            try:
                await run_in_threadpool(self._desk.do, given)
            except Refusal as error:
                reply |= {"field": error.field, "message": str(error)}
            except Exception as error:  # told on the page, in full on the terminal
                _log.exception("a command failed")
                reply |= {"field": "page", "message": f"that did not work ({first_line(error)}); "
                                                      "the terminal has the details"}
            await self._say(reply)

    async def _under(self, given: dict[str, Any]) -> None:
        """Describe the pixel under the pointer."""
        shown = self._desk.shown
        reply: dict[str, Any] = {"kind": "under", "id": given.get("id")}
        x, y = given.get("x"), given.get("y")
        if shown is not None and type(x) is int and type(y) is int:
            try:
                reply |= await run_in_threadpool(shown.labelled.under, x, y)
            except ValueError as error:
                reply["message"] = str(error)
        await self._say(reply)

    async def _say(self, content: dict[str, Any]) -> None:
        await self._send(self._socket.send_text, json.dumps(content))

    async def _send(self, send: Callable[[Any], Awaitable[None]], message: str | bytes) -> None:
        """Send one message at a time.

        Raises:
            WebSocketDisconnect: the page is closed.
        """
        async with self._sending:
            try:
                await send(message)
            except RuntimeError as error:  # closed, which the other task has yet to hear of
                raise WebSocketDisconnect(1006) from error
