"""A real Chromium without a window, driven through its DevTools protocol. Shared by tests; has no tests of its own."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import pytest

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
DEADLINE_S = 30.0
_OPTIONS = (
    "--headless=new",
    "--remote-debugging-port=0",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
)
_KEYS = {
    "Enter": ("Enter", 13, "\r"),
    "Escape": ("Escape", 27, ""),
    "ArrowDown": ("ArrowDown", 40, ""),
    "ArrowUp": ("ArrowUp", 38, ""),
    "ArrowRight": ("ArrowRight", 39, ""),
    "Home": ("Home", 36, ""),
    "Tab": ("Tab", 9, ""),
    " ": ("Space", 32, " "),
}


_WATCH = """new Promise((resolve) => {
  const look = () => {
    let value;
    try { value = (SCRIPT); } catch { }
    value ? resolve(value) : requestAnimationFrame(look);
  };
  look();
})"""


class BrowserError(Exception):
    """The browser refused, or something did not come about in time."""


class Page:
    """One tab."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.errors: list[str] = []
        """What it said went wrong: exceptions, and errors in its console."""

    async def send(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol."""
        return await self._browser.send(method, self._session, **parameters)

    async def open(self, url: str) -> None:
        """Go to an address."""
        await self.send("Page.navigate", url=url)

    async def run(self, script: str) -> Any:
        """Return the value of an expression; a promise is waited for."""
        how = {"awaitPromise": True, "returnByValue": True, "allowUnsafeEvalBlockedByCSP": False}
        answer = await self.send("Runtime.evaluate", expression=script, **how)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{script}: {answer['exceptionDetails']['exception'].get('description')}")
        return answer["result"].get("value")

    async def until(self, script: str, deadline_s: float = DEADLINE_S) -> Any:
        """Wait until an expression is true; it is looked at each frame. Returns its value."""
        watch = _WATCH.replace("SCRIPT", script)
        try:
            async with asyncio.timeout(deadline_s):
                while True:
                    with suppress(BrowserError):  # it went to another address meanwhile
                        return await self.run(watch)
        except TimeoutError:
            raise BrowserError(
                f"not within {deadline_s} s: {script}; it shows: {await self.text('body')!r}; errors: {self.errors}"
            ) from None

    async def text(self, selector: str) -> str:
        """Return the text that is seen in an element."""
        return str(await self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    async def sees(self, text: str, selector: str = "body", deadline_s: float = DEADLINE_S) -> None:
        """Wait until an element shows a text."""
        await self.until(
            f"document.querySelector({json.dumps(selector)})?.innerText.includes({json.dumps(text)})", deadline_s
        )

    async def click(self, selector: str) -> None:
        """Click into the middle of an element, as soon as it is seen."""
        place = await self.until(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)}); if (!one || one.disabled) return; "
            "one.scrollIntoView({ block: 'nearest' }); const box = one.getBoundingClientRect(); "
            "return box.width && [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        at = {"x": place[0], "y": place[1], "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            await self.send("Input.dispatchMouseEvent", type=kind, **at)

    async def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            code, number, text = _KEYS.get(key, (f"Key{key.upper()}", ord(key.upper()[0]), key))
            said = {"key": key, "code": code, "windowsVirtualKeyCode": number}
            await self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **said)
            await self.send("Input.dispatchKeyEvent", type="keyUp", **said)

    async def type(self, text: str) -> None:
        """Type a text into what has the focus."""
        await self.send("Input.insertText", text=text)

    async def looks(self, *, dark: bool = False, width: int = 1280, height: int = 800) -> None:
        """Set how large it is, and whether its user likes it dark."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])

    async def picture(self, file: Path) -> None:
        """Write what is seen into a file."""
        shot = await self.send("Page.captureScreenshot", format="png")
        await asyncio.to_thread(file.write_bytes, base64.b64decode(shot["data"]))


class Browser:
    """A connection to a browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._pages: dict[str, Page] = {}

    async def listen(self) -> None:
        """Take what the browser says, until it is gone."""
        async for message in self._socket:
            said = json.loads(message.data)
            asked = self._asked.pop(said.get("id"), None)
            page = self._pages.get(said.get("sessionId"))
            if asked is not None and not asked.done():
                if "error" in said:
                    asked.set_exception(BrowserError(str(said["error"])))
                else:
                    asked.set_result(said["result"])
            elif page is not None and said.get("method") == "Runtime.exceptionThrown":
                page.errors.append(str(said["params"]["exceptionDetails"].get("exception", {}).get("description")))
            elif page is not None and said.get("method") == "Log.entryAdded":
                entry = said["params"]["entry"]
                if entry["level"] == "error":
                    page.errors.append(f"{entry['text']} {entry.get('url', '')}")

    async def send(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        """Call a method of the protocol."""
        number = next(self._numbers)
        asked = self._asked[number] = asyncio.get_running_loop().create_future()
        said = {"id": number, "method": method, "params": parameters}
        await self._socket.send_str(json.dumps({**said, "sessionId": session} if session else said))
        return await asyncio.wait_for(asked, 2 * DEADLINE_S)

    @asynccontextmanager
    async def page(self) -> AsyncIterator[Page]:
        """Give a tab that shares nothing with others."""
        context = (await self.send("Target.createBrowserContext"))["browserContextId"]
        target = (await self.send("Target.createTarget", url="about:blank", browserContextId=context))["targetId"]
        session = (await self.send("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log"):
            await page.send(f"{domain}.enable")
        await page.looks()
        try:
            yield page
        finally:
            await self.send("Target.disposeBrowserContext", browserContextId=context)


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """Run a browser."""
    if PROGRAM is None:
        raise BrowserError("there is no Chromium")
    with TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as folder:
        rootless = () if os.getuid() else ("--no-sandbox",)
        process = await asyncio.create_subprocess_exec(
            PROGRAM, *_OPTIONS, *rootless, f"--user-data-dir={folder}", "about:blank",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with (
                aiohttp.ClientSession() as http,
                http.ws_connect(await _address(process), max_msg_size=0) as socket,
            ):
                browser = Browser(socket)
                listening = asyncio.create_task(browser.listen())
                try:
                    yield browser
                finally:
                    with suppress(BrowserError, ConnectionError, TimeoutError):
                        await browser.send("Browser.close")
                    listening.cancel()
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _address(process: asyncio.subprocess.Process) -> str:
    """Return where it listens; it says so itself."""
    if process.stderr is None:
        raise BrowserError("the browser's words are not read")
    said = b""
    async with asyncio.timeout(2 * DEADLINE_S):
        async for line in process.stderr:
            said = line
            if b"DevTools listening on " in line:
                # What else it says is not needed, but must be taken.
                process.reading = asyncio.ensure_future(process.stderr.read())  # type: ignore[attr-defined]
                return line.decode().partition(" on ")[2].strip()
    pytest.skip(f"this Chromium does not start here: {said.decode(errors='replace').strip()[:200]}")
