"""deploy/nginx.conf in a real nginx, before the webserver as the unit starts it: no login, no access.

Replaced in nginx.conf: the two addresses it listens on, its name, the port of the webserver, the paths of certificate and password file.
TLS stays on, with a certificate made here. Around it is a minimal `http` block with every file in the test's folder.
"""

import base64
import json
import os
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import pytest
import yaml
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from taskclf_dagster_tests.deploy.shipped import DEPLOY, read_command, service_environment, write_workspace
from taskclf_dagster_tests.scenario import make_home
from taskclf_dagster_tests.servers import (
    PROJECT,
    TIMEOUT_SECONDS,
    Webserver,
    await_server,
    find_program,
    free_port,
    listening_addresses,
    port_is_open,
    running,
    stop,
    tail,
    until,
)

pytestmark = pytest.mark.server

USER, PASSWORD = "alice", "correct horse"
LOGIN = f"{USER}:{PASSWORD}"
PATHS = ("/", "/graphql", "/server_info", "/runs", "/logs/x", "/graphql?query=%7Bversion%7D", "//graphql", "/%67raphql")
PROTECTION = ("X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy", "Content-Security-Policy", "Strict-Transport-Security")
MUTATION = "mutation { setNuxSeen }"
AROUND = """
daemon off;
{user}
pid {folder}/nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


@dataclass(frozen=True)
class Site:
    """nginx and what is behind it."""

    url: str
    plain_url: str
    passwords: Path
    trust: ssl.SSLContext

    def post(self, query: str, **more: str | None) -> tuple[int, str]:
        return self.send("/graphql", json.dumps({"query": query}).encode(), Content_Type="application/json", **more)

    def send(
        self, path: str, body: bytes | None, *, login: str | None = LOGIN, url: str | None = None, **headers: str | None
    ) -> tuple[int, str]:
        """Status and text of an answer; header names are written with underscores."""
        request = urllib.request.Request((url or self.url) + path, body)  # noqa: S310  # 127.0.0.1
        for name, value in (basic(login) | headers).items():
            request.add_header(name.replace("_", "-"), str(value))
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=self.trust), _NoRedirect())
        try:
            with opener.open(request, timeout=60) as answer:
                return answer.status, answer.read().decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            return error.code, str(error.headers) + error.read().decode("utf-8", "replace")

    def look(self, path: str, *, login: str | None) -> tuple[int, Message]:
        """Status and headers of a page."""
        request = urllib.request.Request(self.url + path, headers={**basic(login), "Accept": "text/html"})  # noqa: S310  # 127.0.0.1
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=self.trust), _NoRedirect())
        try:
            with opener.open(request, timeout=60) as answer:
                return answer.status, answer.headers
        except urllib.error.HTTPError as error:
            return error.code, error.headers

    def greet(self, *, login: str | None = LOGIN, **headers: str) -> object:
        """The first message over a WebSocket of the pages."""
        url = self.url.replace("https:", "wss:") + "/graphql"
        wanted = {"additional_headers": basic(login) | headers, "subprotocols": ["graphql-ws"]}
        with connect(url, ssl=self.trust, proxy=None, open_timeout=60, **wanted) as socket:
            socket.send(json.dumps({"type": "connection_init", "payload": {}}))
            return json.loads(socket.recv(timeout=60))


def basic(login: str | None) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()} if login else {}


@pytest.fixture(scope="module")
def webserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen, int]]:
    """The webserver by the line of its unit, with a history of its own and no code server: its process and its port."""
    folder = tmp_path_factory.mktemp("webserver")
    settings = yaml.safe_load((PROJECT / "dagster.yaml").read_text(encoding="utf-8"))
    (folder / "dagster.yaml").write_text(yaml.safe_dump({key: settings[key] for key in ("telemetry", "nux")}), encoding="utf-8")
    port, code_port = free_port(), free_port()
    command = read_command("webserver", workspace=write_workspace(folder, code_port=code_port), code_port=code_port, web_port=port)
    log, places = folder / "webserver.log", {"DAGSTER_HOME": folder, "TASKCLF_HOME": make_home(folder).root}
    places["TASKCLF_DAGSTER_CONFIG"] = DEPLOY / "retrain.yaml"
    environment = service_environment({name: str(place) for name, place in places.items()})
    with running(command, log, cwd=folder, env=environment) as process:
        await_server(Webserver(f"http://127.0.0.1:{port}", log), process)
        yield process, port


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Site]:
    nginx, openssl = find_program("nginx"), find_program("openssl")
    if nginx is None or openssl is None:
        pytest.skip("nginx and openssl are needed: apt-get install nginx openssl")
    _, upstream = request.getfixturevalue("webserver")
    folder = tmp_path_factory.mktemp("nginx")
    port, plain = free_port(), free_port()
    _write_site(folder, openssl, {"listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;", "listen 80;": f"listen 127.0.0.1:{plain};"}, upstream)
    command = [nginx, "-e", folder / "error.log", "-c", folder / "nginx.conf"]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    with running(command, folder / "nginx.log", cwd=folder, env=os.environ) as process:
        next((True for _ in until(TIMEOUT_SECONDS) if port_is_open(port) or process.poll() is not None), None)
        assert process.poll() is None, tail(folder / "error.log")
        trust = ssl.create_default_context(cafile=folder / "fullchain.pem")
        yield Site(f"https://127.0.0.1:{port}", f"http://127.0.0.1:{plain}", folder / "htpasswd", trust)
        assert stop(process) == 0


def _write_site(folder: Path, openssl: Path, replaced: dict[str, str], upstream: int) -> None:
    """A certificate, a password file made as the README says, the shipped server block, and what is around it."""
    subject = ["-subj", "/CN=dagster.example.org", "-addext", "subjectAltName=DNS:dagster.example.org,IP:127.0.0.1"]
    key = ["-newkey", "rsa:2048", "-nodes", "-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem", "-days", "2"]
    subprocess.run([openssl, "req", "-x509", *key, *subject], check=True, capture_output=True)
    crypted = subprocess.run([openssl, "passwd", "-6", PASSWORD], check=True, capture_output=True, text=True).stdout.strip()
    (folder / "htpasswd").write_text(f"{USER}:{crypted}\n", encoding="utf-8")
    text = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    replaced = {
        **replaced,
        "http://127.0.0.1:3000;": f"http://127.0.0.1:{upstream};",
        "/etc/ssl/taskclf-dagster/fullchain.pem;": f"{folder}/fullchain.pem;",
        "/etc/ssl/taskclf-dagster/privkey.pem;": f"{folder}/privkey.pem;",
        "/etc/nginx/taskclf-dagster.htpasswd;": f"{folder}/htpasswd;",
    }
    for old, new in replaced.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    assert text.count("server_name dagster.example.org;") == 2
    text = text.replace("server_name dagster.example.org;", "server_name 127.0.0.1;")
    (folder / "site.conf").write_text(text, encoding="utf-8")
    # Workers of a root nginx would run as nobody, who may not look into the folders of pytest.
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder, user=user), encoding="utf-8")


def test_the_webserver_of_the_unit_listens_on_loopback_and_nowhere_else(webserver: tuple[subprocess.Popen, int]) -> None:
    process, port = webserver
    assert listening_addresses(process) == {("127.0.0.1", port)}


@pytest.mark.parametrize("path", PATHS)
def test_nobody_gets_in_without_a_login(site: Site, path: str) -> None:
    status, answer = site.send(path, None, login=None)
    assert (status, "Basic realm" in answer) == (401, True)
    assert site.send(path, b"{}", login=None)[0] == 401


@pytest.mark.parametrize("login", [f"{USER}:wrong", f"bob:{PASSWORD}", f"{USER}:", ":", f":{PASSWORD}"])
def test_a_wrong_name_or_password_is_no_login(site: Site, login: str) -> None:
    assert [site.send(path, None, login=login)[0] for path in PATHS] == [401] * len(PATHS)
    assert site.post("{ version }", login=login)[0] == 401


def test_with_the_login_pages_and_graphql_answer(site: Site) -> None:
    status, page = site.send("/", None)
    assert (status, "<html" in page.lower()) == (200, True)
    status, answer = site.post("{ version }")
    assert (status, list(json.loads(answer)["data"])) == (200, ["version"])
    assert json.loads(site.post(MUTATION)[1]) == {"data": {"setNuxSeen": True}}


def test_live_updates_pass_with_the_login_and_only_with_it(site: Site) -> None:
    assert site.greet() == {"type": "connection_ack"}
    assert site.greet(Origin=site.url) == {"type": "connection_ack"}
    for login in (None, f"{USER}:wrong"):
        with pytest.raises(InvalidStatus, match="401"):
            site.greet(login=login)


def test_what_pages_of_other_sites_ask_for_is_refused_although_the_browser_adds_the_login(site: Site) -> None:
    change = "/graphql?query=mutation%7BsetNuxSeen%7D"
    assert site.send(change, None)[0] == 405, "a plain webserver of Dagster takes changes by GET, which is why this matters"
    for fetch_site in ("cross-site", "same-site"):
        for mode in ("no-cors", "cors", "navigate", "websocket"):
            assert site.send(change, None, Sec_Fetch_Site=fetch_site, Sec_Fetch_Mode=mode)[0] == 403
    for origin in ("https://evil.example", "null", site.plain_url, site.url + "0"):
        assert site.send(change, b"", Origin=origin)[0] == 403
        assert site.post(MUTATION, Origin=origin)[0] == 403
        with pytest.raises(InvalidStatus, match="403"):
            site.greet(Origin=origin)


def test_own_pages_and_followed_links_are_not_refused(site: Site) -> None:
    assert site.post(MUTATION, Origin=site.url, Sec_Fetch_Site="same-origin", Sec_Fetch_Mode="cors")[0] == 200
    assert site.send("/runs", None, Sec_Fetch_Site="none", Sec_Fetch_Mode="navigate")[0] == 200
    assert site.send("/runs", None, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document")[0] == 200


def test_without_the_password_file_nobody_gets_in(site: Site) -> None:
    aside = site.passwords.rename(site.passwords.with_suffix(".aside"))
    try:
        assert [site.send(path, None)[0] for path in PATHS] == [403] * len(PATHS)
        assert site.send("/", None, login=None)[0] in (401, 403)
        assert site.post("{ version }")[0] == 403
    finally:
        aside.rename(site.passwords)
    assert site.post("{ version }")[0] == 200


def test_plain_http_is_sent_on_to_https(site: Site) -> None:
    status, answer = site.send("/runs", None, url=site.plain_url)
    assert (status, "Location: https://127.0.0.1/runs" in answer) == (301, True)


def test_another_host_is_refused_by_nginx_and_by_the_web_server(site: Site, webserver: tuple[subprocess.Popen, int]) -> None:
    for name in ("evil.example", "dagster.example.org.evil.example"):
        assert site.send("/runs", None, Host=name)[0] == 421
        assert site.post(MUTATION, Host=name)[0] == 421
        assert site.send("/runs", None, url=f"http://127.0.0.1:{webserver[1]}", Host=name)[0] == 400
    assert site.send("/runs", None, url=f"http://127.0.0.1:{webserver[1]}", Host="dagster.example.org")[0] == 200


@pytest.mark.parametrize("path", ["/runs", "/retrain/health", "/graphql"])
def test_every_answer_has_each_header_of_protection_once_whoever_gave_it(site: Site, path: str) -> None:
    for login in (LOGIN, None):
        _, headers = site.look(path, login=login)
        for name in (
            "X-Frame-Options",
            "X-Content-Type-Options",
            "Referrer-Policy",
            "Content-Security-Policy",
            "Strict-Transport-Security",
        ):
            assert len(headers.get_all(name, [])) == 1, (path, login, name)


def test_the_web_server_learns_the_user_from_nginx_and_not_from_the_browser(site: Site) -> None:
    _, answer = site.send("/api/ml/retrain/status", None, X_Forwarded_User="mallory")
    assert json.loads(answer)["user"] == USER


def test_a_body_beyond_the_limit_is_refused(site: Site) -> None:
    assert site.send("/graphql", b" " * (11 * 1024 * 1024))[0] == 413
