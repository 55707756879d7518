"""What a machine of a semester asks its cloud, answered by one small server: metadata, identity, secrets, objects, registry.

Standard library only: the unit tests run it in their own process on loopback, the boot tests in a container of their own
(`python3 standin.py <configuration.json>`), where it also plays the registry's front with TLS and passwords.

It refuses what the real services refuse: metadata without its token or header, an unknown identity, a wrong audience,
a secret that nobody stored. It does not check AWS signatures: it keeps every signed request, and the tests check
those with botocore's own signer.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import sys
import threading
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

METADATA_HOST = "169.254.169.254"
ROLE = "semesterhub-node"
CREDENTIALS = {
    "AccessKeyId": "ASIAEXAMPLE",
    "SecretAccessKey": "an-example-of-a-secret-key",
    "Token": "session/token+=",
}
DISABLED = "(a version of a secret that is disabled)"
REGISTRY_PASSWORD = "a-password-of-the-registry"
AZURE_REGISTRY_USER = "00000000-0000-0000-0000-000000000000"
AUDIENCES = {
    "https://vault.azure.net": "vault",
    "https://storage.azure.com/": "storage",
    "https://management.azure.com/": "management",
    "6dae42f8-4368-4678-94ff-3960e28e3630": "kubernetes",
}

Reply = tuple[int, dict[str, str], bytes]


def reply(status: int, body: Any = b"", **headers: str) -> Reply:
    """JSON for anything that is not bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, data


def jwt(audience: str) -> str:
    """A token that only looks like one: enough for who reads its tenant."""
    parts = ({"alg": "none"}, {"aud": audience, "tid": "tenant-1"})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "signature"])


@dataclass(frozen=True)
class Request:
    """One request as it came in."""

    method: str
    host: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def parameters(self) -> dict[str, str]:
        return dict(urllib.parse.parse_qsl(self.query))

    @property
    def form(self) -> dict[str, str]:
        return dict(urllib.parse.parse_qsl(self.body.decode()))


@dataclass
class StandIn:
    """One account of both clouds."""

    client_id: str = "client-1"
    secrets: dict[str, str] = field(default_factory=dict)
    """By SSM parameter name, and by Key Vault secret name."""
    objects: dict[str, bytes] = field(default_factory=dict)
    """By host and path of their https URL, without the scheme."""
    metadata: dict[str, str] = field(default_factory=dict)
    """AWS metadata besides credentials, by path."""
    events: list[dict[str, Any]] = field(default_factory=list)
    fail: dict[str, list[Reply]] = field(default_factory=dict)
    """Host prefix -> answers given first, once each."""
    requests: list[Request] = field(default_factory=list)
    read_only: bool = False
    """Whether the identity may write secrets (a worker may not)."""
    may_read: bool = True
    registry: Callable[[Request], Reply] | None = None

    def answer(self, request: Request) -> Reply:
        if request.host in {METADATA_HOST, "127.0.0.1"}:
            return self._aws_metadata(request) if request.path.startswith("/latest/") else self._azure_metadata(request)
        self.requests.append(request)
        for prefix, answers in self.fail.items():
            if request.host.startswith(prefix) and answers:
                return answers.pop(0)
        service, _, rest = request.host.partition(".")
        if request.path.startswith("/v2") and self.registry:
            return self._guarded_registry(request)
        if request.host.endswith(".amazonaws.com"):
            if "AWS4-HMAC-SHA256" not in request.headers.get("authorization", ""):
                return reply(403, {"__type": "MissingAuthenticationTokenException"})
            if rest.startswith("s3."):
                return self._object(request)
            handlers = {"ssm": self._ssm, "api": self._ecr, "autoscaling": lambda _request: reply(200, b"<ok/>")}
            return handlers[service](request)
        if request.host.endswith(".vault.azure.net"):
            return self._bearer(request, "vault") or self._vault(request)
        if request.host.endswith(".blob.core.windows.net"):
            if "x-ms-version" not in request.headers:
                return reply(400, b"x-ms-version is missing")
            return self._bearer(request, "storage") or self._object(request)
        if request.host.endswith(".azurecr.io") and request.path == "/oauth2/exchange":
            form = request.form
            wanted = {"grant_type": "access_token", "service": request.host, "tenant": "tenant-1"}
            if wanted.items() <= form.items() and form.get("access_token") == jwt("management"):
                return reply(200, {"refresh_token": REGISTRY_PASSWORD})
            return reply(401, {"errors": [{"code": "UNAUTHORIZED"}]})
        return reply(404, {"error": f"nobody is {request.host}"})

    # -- metadata services -----------------------------------------------------------------------------------------

    def _aws_metadata(self, request: Request) -> Reply:
        if request.path == "/latest/api/token":
            lifetime = request.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
            return reply(200, b"metadata-token") if request.method == "PUT" and lifetime.isdigit() else reply(400)
        if request.headers.get("x-aws-ec2-metadata-token") != "metadata-token":
            return reply(401)
        path = request.path.removeprefix("/latest/meta-data/")
        known = {
            "iam/security-credentials/": ROLE,
            f"iam/security-credentials/{ROLE}": json.dumps({"Code": "Success", **CREDENTIALS}),
            **self.metadata,
        }
        return reply(200, known[path].encode()) if path in known else reply(404)

    def _azure_metadata(self, request: Request) -> Reply:
        if request.headers.get("metadata") != "true" or "api-version" not in request.parameters:
            return reply(400, {"error": "Required metadata header not specified"})
        if request.path == "/metadata/identity/oauth2/token":
            if request.parameters.get("client_id") != self.client_id:
                return reply(400, {"error": "invalid_request", "error_description": "Identity not found"})
            audience = AUDIENCES.get(request.parameters.get("resource", ""))
            return (
                reply(200, {"access_token": jwt(audience)}) if audience else reply(400, {"error": "invalid_resource"})
            )
        if request.path == "/metadata/instance/compute/name":
            return reply(200, b"workers_3")
        if request.path == "/metadata/scheduledevents":
            if request.method == "POST":
                self.requests.append(request)
                started = {item["EventId"] for item in json.loads(request.body)["StartRequests"]}
                self.events = [event for event in self.events if event["EventId"] not in started]
                return reply(200)
            return reply(200, {"DocumentIncarnation": 1, "Events": self.events})
        return reply(404)

    # -- services --------------------------------------------------------------------------------------------------

    def _bearer(self, request: Request, audience: str) -> Reply | None:
        fits = request.headers.get("authorization") == f"Bearer {jwt(audience)}"
        return None if fits else reply(401, {"error": {"code": "Unauthorized"}})

    def _ssm(self, request: Request) -> Reply:
        body, action = json.loads(request.body), request.headers.get("x-amz-target", "").partition(".")[2]
        if action == "GetParameter" and body["WithDecryption"] is True:
            if body["Name"] not in self.secrets:
                return reply(400, {"__type": "ParameterNotFound"})
            return reply(200, {"Parameter": {"Name": body["Name"], "Value": self.secrets[body["Name"]]}})
        if action == "PutParameter" and body["Type"] == "SecureString" and body["Overwrite"] is True:
            if self.read_only:
                return reply(400, {"__type": "AccessDeniedException"})
            self.secrets[body["Name"]] = body["Value"]
            return reply(200, {"Version": 1})
        return reply(400, {"__type": "ValidationException"})

    def _vault(self, request: Request) -> Reply:
        name = request.path.removeprefix("/secrets/")
        if "api-version" not in request.parameters or "_" in name:
            return reply(400, {"error": {"code": "BadParameter"}})
        if request.method == "PUT":
            if self.read_only:
                return reply(403, {"error": {"code": "Forbidden"}})
            self.secrets[name] = json.loads(request.body)["value"]
        if not self.may_read:
            return reply(403, {"error": {"code": "Forbidden", "innererror": {"code": "ForbiddenByRbac"}}})
        if name not in self.secrets:
            return reply(404, {"error": {"code": "SecretNotFound"}})
        if self.secrets[name] == DISABLED:
            return reply(403, {"error": {"code": "Forbidden", "innererror": {"code": "SecretDisabled"}}})
        return reply(200, {"value": self.secrets[name]})

    def _object(self, request: Request) -> Reply:
        content = self.objects.get(f"{request.host}{urllib.parse.unquote(request.path)}")
        if content is None:
            return reply(404, b"<Error><Code>NoSuchKey</Code></Error>")
        etag = f'"{hash(content) & 0xFFFFFFFF:08x}"'
        if request.headers.get("if-none-match") == etag:
            return reply(304, ETag=etag)
        return reply(200, content, ETag=etag)

    def _ecr(self, request: Request) -> Reply:
        if request.headers.get("x-amz-target", "").partition(".")[2] != "GetAuthorizationToken":
            return reply(400, {"__type": "ValidationException"})
        token = base64.b64encode(f"AWS:{REGISTRY_PASSWORD}".encode()).decode()
        return reply(200, {"authorizationData": [{"authorizationToken": token}]})

    def _guarded_registry(self, request: Request) -> Reply:
        user = "AWS" if ".ecr." in request.host else AZURE_REGISTRY_USER
        wanted = base64.b64encode(f"{user}:{REGISTRY_PASSWORD}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {wanted}":
            return reply(401, {"errors": [{"code": "UNAUTHORIZED"}]}, WWW_Authenticate='Basic realm="registry"')
        assert self.registry is not None
        return self.registry(request)


def serve(
    stand_in: StandIn, address: str = "127.0.0.1", port: int = 0, context: ssl.SSLContext | None = None
) -> ThreadingHTTPServer:
    """Answers in threads until `shutdown`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            parts = urllib.parse.urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            host = headers.get("host", "").partition(":")[0]
            status, more, data = stand_in.answer(Request(self.command, host, parts.path, parts.query, headers, body))
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            if "Content-Length" not in more and status != 304:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_PATCH = _any  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer((address, port), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


def forward_to(port: int) -> Callable[[Request], Reply]:
    """A registry on this port of loopback, which only ever is read from here."""

    def registry(request: Request) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        headers = {"Accept": request.headers.get("accept", "*/*")}
        connection.request(
            request.method, request.path + (f"?{request.query}" if request.query else ""), headers=headers
        )
        answer = connection.getresponse()
        data = answer.read()
        kept = ("Content-Type", "Docker-Content-Digest", "Docker-Distribution-Api-Version", "Content-Length")
        return answer.status, {name: answer.headers[name] for name in kept if name in answer.headers}, data

    return registry


def control(stand_in: StandIn) -> Callable[[Request], Reply]:
    """For the test outside: `GET /` what was asked, `POST /` changes of metadata, events, secrets, objects."""

    def answer(request: Request) -> Reply:
        if request.method == "POST":
            news = json.loads(request.body)
            stand_in.metadata.update(news.get("metadata", {}))
            stand_in.secrets.update(news.get("secrets", {}))
            stand_in.objects.update({name: text.encode() for name, text in news.get("objects", {}).items()})
            stand_in.events = news.get("events", stand_in.events)
        asked = [{**vars(item), "body": item.body.decode(errors="replace")} for item in stand_in.requests]
        return reply(200, {"requests": asked, "secrets": stand_in.secrets, "events": stand_in.events})

    return answer


class _Control(StandIn):
    """The control port, a server like the others."""

    def __init__(self, stand_in: StandIn) -> None:
        super().__init__()
        self._answer = control(stand_in)

    def answer(self, request: Request) -> Reply:
        return self._answer(request)


def main(path: str) -> None:
    """The whole stand-in in a container: port 80 on the link-local address and 443, TLS; control on 9000."""
    configuration = json.loads(Path(path).read_text())
    stand_in = StandIn(client_id=configuration["client_id"], metadata=configuration["metadata"])
    stand_in.registry = forward_to(5000)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(configuration["certificate"], configuration["key"])
    serve(stand_in, METADATA_HOST, 80)
    serve(stand_in, "0.0.0.0", 443, context)
    serve(_Control(stand_in), "0.0.0.0", 9000)
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1])
