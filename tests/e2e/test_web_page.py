"""The chat page: what the server says about its files, and the page itself in a Chromium, where there is one."""
import html.parser
import json
import pathlib
import re
import sys
import time

import pytest

import browser
import serving
from test_tools_cli import ANSWERS, ASK, MODEL, tools  # noqa: F401: a fixture

SCRIPTS = ["chat.js", "api.js", "dom.js", "markdown.js", "run.js", "settings.js", "store.js", "view.js"]


def policy(reply):
    return {p.split()[0]: p.split()[1:] for p in reply.headers["content-security-policy"].split("; ")}


def test_the_page_lets_in_nothing_of_elsewhere(tiny_server):
    page = tiny_server.get("/")
    assert page.status == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
    rules = policy(page)
    assert rules["default-src"] == ["'none'"] and rules["script-src"] == rules["style-src"] == rules["connect-src"] == ["'self'"]
    assert rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == ["'none'"]
    assert rules["require-trusted-types-for"] == ["'script'"] and "unsafe" not in page.headers["content-security-policy"]
    for name, value in (("x-frame-options", "DENY"), ("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer")):
        assert page.headers[name] == value


class Files(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.inline = [], []

    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        if tag in ("script", "link"):
            self.found.append(a.get("src") or a.get("href"))
        self.inline += [tag] if tag == "style" else []
        self.inline += [k for k in a if k.startswith("on") or k == "style"]


def test_everything_it_loads_is_there_and_its_own(tiny_server):
    page = tiny_server.get("/").body.decode()
    files = Files()
    files.feed(page)
    assert sorted(files.found) == ["web/chat.css", "web/chat.js", "web/icon.svg"] and not files.inline
    for name in files.found:
        assert tiny_server.get("/" + name).status == 200
    for name in SCRIPTS:
        reply = tiny_server.get(f"/web/{name}")
        text = reply.body.decode().replace("http://www.w3.org/2000/svg", "")
        assert reply.headers["content-type"] == "text/javascript; charset=utf-8" and policy(reply)["default-src"] == ["'none'"]
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://(?!\[|\\)", text), name
        for other in re.findall(r'from "\./([^"]+)"', text):
            assert other in SCRIPTS
    for path in ("/web/", "/web/docs.html", "/web/../server.c", "/web/%2e%2e/x", "/web/chat.js/x"):
        assert tiny_server.get(path).status == 404, path


def test_files_are_kept_until_they_change(tiny_server):
    for path in ("/", "/web/chat.js"):
        first = tiny_server.get(path)
        tag = first.headers["etag"]
        assert re.fullmatch('"[0-9a-f]{16}"', tag) and first.headers["cache-control"] == "no-cache"
        for known in (tag, f'"other", {tag}', "*", "W/" + tag):
            again = tiny_server.get(path, {"If-None-Match": known})
            assert again.status == 304 and again.body == b"" and again.headers["etag"] == tag
        assert tiny_server.get(path, {"If-None-Match": '"other"'}).status == 200
        with serving.Connection(tiny_server.port) as c:
            c.send(serving.request_bytes("HEAD", path))
            status, headers = c.read_head()
            assert status == 200 and headers["etag"] == tag and int(headers["content-length"]) == len(first.body)


def test_with_keys_the_page_is_public_and_nothing_else(serve, tiny_model, tmp_path):
    (tmp_path / "keys").write_text("sk-1\n")
    server = serve("-m", tiny_model, "--api-key-file", tmp_path / "keys")
    assert server.get("/").status == 200 and server.get("/web/chat.js").status == 200
    assert server.get("/v1/models").status == 401 and server.get("/tools").status == 401


# ---- in a browser ------------------------------------------------------------------------------------------

IDLE = "!document.body.classList.contains('busy') && !!document.querySelector('.answer')"
ASKING = "!!document.querySelector('.card[data-state=asking] button:enabled')"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    if not browser.find():
        pytest.skip("no Chromium is here (Debian: chromium, or QUERN_CHROMIUM=PATH)")
    b = browser.Browser(tmp_path_factory.mktemp("chromium"))
    yield b
    b.close()


@pytest.fixture
def page(chromium):
    """page(server) -> the browser with the server's page, as on a first visit."""
    def visit(server, path="/"):
        chromium.send("Network.clearBrowserCache")
        chromium.send("Storage.clearDataForOrigin", origin=f"http://127.0.0.1:{server.port}", storageTypes="all")
        chromium.look(1100, 800)
        chromium.open("about:blank")
        chromium.events.clear()
        chromium.open(f"http://127.0.0.1:{server.port}{path}")
        chromium.wait("!!document.querySelector('#model option') || !document.querySelector('#notice').hidden")
        return chromium
    yield visit
    complaints = [c for c in chromium.complaints() if "favicon" not in c and "the server responded with a status of" not in c
                  and "ERR_CONNECTION_REFUSED" not in c]
    assert not complaints, complaints
    own = {u.split("/")[2] for u in chromium.requests() if u.startswith("http")}
    assert len(own) <= 1, own


@pytest.fixture(scope="module")
def demo(program, environment, tmp_path_factory):
    """The demo model, with get_report, which keeps what it was called with in `called`."""
    if not (MODEL / "model.safetensors").exists():
        pytest.skip("models/quern-demo is not there")
    directory = tmp_path_factory.mktemp("tools")
    script = directory / "tool"
    script.write_text(f"#!{sys.executable}\nimport json, sys\nraw = sys.stdin.read()\na = json.loads(raw)\n"
                      f"open({str(directory / 'called')!r}, 'a').write(raw)\nprint(json.dumps({{'city': a['city'], 'time': '12:34'}}))\n")
    script.chmod(0o755)
    (directory / "tools.json").write_text(json.dumps([{"type": "function", "function": {
        "name": "get_report", "description": "Get a report", "parameters": {
            "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}, "command": ["./tool"]}]))
    server = serving.Server(program, environment, "-m", f"demo={MODEL}", "--tools", directory / "tools.json")
    server.called = directory / "called"
    yield server
    assert server.stop() == 0


def say(b, text):
    b.click("#input")
    b.type(text)
    b.key("Enter")


def greedy(b):
    """What the demo model does at temperature 0 is known."""
    b.run("localStorage.setItem('quern.settings', JSON.stringify({thinking: 'off', sampling: {temperature: 0, max_tokens: 200}}))")
    b.reload()
    b.wait("!!document.querySelector('#model option')")


def stored(b):
    return b.run("Object.keys(localStorage).filter(k => k.startsWith('quern.chat.')).map(k => JSON.parse(localStorage[k]))")


def test_a_message_is_answered_and_thoughts_are_apart(page, scripted_server):
    b = page(scripted_server)
    assert b.text("#model") == "scripted" and "scripted" in b.text("#about")
    say(b, "Hello")
    b.wait(IDLE)
    assert b.text(".bubble") == "Hello" and b.text(".answer > .md") == "Hello, world! \u65e5"
    assert b.text(".thinking summary").startswith("Thought for") and "quick" not in b.text(".answer")
    b.click(".thinking summary")
    b.wait("document.querySelector('.thinking .md').innerText.includes('quick')")
    assert re.search(r"\d+ tokens · [\d,]+ tokens/s · .* · prompt \d+", b.text(".stats"))
    assert "of 1,024 tokens of context" in b.text("#usage")
    assert "Hello, world!" in b.run("document.querySelector('#live').textContent")
    (c,) = stored(b)
    assert [m["role"] for m in c["messages"]] == ["user", "assistant"] and c["messages"][1]["reasoning"] == "quick"


def test_an_answer_can_be_stopped_and_asked_for_anew_and_a_message_edited(page, serve, endless):
    b = page(serve("-m", endless, "-c", "1000000"))  # longer than a busy browser takes to be told
    say(b, "go")
    b.wait("document.querySelector('.answer > .md').innerText.length > 50")
    b.click("#stop")
    b.wait(IDLE)
    assert b.text(".problem") == "Stopped."
    b.click('[aria-label="Answer anew"]')
    b.wait("document.body.classList.contains('busy') && document.querySelector('.answer > .md').innerText.length > 50")
    b.key("Escape")
    b.wait(IDLE)
    b.click('[aria-label="Edit the message"]')
    b.run("document.querySelector('.edit').select()")
    b.type("other")
    b.click(".turn.user .primary")
    b.wait("document.body.classList.contains('busy')")
    b.key("Escape")
    b.wait(IDLE)
    assert b.text(".bubble") == "other" and b.run("document.querySelectorAll('.turn').length") == 2


def test_conversations_are_kept_renamed_exported_imported_and_deleted(page, scripted_server, tmp_path):
    b = page(scripted_server)
    say(b, "first")
    b.wait(IDLE)
    b.click("#new")
    b.wait("document.querySelectorAll('.turn').length === 0")
    say(b, "second")
    b.wait(IDLE)
    assert b.text("#list a").split("\n") == ["second", "first"]
    b.reload()
    b.wait("!!document.querySelector('.answer')")
    assert b.text(".bubble") == "second"
    b.run("document.querySelector('[aria-label=\"Rename first\"]').click()")
    b.wait("document.querySelector('#ask').open")
    b.type("renamed")
    b.key("Enter")
    b.wait("document.querySelector('#list').innerText.includes('renamed')")
    b.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    b.click("#export-all")
    end = time.monotonic() + 10
    while not (found := [f for f in tmp_path.glob("*.json")]):
        assert time.monotonic() < end
        time.sleep(0.05)
    exported = json.loads(found[0].read_text())
    assert [c["title"] for c in exported["conversations"]] == ["renamed", ""] and "allow" not in found[0].read_text()
    for title in ("renamed", "second"):
        b.run(f"document.querySelector('[aria-label=\"Delete {title}\"]').click()")
        b.click("#ask-ok")
        b.wait(f"!document.querySelector('#list').innerText.includes({title!r})")
    assert stored(b) == []
    put_file(b, found[0])
    b.wait("document.querySelectorAll('#list li').length === 2")
    assert b.text(".bubble") == "first"


def put_file(b, path):
    root = b.send("DOM.getDocument")["root"]["nodeId"]
    node = b.send("DOM.querySelector", nodeId=root, selector="#import-file")["nodeId"]
    b.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])


def test_what_quern_chat_saves_can_be_imported(page, scripted_server, tmp_path):
    """Its ids may come again in each turn."""
    turn = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "", "tool_calls": [
        {"id": "call_0", "type": "function", "function": {"name": "f", "arguments": {"n": 1}}}]}]
    saved = [{"role": "system", "content": "Be brief."}, *turn, {"role": "tool", "tool_call_id": "call_0", "content": "one"},
             *turn, {"role": "tool", "tool_call_id": "call_0", "content": "two"}, {"role": "assistant", "content": "done"}]
    (tmp_path / "saved.json").write_text(json.dumps(saved))
    b = page(scripted_server)
    put_file(b, tmp_path / "saved.json")
    b.wait("document.querySelectorAll('.card').length === 2")
    assert b.text(".card .result pre").split() == ["one", "two"] and b.text(".card > pre").split("\n") == ['{"n": 1}'] * 2
    (c,) = stored(b)
    assert c["system"] == "Be brief." and len({m["callId"] for m in c["messages"] if m["role"] == "tool"}) == 2


@pytest.mark.parametrize("text, part", [("nonsense", "not JSON"), ("[]", "no conversation"), ('{"conversations": [5, {"messages": 3}]}', "no conversation")])
def test_what_is_no_conversation_is_not_imported(page, scripted_server, tmp_path, text, part):
    (tmp_path / "file.json").write_text(text)
    b = page(scripted_server)
    put_file(b, tmp_path / "file.json")
    b.wait("!document.querySelector('#notice').hidden")
    assert part in b.text("#notice") and stored(b) == []


HOSTILE = """# <img src=x onerror=alert(1)>
<script>alert(1)</script> **<b onclick=alert(1)>bold</b>** [x](javascript:alert(1)) [y](https://example.com/a_(b)?c=1&d "t") ![pic](https://example.com/p.png)
<https://example.com/<x> data:text/html,x http://example.com/"onmouseover="alert(1)

| a | b |
|:-:|--:|
| `x|y` | *em* _it_ snake_case_word |

1. one
   - inner
2. two

```html
<script>alert(1)</script>
```
> quote
"""


def test_markdown_is_shown_and_nothing_in_it_runs(page, scripted_server, tmp_path):
    saved = [{"role": "user", "content": "<b>hi</b>"}, {"role": "assistant", "content": HOSTILE}]
    (tmp_path / "saved.json").write_text(json.dumps(saved))
    b = page(scripted_server)
    put_file(b, tmp_path / "saved.json")
    b.wait("!!document.querySelector('.answer h4')")
    assert b.text(".bubble") == "<b>hi</b>"
    inside = b.run("[...document.querySelectorAll('.answer .md *')].map(e => e.localName)")
    assert not {"script", "img", "b", "iframe", "style"} & set(inside)
    links = b.run("[...document.querySelectorAll('.md a')].map(a => [a.href, a.rel])")
    assert links[0] == ["https://example.com/a_(b)?c=1&d", "noopener noreferrer nofollow"]
    assert all(u.startswith(("http://", "https://")) and "noopener" in rel for u, rel in links)
    assert b.text(".md td").split("\n") == ["x|y", "em it snake_case_word"] and b.text(".md td em") == "em\nit"
    assert b.text(".md ol > li > ul > li") == "inner" and b.text(".md pre code") == "<script>alert(1)</script>"
    assert b.text(".md strong") == "<b onclick=alert(1)>bold</b>" and b.text(".md blockquote") == "quote"
    attributes = b.run("[...document.querySelectorAll('.md *')].flatMap(e => [...e.attributes].map(a => a.name))")
    assert not [a for a in attributes if a.startswith("on") or a == "style"]


def test_odd_markdown_takes_no_time(page, scripted_server):
    b = page(scripted_server)
    took = b.run("""(async () => {
        const { render } = await import('./web/markdown.js'), times = [];
        for (const s of ['*a ', '**a *b ', '[', '[a](', '`', '``a` ', '> ', '- ', '|', '_a', '<', '\\n\\n> - ', 'http://', '~~~\\n', '![a](http://', '1. ']) {
            const e = document.createElement('div'), begin = performance.now();
            render(e, s.repeat(20000 / s.length));
            times.push([s, performance.now() - begin, e.textContent.length]);
        }
        return times;
    })()""")
    assert all(ms < 3000 for _, ms, _ in took), took


# ---- tools in a browser ----------------------------------------------------------------------------------------

def test_a_call_waits_for_consent_and_its_result_reaches_the_model(page, demo):
    b = page(demo)
    greedy(b)
    say(b, ASK)
    b.wait(ASKING)
    time.sleep(0.3)
    assert not demo.called.exists()
    assert b.text(".card b") == "get_report" and b.text(".card > pre") == '{"city": "Lisbon"}' and "waits for you" in b.text(".chip")
    assert b.run("document.activeElement.className") == "card"  # not the button: a key typed now is no consent
    b.key("Tab")
    b.key("Tab")
    assert b.run("document.activeElement.innerText") == "Allow once"
    b.key("Enter")
    b.wait(IDLE)
    assert b.text(".chip") == "done" and "12:34" in b.text(".result") and "12:34" in b.run("[...document.querySelectorAll('.answer > .md')].pop().innerText")
    assert demo.called.read_text() == '{"city": "Lisbon"}\n'
    (c,) = stored(b)
    assert [m["role"] for m in c["messages"]] == ["user", "assistant", "tool", "assistant"] and c["allow"] == {}
    demo.called.unlink()


def test_a_denied_call_does_not_run_and_the_model_is_told(page, demo):
    b = page(demo)
    greedy(b)
    say(b, ASK)
    b.wait(ASKING)
    b.click(".card .deny")
    b.wait("document.querySelector('.card .chip').innerText === 'denied'")
    b.wait(IDLE + " || " + ASKING)
    b.run("document.querySelector('#stop').click()")
    b.wait(IDLE)
    assert not demo.called.exists()
    assert stored(b)[0]["messages"][2] == {"role": "tool", "callId": stored(b)[0]["messages"][1]["calls"][0]["id"], "name": "get_report",
                                           "content": "error: the user did not allow this call", "state": "denied"}


def test_always_asks_once_here_and_again_elsewhere(page, demo):
    b = page(demo)
    greedy(b)
    say(b, ASK)
    b.wait(ASKING)
    b.click(".card .always")
    b.wait(IDLE)
    b.click('[aria-label="Answer anew"]')
    b.wait("document.querySelectorAll('.turn').length === 2 && " + IDLE)
    assert b.text(".chip") == "done" and len(demo.called.read_text().splitlines()) == 2
    b.click("#settings-open")
    assert "always allowed in this conversation" in b.text("#tools")
    b.key("Escape")
    b.click("#new")
    say(b, ASK)
    b.wait(ASKING)
    b.run("document.querySelector('#stop').click()")
    b.wait(IDLE)
    assert b.text(".chip") == "stopped" and len(demo.called.read_text().splitlines()) == 2
    demo.called.unlink()


def test_what_goes_on_goes_on_while_another_conversation_is_shown(page, demo):
    b = page(demo)
    greedy(b)
    say(b, ASK)
    b.wait(ASKING)
    b.click("#new")
    b.wait("document.querySelectorAll('.turn').length === 0 && !document.body.classList.contains('busy')")
    assert b.run("!!document.querySelector('#list .dot.asking')")
    say(b, "Hello")
    b.wait("!!document.querySelector('.turn.model')")
    b.run("document.querySelector('#stop').click()")
    b.run("document.querySelector('#list li:last-child a').click()")
    b.wait(ASKING)
    assert b.text(".bubble") == ASK
    b.click(".card .once")
    b.wait(IDLE)
    assert "12:34" in b.text(".result") and len(stored(b)) == 2
    demo.called.unlink()


def test_a_tool_that_is_another_now_asks_again(page, demo):
    b = page(demo)
    greedy(b)
    say(b, ASK)
    b.wait(ASKING)
    b.click(".card .always")
    b.wait(IDLE)
    key = b.run("Object.keys(localStorage).find(k => k.startsWith('quern.chat.'))")
    b.run(f"(c => {{ c.allow.get_report = c.allow.get_report.replace('Get a report', 'Get reports'); localStorage[{key!r}] = JSON.stringify(c); }})(JSON.parse(localStorage[{key!r}]))")
    b.reload()
    b.wait("!!document.querySelector('#model option') && !!document.querySelector('.answer')")
    b.click('[aria-label="Answer anew"]')
    b.wait(ASKING)
    b.run("document.querySelector('#stop').click()")
    b.wait(IDLE)
    demo.called.unlink()


def test_a_tool_that_is_off_is_not_offered_and_rounds_have_a_bound(page, demo):
    b = page(demo)
    greedy(b)
    b.click("#settings-open")
    b.click("#tools input")
    b.key("Escape")
    say(b, ASK)
    b.wait(IDLE)
    assert b.run("document.querySelectorAll('.card').length") == 0
    b.click("#settings-open")
    b.click("#tools input")
    b.run("(e => { e.value = '0'; e.dispatchEvent(new Event('input')); })(document.querySelector('#rounds'))")
    b.key("Escape")
    b.click('[aria-label="Answer anew"]')
    b.wait(IDLE)
    assert b.run("document.querySelectorAll('.card').length") == 0 and not demo.called.exists()


# ---- trouble ------------------------------------------------------------------------------------------------

def test_a_key_is_asked_for_and_kept_for_the_tab(page, serve, scripted, tmp_path):
    (tmp_path / "keys").write_text("sk-right\n")
    b = page(serve("-m", scripted, "--api-key-file", tmp_path / "keys"))
    assert "wants an API key" in b.text("#notice")
    b.type("sk-wrong")
    b.key("Enter")
    b.wait("document.querySelector('#notice').innerText.includes('does not know')")
    b.type("sk-right")
    b.key("Enter")
    b.wait("document.querySelector('#notice').hidden")
    say(b, "Hello")
    b.wait(IDLE)
    assert "Hello, world!" in b.text(".answer")
    assert b.run("sessionStorage.getItem('quern.key')") == "sk-right" and "sk-right" not in b.run("JSON.stringify(localStorage)")


def test_errors_are_told_and_the_page_goes_on(page, serve, scripted):
    server = serve("-m", scripted)
    b = page(server)
    b.run("localStorage.setItem('quern.settings', JSON.stringify({sampling: {temperature: 5}}))")
    b.reload()
    b.wait("!!document.querySelector('#model option')")
    say(b, "Hello")
    b.wait(IDLE)
    assert "temperature" in b.text(".problem.bad")
    server.stop()
    b.click('[aria-label="Answer anew"]')
    b.wait(IDLE + " && document.querySelector('.problem').innerText.includes('cannot be reached')")
