"""A Chromium without a screen, driven by its DevTools protocol over a pair of pipes: nothing but Python is needed."""
import base64
import json
import os
import select
import shutil
import signal
import subprocess
import time


def find():
    """The program, or None."""
    names = [os.environ.get("QUERN_CHROMIUM"), "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]
    return next((p for n in names if n and (p := shutil.which(n))), None)


# The events that somebody asks for later.
KEPT = ("Runtime.exceptionThrown", "Log.entryAdded", "Network.requestWillBeSent")


class BrowserError(Exception):
    pass


class Browser:
    """One page in a browser with a profile of its own."""

    def __init__(self, directory):
        to_us, from_them = os.pipe()
        to_them, from_us = os.pipe()
        self.in_fd, self.out_fd = to_us, from_us
        self.errors = open(directory / "chromium.log", "wb")
        arguments = ["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                     "--disable-extensions", "--disable-background-networking", "--disable-component-update", "--mute-audio", "--hide-scrollbars",
                     "--disable-features=Translate,MediaRouter,OptimizationHints", f"--user-data-dir={directory / 'profile'}"]

        def descriptors():  # 3 is read, 4 is written
            os.setpgid(0, 0)
            read, write = os.dup(to_them), os.dup(from_them)
            os.dup2(read, 3)
            os.dup2(write, 4)
        self.process = subprocess.Popen([find(), *arguments], preexec_fn=descriptors, close_fds=False, stdin=subprocess.DEVNULL,
                                        stdout=self.errors, stderr=self.errors, env={**os.environ, "HOME": str(directory)})
        os.close(from_them)
        os.close(to_them)
        self.rest, self.last_id, self.session = b"", 0, None
        self.events, self.dead = [], None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    # ---- the protocol

    def _read(self, seconds):
        while b"\0" not in self.rest:
            if not select.select([self.in_fd], [], [], seconds)[0]:
                return None
            data = os.read(self.in_fd, 1 << 20)
            if not data:
                raise BrowserError("the browser has ended")
            self.rest += data
        message, _, self.rest = self.rest.partition(b"\0")
        message = json.loads(message)
        if message.get("method") == "Page.javascriptDialogOpening":  # "leave the page?"
            self._post("Page.handleJavaScriptDialog", {"accept": True})
        return message

    def send(self, method, **params):
        if self.dead:
            raise BrowserError(f"the browser does not answer since {self.dead}")
        self._post(method, params)
        wanted, end = self.last_id, time.monotonic() + 90
        while time.monotonic() < end:
            reply = self._read(1)
            if reply and reply.get("id") == wanted:
                if "error" in reply:
                    raise BrowserError(f"{method}: {reply['error']}")
                return reply["result"]
            if reply and reply.get("method") in KEPT:
                self.events.append(reply)
        self.dead = method
        raise BrowserError(f"{method}: no answer")

    def _post(self, method, params):
        self.last_id += 1
        message = {"id": self.last_id, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out_fd, json.dumps(message).encode() + b"\0")

    # ---- what tests do

    def open(self, url):
        self.send("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def reload(self):
        self.run("window.isOld = true")
        self.send("Page.reload")
        self.wait("!window.isOld && document.readyState === 'complete'")

    def run(self, script):
        """The value of an expression in the page."""
        result = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True)
        if "exceptionDetails" in result:
            raise BrowserError(json.dumps(result["exceptionDetails"])[:2000])
        return result["result"].get("value")

    def wait(self, script, seconds=30):
        end = time.monotonic() + seconds
        while not (value := self._try(script)):
            if time.monotonic() > end:
                raise AssertionError(f"{script} did not come true; the page says: {self.run('document.body.innerText')[-1500:]}")
            time.sleep(0.03)
        return value

    def _try(self, script):
        """Between two pages there is none to ask."""
        try:
            return self.run(script)
        except BrowserError as e:
            if "navigated" not in str(e) and "context" not in str(e):
                raise
            return None

    def text(self, selector):
        return self.run(f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.innerText).join('\\n')")

    def click(self, selector):
        """With the mouse, in the middle of what the selector finds."""
        self.wait(f"(e => e && !e.disabled)(document.querySelector({json.dumps(selector)}))")
        x, y = self.run(f"""(e => {{ e.scrollIntoView({{block: 'nearest'}}); const r = e.getBoundingClientRect();
                                 return [r.x + r.width / 2, r.y + r.height / 2]; }})(document.querySelector({json.dumps(selector)}))""")
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, text):
        self.send("Input.insertText", text=text)

    def key(self, name, modifiers=0):
        codes = {"Enter": (13, "\r"), "Tab": (9, "\t"), "Escape": (27, ""), " ": (32, " ")}
        code, text = codes[name]
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" and modifiers in (0, 8) and name != "Tab" else {}
            self.send("Input.dispatchKeyEvent", type=kind, key=name, code="Space" if name == " " else name, windowsVirtualKeyCode=code, modifiers=modifiers, **more)

    def look(self, width, height, dark=False):
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def picture(self, path):
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))

    def complaints(self):
        """What the page has thrown or the browser has refused: scripts, styles, requests."""
        out = []
        for e in self.events:
            if e["method"] == "Runtime.exceptionThrown":
                out.append(json.dumps(e["params"]["exceptionDetails"])[:500])
            elif e["method"] == "Log.entryAdded" and e["params"]["entry"]["level"] == "error":
                out.append(e["params"]["entry"]["text"] + " " + e["params"]["entry"].get("url", ""))
        return out

    def requests(self):
        return [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]

    def close(self):
        try:
            self.session = self.dead = None
            self.send("Browser.close")
            self.process.wait(10)
        except (BrowserError, OSError, subprocess.TimeoutExpired):
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        os.close(self.in_fd)
        os.close(self.out_fd)
        self.errors.close()
