"""The server's page in headless Chromium, by its debugging protocol: page.py CHROMIUM URL [FOLDER for screenshots]"""

import base64
import json
import os
import subprocess
import sys
import tempfile
import time

chromium, url = sys.argv[1:3]
shots = sys.argv[3] if len(sys.argv) > 3 else None


class Browser:
    """Chromium with a tab; commands and their answers are JSON between zero bytes, on its descriptors 3 and 4."""

    def __init__(self, folder):
        to_it, ours = os.pipe()
        self.answers, from_it = os.pipe()
        self.commands, self.held, self.count, self.seen = ours, b"", 0, []
        command = f'exec "$0" "$@" 3<&{to_it} 4>&{from_it}'
        self.process = subprocess.Popen(
            ["bash", "-c", command, chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
             f"--user-data-dir={folder}", "--no-first-run", "--disable-background-networking", "about:blank"],
            pass_fds=(to_it, from_it), stderr=subprocess.DEVNULL)
        os.close(to_it), os.close(from_it)
        self.session = None
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "Accessibility"):
            self(domain + ".enable")

    def __call__(self, method, **params):
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.held:
                part = os.read(self.answers, 1 << 20)
                assert part, "the browser ended"
                self.held += part
            one, self.held = self.held.split(b"\0", 1)
            answer = json.loads(one)
            if answer.get("id") == self.count:
                assert "error" not in answer, (method, answer)
                return answer["result"]
            self.seen.append(answer)

    def js(self, expression):
        answer = self("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, expression, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.js(f"(() => {{ try {{ return {expression}; }} catch {{ return false; }} }})()"):
                return
            time.sleep(0.02)
        raise AssertionError(f"it did not become true: {expression}\n{self.js('document.body.innerText')}")

    def key(self, key, code, text=None):
        for kind in ("keyDown", "keyUp"):
            extra = {"text": text} if text and kind == "keyDown" else {}
            self("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **extra)

    def say(self, text):
        self.js("document.getElementById('text').focus()")
        self("Input.insertText", text=text)
        self.key("Enter", 13, "\r")

    def set(self, field, value):
        self.js(f"(f => {{ f[f.type === 'checkbox' ? 'checked' : 'value'] = {json.dumps(value)}; "
                f"f.dispatchEvent(new Event('change', {{bubbles: true}})); }})(document.getElementById('{field}'))")

    def shot(self, name, width, height, theme):
        if not shots:
            return
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
        self("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        with open(os.path.join(shots, f"{name}-{width}-{theme}.png"), "wb") as file:
            file.write(base64.b64decode(self("Page.captureScreenshot")["data"]))


DONE = "document.getElementById('status').textContent === 'Done'"
LAST = "[...document.querySelectorAll('article')].at(-1).innerText"


def main(browser):
    browser("Page.navigate", url=url + "/")
    browser.wait("document.getElementById('model').textContent === 'v4-mini'")
    assert browser.js("document.activeElement.id") == "text", "the message field has no focus"

    # Type, and read the answer as it comes; its reasoning is folded when the answer begins.
    browser.set("seed", "3")
    browser.say("What is the capital of France?")
    browser.wait(DONE)
    assert "tokens/s" in browser.js(LAST), browser.js(LAST)
    assert browser.js("document.querySelector('article details').open") is False
    assert browser.js("document.querySelector('article details pre').textContent.length > 0")
    browser.set("thinking", False)
    browser.set("temperature", "0")
    browser.js("document.getElementById('fresh').click()")
    browser.say("What is the capital of France?")
    browser.wait(DONE)
    assert "Paris" in browser.js(LAST), browser.js(LAST)
    said = browser.js(LAST.replace(".innerText", ".querySelectorAll('pre')[1].textContent"))

    # The same again after a reload, which keeps what was said and set.
    browser("Page.reload")
    browser.wait("document.getElementById('model').textContent === 'v4-mini' && document.querySelectorAll('article').length === 2")
    assert said in browser.js(LAST)
    browser.js("document.getElementById('retry').click()")
    browser.wait(DONE)
    assert browser.js("document.querySelectorAll('article').length") == 2
    assert said in browser.js(LAST)

    # Stop, over a line so slow that there is time for it.
    browser("Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=400, uploadThroughput=-1)
    browser.say("Write a story.")
    browser.wait("['Waiting', 'Answering'].includes(document.getElementById('status').textContent)")
    browser.key("Escape", 27)
    browser.wait("document.getElementById('status').textContent === 'Stopped' && !document.getElementById('send').disabled")
    browser("Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1)

    # A tool is called, its result is asked for, and the answer goes on from there.
    browser.js("document.getElementById('fresh').click()")
    browser.set("tools", json.dumps([{"name": "get_weather", "description": "The weather.", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}]))
    browser.say("What is the weather in Paris?")
    browser.wait("document.querySelector('form.call')")
    assert "get_weather" in browser.js("document.querySelector('article .call').innerText")
    assert browser.js("document.activeElement.closest('form.call') !== null"), "the field for the result has no focus"
    browser("Input.insertText", text="sunny, 20 degrees")
    browser.shot("tools", 1280, 800, "light")
    browser.js("document.querySelector('form.call button').click()")
    browser.wait(DONE + " && document.querySelectorAll('article').length === 4")

    # What is refused is said; which device does what.
    browser.set("tools", "")
    browser.set("temperature", "7")
    browser.say("Hello")
    browser.wait("document.getElementById('status').textContent === 'Failed'")
    assert "temperature is 7" in browser.js(LAST), browser.js(LAST)
    browser.set("temperature", "0")
    browser.js("document.getElementById('devices').open = true")
    browser.wait("document.querySelectorAll('#plan td').length > 10")
    assert "cpu" in browser.js("document.querySelector('#plan caption').textContent")

    for width, height in ((1280, 800), (390, 800)):
        for theme in ("light", "dark"):
            browser.shot("page", width, height, theme)
    browser("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)
    assert browser.js("document.documentElement.scrollWidth") <= 390, "it is wider than a narrow screen"
    assert browser.js("innerHeight - document.getElementById('form').getBoundingClientRect().bottom") < 1, "room below the form"
    assert browser.js("getComputedStyle(document.getElementById('settings')).display") == "none"
    browser.js("document.getElementById('toggle').click()")
    assert browser.js("getComputedStyle(document.getElementById('settings')).display") != "none"
    browser.shot("settings", 390, 800, "dark")

    # Everything that can be used has a name, and Tab reaches it.
    tree = browser("Accessibility.getFullAXTree")["nodes"]
    used = [n for n in tree if not n.get("ignored") and n["role"]["value"] in ("button", "textbox", "checkbox", "spinbutton", "combobox", "log", "DisclosureTriangle")]
    nameless = [n["role"]["value"] for n in used if not n.get("name", {}).get("value")]
    assert len(used) > 12 and not nameless, (len(used), nameless)
    browser.js("document.getElementById('toggle').focus()")
    reached = set()
    for _ in range(40):
        browser.key("Tab", 9)
        reached.add(browser.js("document.activeElement.id"))
    assert {"fresh", "thinking", "seed", "system", "tools", "key", "text"} <= reached, reached

    # Nothing went elsewhere, and nothing went wrong.
    for event in browser.seen:
        if event["method"] == "Network.requestWillBeSent":
            asked = event["params"]["request"]["url"]
            assert asked.startswith((url, "data:", "about:")), asked
        assert event["method"] != "Runtime.exceptionThrown", event
        if event["method"] == "Log.entryAdded":
            entry = event["params"]["entry"]
            assert entry["level"] != "error" or "400" in entry["text"], entry


with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
    browser = Browser(folder)
    try:
        main(browser)
    finally:
        browser.process.terminate()
        browser.process.wait()
print("all is well")
