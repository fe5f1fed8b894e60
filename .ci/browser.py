"""The status page in a real browser: .ci/browser.py PROGRAM [SCREENSHOT]

Starts nodes, looks at the page of one of them in headless Chromium, driven by its DevTools protocol
over a pipe, and checks what somebody at that page would see. /metrics is read by the parser of
prometheus-client, if that is installed. With SCREENSHOT nothing is checked: the page of the demo is
stored there, as PNG."""

import base64
import fcntl
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings

PATIENCE = 90.0


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Node:
    """A `headwater node`, which may be killed and started again."""

    def __init__(self, program, folder, name, config, admin=False):
        self.program, self.name, self.admin = program, name, admin
        self.key = os.path.join(folder, name + ".pem")
        self.path = os.path.join(folder, name + ".toml")
        self.id = subprocess.check_output([program, "keygen", self.key], text=True).split()[0]
        self.port = free_port()
        with open(self.path, "w") as file:
            file.write(f"key = '{self.key}'\nlisten = ['127.0.0.1:{self.port}']\n{config}")
        self.url = None
        self.start()

    def address(self):
        return f"/ip4/127.0.0.1/tcp/{self.port}/p2p/{self.id}"

    def start(self):
        args = [self.program, "node", "--json", "--log", "error", "--config", self.path]
        if self.admin:
            args += ["--admin", "127.0.0.1:0"]
        self.process = subprocess.Popen(args, stdout=subprocess.PIPE, text=True)
        wanted = "admin" if self.admin else "listening"
        for line in self.process.stdout:
            event = json.loads(line)
            if event["event"] == wanted:
                self.url = event.get("url")
                break
        else:
            raise SystemExit(f"{self.name} did not start")
        os.set_blocking(self.process.stdout.fileno(), False)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Browser:
    """Headless Chromium with one page."""

    def __init__(self, folder):
        path = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])))
        ours, theirs = os.pipe(), os.pipe()
        # Numbers that do not get in the way of the two that Chromium wants.
        into, out = (fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (ours[0], theirs[1]))

        def give():
            os.dup2(into, 3)
            os.dup2(out, 4)

        self.process = subprocess.Popen(
            [path, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu",
             "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--hide-scrollbars",
             "--window-size=1200,1180", f"--user-data-dir={folder}/browser", "about:blank"],
            close_fds=False, preexec_fn=give, stderr=subprocess.DEVNULL)
        for fd in (ours[0], theirs[1], into, out):
            os.close(fd)
        self.into, self.out = ours[1], theirs[0]
        self.buffer, self.calls, self.errors = b"", 0, []
        self.session = None
        pages = self.call("Target.getTargets")["targetInfos"]
        page = next(page for page in pages if page["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Runtime", "Log", "Page"):
            self.call(domain + ".enable")

    def call(self, method, **params):
        self.calls += 1
        message = {"id": self.calls, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.into, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE
        while True:
            answer = self.read(until - time.monotonic())
            if answer is None:
                raise SystemExit(f"the browser does not answer {method}")
            if answer.get("id") == self.calls:
                if "error" in answer:
                    raise SystemExit(f"{method}: {answer['error']}")
                return answer["result"]
            self.hear(answer)

    def read(self, wait):
        while b"\0" not in self.buffer:
            if not select.select([self.out], [], [], max(0.0, wait))[0]:
                return None
            piece = os.read(self.out, 1 << 16)
            if not piece:
                raise SystemExit("the browser is gone")
            self.buffer += piece
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def hear(self, event):
        """Notes what a console would show in red."""
        params = event.get("params", {})
        if event["method"] == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"])
        elif event["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.errors.append(params["args"])
        elif event["method"] == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"])

    def evaluate(self, script):
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise SystemExit(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def until(self, what, script):
        end = time.monotonic() + PATIENCE
        while not self.evaluate(script):
            if time.monotonic() > end:
                raise SystemExit(f"not in time: {what}\n{self.evaluate('document.body.innerText')}")
            time.sleep(0.2)
        print("seen:", what, flush=True)

    def press(self, key, code):
        for kind in ("keyDown", "keyUp"):
            text = "\r" if key == "Enter" and kind == "keyDown" else ""
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, text=text,
                      windowsVirtualKeyCode=code)

    def screenshot(self, path):
        height = self.evaluate("document.documentElement.scrollHeight")
        clip = {"x": 0, "y": 0, "width": 1200, "height": height, "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))

    def close(self):
        self.process.kill()
        self.process.wait()


def stage(peer):
    """The state of a peer's mark in the graph."""
    return f"(document.querySelector('#graph [data-peer=\"{peer}\"]') || {{dataset: {{}}}}).dataset.stage"


def row(peer):
    """The text of a peer's row."""
    return f"document.querySelector('#peers tr[data-peer=\"{peer}\"]').innerText"


def contrast(browser):
    """The least contrast of text with what is behind it, over a few places of the page."""
    return browser.evaluate("""(() => {
        const lum = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map((v) => {
            v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
            return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const back = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
            if (!/, 0\\)$|transparent/.test(c)) return c; } return 'rgb(255,255,255)'; };
        return Math.min(...[...document.querySelectorAll('h2, td, th, dd, dt, #state, #log li')].map((e) => {
            const [a, b] = [lum(getComputedStyle(e).color), lum(back(e))].sort((x, y) => y - x);
            return (a + 0.05) / (b + 0.05); })); })()""")


def metrics(url):
    request = urllib.request.urlopen(url + "metrics")
    kind, text = request.headers["Content-Type"], request.read().decode()
    assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8", kind
    try:
        from prometheus_client.openmetrics.parser import text_string_to_metric_families
    except ImportError:
        print("prometheus-client is not installed: /metrics was not parsed")
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["headwater_messages"].type == "counter"
    samples = {sample.labels.get("stage"): sample.value for sample in families["headwater_peers"].samples}
    assert samples["connected"] == 2, samples
    assert all(re.fullmatch(r"headwater_[a-z_]+", name) for name in families), list(families)
    print(f"seen: {len(families)} metrics, which another parser reads without a warning")


def shoot(program, folder, shot):
    """The page of the demo, in the middle of what befalls its nodes."""
    demo = subprocess.Popen([program, "demo", "--json"], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True)
    url, browser = None, None
    try:
        for line in demo.stdout:
            event = json.loads(line)
            if event["event"] == "admin":
                url = event["url"]
                browser = Browser(folder)
                browser.call("Page.navigate", url=url)
            # The one that is cut off is missed by the one whose page this is.
            if event["event"] == "retrying" and event["node"] == "tokio-2":
                break
        browser.evaluate("selected = 'tokio-2'; ask()")
        wanted = "document.querySelector('#peers tr:not([data-stage=connected]) button')"
        browser.evaluate(f"{wanted}.click()")
        browser.screenshot(shot)
    finally:
        if browser:
            browser.close()
        demo.kill()
        demo.wait()


def check(program, folder):
    waits = "[limits]\nbackoff.first = '300 ms'\nbackoff.ceiling = '2 s'\nstable_after = '1 s'\n"
    echo = "[protocols]\n'/echo/1.0.0' = 'echo'\n"
    one, two = (Node(program, folder, name, echo) for name in ("one", "two"))
    nobody = f"/ip4/127.0.0.1/tcp/{free_port()}/p2p/{one.id[:-4]}XXXX"
    peers = f"peers = ['{one.address()}', '{two.address()}', '{nobody}']\n"
    seen = Node(program, folder, "seen", peers + echo + waits, admin=True)
    browser = Browser(folder)
    nodes = [one, two, seen]
    try:
        look(browser, nodes)
    finally:
        browser.close()
        for node in nodes:
            node.kill()


def look(browser, nodes):
    one, two, seen = nodes
    browser.call("Page.navigate", url=seen.url)
    for node in (one, two):
        browser.until(f"{node.name} is connected", f"{stage(node.id)} === 'connected'")
    browser.until("it is live", "document.getElementById('state').dataset.state === 'live'")
    browser.until("the log has it", "document.querySelectorAll('#log li[data-event=connected]').length >= 2")
    browser.until("a row says why not", "[...document.querySelectorAll('#peers .way')].some((cell) =>"
                  " cell.innerText.includes('nobody listens on that port'))")
    shapes = browser.evaluate("new Set([...document.querySelectorAll('#graph .shape')].map((mark) =>"
                              " mark.getAttribute('d'))).size")
    assert shapes >= 2, "states differ by colour alone"
    metrics(seen.url)

    # With the keyboard: the first peer opens and says why.
    browser.evaluate("document.querySelector('#peers button').focus()")
    browser.press("Enter", 13)
    browser.until("its row opens with Enter", "document.querySelectorAll('#peers tr.why').length === 1")
    focused = browser.evaluate("document.activeElement.getAttribute('aria-expanded')")
    assert focused == "true", focused

    two.kill()
    browser.until("the killed peer's mark changes", f"{stage(two.id)} !== 'connected'")
    browser.until("its row says why", f"{row(two.id)}.includes('connection refused')")
    browser.until("the log tells", "document.querySelector('#log li[data-event=disconnected]') !== null")
    two.start()
    browser.until("it heals", f"{stage(two.id)} === 'connected'")

    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.call("Emulation.setEmulatedMedia", features=features)
        least = contrast(browser)
        assert least >= 4.5, f"{scheme}: contrast {least:.1f}"
        print(f"seen: {scheme}, contrast {least:.1f} at least")
    assert not browser.errors, browser.errors

    seen.kill()
    browser.until("it says that the node is gone", "document.getElementById('state').dataset.state === 'gone'")
    # What the browser itself says of requests that nobody answers is no error of the page.
    left = [error for error in browser.errors if not (isinstance(error, dict) and error.get("source") == "network")]
    assert not left, left
    seen.url = None


def main():
    program = os.path.abspath(sys.argv[1])
    shot = sys.argv[2] if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory(prefix="headwater-browser-") as folder:
        if shot:
            shoot(program, folder, shot)
        else:
            check(program, folder)
            print("the status page is as it should be")


main()
