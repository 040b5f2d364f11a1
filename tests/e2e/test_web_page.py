"""The chat page: what the server says about its files, and the page itself in a Chromium, where there is one."""
import html.parser
import re

import pytest

import serving

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
