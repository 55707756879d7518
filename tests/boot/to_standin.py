"""Sends the agent's requests, whatever host they are for, to a stand-in on loopback."""

from __future__ import annotations

import http.client
import urllib.request
from typing import Any

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.boot.standin import CREDENTIALS, Request


def opener(port: int) -> urllib.request.OpenerDirector:
    """In the place of :func:`components.node_agent.web.opener`. TLS ends before it begins; the Host header stays."""

    class ToStandIn(urllib.request.AbstractHTTPHandler):
        handler_order = 100

        def _open(self, request: urllib.request.Request) -> Any:
            def connect(_host: str, **_: object) -> http.client.HTTPConnection:
                return http.client.HTTPConnection("127.0.0.1", port, timeout=5)

            return self.do_open(connect, request)  # type: ignore[arg-type]

        http_open = https_open = _open
        http_request = https_request = urllib.request.AbstractHTTPHandler.do_request_

    return urllib.request.build_opener(ToStandIn())


def signature_by_botocore(request: Request) -> str:
    """The Authorization header that botocore would have sent for this request at its time."""
    given = request.headers["authorization"]
    _, region, service = given.split("Credential=")[1].split(",")[0].split("/")[1:4]
    signed = given.split("SignedHeaders=")[1].split(",")[0].split(";")
    url = f"https://{request.host}{request.path}" + (f"?{request.query}" if request.query else "")
    headers = {name: request.headers[name] for name in signed}
    again = AWSRequest(request.method, url, headers=headers, data=request.body)
    again.context["timestamp"] = request.headers["x-amz-date"]
    credentials = Credentials(CREDENTIALS["AccessKeyId"], CREDENTIALS["SecretAccessKey"], CREDENTIALS["Token"])
    signer = (S3SigV4Auth if service == "s3" else SigV4Auth)(credentials, service, region)
    text = signer.string_to_sign(again, signer.canonical_request(again))
    return (
        f"AWS4-HMAC-SHA256 Credential={signer.scope(again)}, "
        f"SignedHeaders={signer.signed_headers(signer.headers_to_sign(again))}, Signature={signer.signature(text, again)}"
    )
