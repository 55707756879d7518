"""The image folders themselves: everything pinned and hashed, nothing of a build machine left in them."""

from __future__ import annotations

import importlib.util
import json
import re
import socket
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.unit

IMAGES = Path(__file__).resolve().parents[2] / "hubconfig" / "images"
DOCKERFILES = sorted(IMAGES.glob("*/Dockerfile"))
LOCKS = sorted(IMAGES.glob("*/requirements.lock"))
BUILT_HERE = ("hub", "proxy", "edge", "student", "student-naive", "light")


def folder_name(path: Path) -> str:
    return path.parent.name


def stages(dockerfile: Path) -> list[list[str]]:
    """The instructions of each stage, continuation lines joined, comments left out."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(), flags=re.M).replace("\\\n", " ")
    found: list[list[str]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("FROM "):
            found.append([])
        if found:
            found[-1].append(line)
    return found


@pytest.mark.parametrize("name", BUILT_HERE)
def test_every_image_has_a_recipe(name: str) -> None:
    assert (IMAGES / name / "Dockerfile").is_file()
    assert isinstance(tomllib.loads((IMAGES / name / "image.toml").read_text())["context"]["include"], list)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=folder_name)
def test_stages_stand_on_the_given_base_only(dockerfile: Path) -> None:
    for stage in stages(dockerfile):
        assert re.fullmatch(r"FROM \$\{BASE\}( AS \w+)?", stage[0]), stage[0]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=folder_name)
def test_the_build_machines_authorities_stay_out_of_the_final_stage(dockerfile: Path) -> None:
    final = "\n".join(stages(dockerfile)[-1])
    for word in ("ca-bundle", "PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"):
        assert word not in final
    assert not re.search(r"COPY --from=\w+ (/|/etc\S*|/usr/local/share\S*) ", final.replace("/out/", "/out"))


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=folder_name)
def test_pip_and_npm_install_from_the_locks_only(dockerfile: Path) -> None:
    text = "\n".join(line for stage in stages(dockerfile) for line in stage)
    for call in re.findall(r"pip install [^&;]*", text):
        assert "--require-hashes" in call and "-r requirements.lock" in call, call
    assert not re.search(r"\bnpm (install|i)\b", text)
    assert not re.search(r"\b(curl|wget)\b|https?://(?!127\.)", text)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=folder_name)
def test_only_what_the_classic_builder_knows(dockerfile: Path) -> None:
    text = dockerfile.read_text()
    assert "--mount" not in text and "<<" not in text and "COPY --chmod" not in text


@pytest.mark.parametrize("name", BUILT_HERE)
def test_every_image_tells_its_versions(name: str) -> None:
    assert "> /opt/semesterhub/versions.txt" in "\n".join(stages(IMAGES / name / "Dockerfile")[-1])


@pytest.mark.parametrize("lock", LOCKS, ids=folder_name)
def test_locks_pin_one_version_with_hashes_and_name_no_host(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text and "--index" not in text and "--find-links" not in text
    requirements = re.split(r"\n(?=[a-zA-Z0-9])", re.sub(r"^\s*#.*\n?", "", text, flags=re.M).strip())
    assert requirements
    for requirement in requirements:
        assert re.match(r"[A-Za-z0-9_.\-\[\]]+==[0-9][^\s*]*( ;.*?)? \\\n", requirement), requirement[:80]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", requirement), requirement[:80]


@pytest.mark.parametrize("wishes", sorted(IMAGES.glob("*/requirements.in")), ids=folder_name)
def test_wishes_are_exact_and_in_the_lock(wishes: Path) -> None:
    lock = (wishes.parent / "requirements.lock").read_text()
    for line in wishes.read_text().splitlines():
        if line and not line.startswith("#"):
            assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9.]*", line), line
            assert re.search(rf"^{re.escape(line)} ", lock, flags=re.M), f"{line} is not what requirements.lock holds"


def test_npm_lock_has_integrity_and_no_registry() -> None:
    lock = json.loads((IMAGES / "proxy" / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages["node_modules/configurable-http-proxy"]["version"] == "5.3.0"
    for name, package in packages.items():
        assert package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name
    wanted = json.loads((IMAGES / "proxy" / "package.json").read_text())["dependencies"]
    assert wanted == lock["packages"][""]["dependencies"]
    assert all(re.fullmatch(r"[0-9.]+", version) for version in wanted.values())


def test_student_keeps_sqlite_off_the_shared_home() -> None:
    etc = IMAGES / "student" / "etc"
    assert json.loads((etc / "jupyter_server_config.json").read_text())["NotebookNotary"]["db_file"] == ":memory:"
    assert "c.HistoryManager.enabled = False" in (etc / "ipython_config.py").read_text()


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def light() -> ModuleType:
    return load(IMAGES / "light" / "light_server.py")


def test_light_server_answers_under_its_prefix_only(light: ModuleType) -> None:
    server = light.Light({"JUPYTERHUB_SERVICE_PREFIX": "/user/ada/", "JUPYTERHUB_USER": 'a"dä\n'})
    status, kind, body = server.answer("GET", "/user/ada/api/status?token=x")
    assert (status, kind) == ("200 OK", "application/json")
    assert json.loads(body)["user"] == 'a"dä\n'
    assert server.answer("GET", "/user/ada")[0] == "200 OK"
    assert server.answer("GET", "/user/adam/api")[0] == "404 Not Found"
    assert server.answer("POST", "/user/ada/api")[0] == "405 Method Not Allowed"


def test_light_server_reports_activity_as_the_hub_expects_it(light: ModuleType) -> None:
    heard: dict[str, object] = {}

    class Hub(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.update(path=self.path, token=self.headers["Authorization"])
            heard["body"] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    hub = HTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=hub.handle_request)
    thread.start()
    api = f"http://127.0.0.1:{hub.server_address[1]}/hub/api"
    server = light.Light({"JUPYTERHUB_API_URL": api, "JUPYTERHUB_USER": "ada", "JUPYTERHUB_API_TOKEN": "t0"})
    assert server.report_activity().startswith("HTTP/1.0 200")
    thread.join(10)
    hub.server_close()
    assert (heard["path"], heard["token"]) == ("/hub/api/users/ada/activity", "token t0")
    body = heard["body"]
    assert isinstance(body, dict) and body["servers"][""]["last_activity"] == body["last_activity"]


def test_light_server_speaks_http(light: ModuleType) -> None:
    ours, theirs = socket.socketpair()
    ours.sendall(b"GET /user/ada/api HTTP/1.1\r\nHost: x\r\n\r\n")
    light.serve_connection(light.Light({"JUPYTERHUB_SERVICE_PREFIX": "/user/ada/"}), theirs)
    head, _, body = ours.recv(65536).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"Content-Length: {len(body)}".encode() in head and json.loads(body) == {"version": "light"}
    ours.close()


@pytest.mark.parametrize(
    ("site", "tls", "key"),
    [
        ("", "internal", "SEMESTERHUB_SITE"),
        ("https://x.org", "internal", "SEMESTERHUB_SITE"),
        ("x.org {", "internal", "SEMESTERHUB_SITE"),
        ("x.org", "", "SEMESTERHUB_TLS"),
        ("x.org", "nobody", "SEMESTERHUB_TLS"),
        ("x.org", "a@b.org }", "SEMESTERHUB_TLS"),
    ],
)
def test_edge_refuses_bad_settings_before_caddy_reads_them(site: str, tls: str, key: str) -> None:
    import subprocess

    environment = {"SEMESTERHUB_SITE": site, "SEMESTERHUB_TLS": tls, "PATH": "/usr/bin:/bin"}
    script = IMAGES / "edge" / "edge-entrypoint"
    run = subprocess.run(["sh", str(script)], env=environment, capture_output=True, text=True, timeout=10, check=False)
    assert run.returncode == 64
    assert key in run.stderr


def test_edge_log_never_holds_a_query_string() -> None:
    assert 'request>uri regexp "\\?.*" ""' in (IMAGES / "edge" / "Caddyfile").read_text()
