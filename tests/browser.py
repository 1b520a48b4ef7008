"""Chromium without a screen, driven through its DevTools protocol: keys are pressed as a person presses them.

The protocol: https://chromedevtools.github.io/devtools-protocol/. Under --remote-debugging-pipe the browser reads
commands from descriptor 3 and writes answers and events to 4, each a JSON text that a NUL ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
#: Seconds for an answer: bounds a browser that hangs, on a machine that may be slow.
_ANSWER = 60
_FREE_FROM = 10
#: By name: the virtual key code, and the text that the key enters.
_KEYS = {"Tab": (9, ""), "Enter": (13, "\r")}


#: Below so many CSS pixels the browser lays a page out as a telephone does.
_PHONE = 600
#: Events by which the browser tells what stands on its console.
_CONSOLE = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")


class Browser:
    """One page in a browser of its own; a context manager, behind which it is gone.

    Args:
        profile: a folder for it to write into.
        width: of the screen, in CSS pixels; a window of so many has no bound from below as a real one has.
        scheme: which colours its user prefers, "light" or "dark".

    Attributes:
        console: what was said on its console so far, by the page or by the browser about it.
    """

    def __init__(self, page: Path, profile: Path, width: int = 1280, scheme: str = "light") -> None:
        assert CHROMIUM is not None
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        arguments = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        arguments += [f"--user-data-dir={profile}", f"--window-size={width},900", "about:blank"]
        # The shell puts the two pipes where the browser looks for them; neither is in the other's place already.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, _FREE_FROM) for end in (commands, answers)]
        try:
            self._process = subprocess.Popen(
                ["/bin/bash", "-c", f'exec "$@" 3<&{ends[0]} 4>&{ends[1]}', "browser", *arguments],
                pass_fds=ends,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        finally:
            for end in (commands, answers, *ends):
                os.close(end)
        self._kept = b""
        self._last = 0
        self._session = ""
        self.console: list[dict[str, Any]] = []
        try:
            (target,) = (t for t in self._call("Target.getTargets")["targetInfos"] if t["type"] == "page")
            attached = self._call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
            self._session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Log"):
                self._call(f"{domain}.enable")
            phone = width < _PHONE
            self._call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=phone)
            self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            self._call("Page.navigate", url=page.as_uri())
            self._message(lambda m: m.get("method") == "Page.loadEventFired")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        for descriptor in (self._commands, self._answers):
            os.close(descriptor)
        self._process.kill()
        self._process.wait()

    def press(self, key: str) -> None:
        """Press and release a key, "Tab" or "Enter"."""
        code, text = _KEYS[key]
        what = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self._call("Input.dispatchKeyEvent", type="keyDown", text=text, **what)
        self._call("Input.dispatchKeyEvent", type="keyUp", **what)

    def evaluate(self, expression: str) -> Any:
        """What an expression of JavaScript comes to, in the page."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._last += 1
        number = self._last
        command = {"id": number, "method": method, "params": params}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        answer = self._message(lambda m: m.get("id") == number)
        assert "error" not in answer, (method, answer)
        return dict(answer["result"])

    def _message(self, wanted: Any) -> dict[str, Any]:
        """The next message that is wanted; those before it are dropped, but for what the console says."""
        end = time.monotonic() + _ANSWER
        while True:
            while b"\0" in self._kept:
                text, _, self._kept = self._kept.partition(b"\0")
                message = json.loads(text)
                if message.get("method") in _CONSOLE:
                    self.console.append(message["params"])
                if wanted(message):
                    return dict(message)
            ready, _, _ = select.select([self._answers], [], [], max(end - time.monotonic(), 0))
            assert ready, "the browser does not answer"
            piece = os.read(self._answers, 1 << 16)
            assert piece, "the browser has ended"
            self._kept += piece
