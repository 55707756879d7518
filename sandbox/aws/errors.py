"""Faults in AWS's words: error answers in the protocol of the service that is asked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from sandbox.faults import Fault

Answer = tuple[int, list[tuple[str, str]], bytes]

# Not LimitExceededException: the SDKs take that for throttling and repeat the call.
_CODES = {
    "error": ("InjectedFault", 400),
    "throttle": ("ThrottlingException", 400),
    "quota": ("ServiceQuotaExceededException", 400),
}
_EC2_CODES = {"throttle": ("RequestLimitExceeded", 503), "quota": ("ResourceLimitExceeded", 400)}
_QUOTA_TEXT = "You have reached the quota of your account for this kind of resource"
_NOT_FOUND = {
    "vpc": "InvalidVpcID.NotFound",
    "subnet": "InvalidSubnetID.NotFound",
    "sg": "InvalidGroup.NotFound",
    "sgr": "InvalidSecurityGroupRuleId.NotFound",
    "igw": "InvalidInternetGatewayID.NotFound",
    "nat": "NatGatewayNotFound",
    "rtb": "InvalidRouteTableID.NotFound",
    "eipalloc": "InvalidAllocationID.NotFound",
    "lt": "InvalidLaunchTemplateId.NotFound",
    "vpce": "InvalidVpcEndpointId.NotFound",
    "vol": "InvalidVolume.NotFound",
    "i": "InvalidInstanceID.NotFound",
}
"""EC2 is the service whose answers lag in practice; codes of its API reference (Error codes)."""
_MADE = re.compile(rb"\b(" + "|".join(_NOT_FOUND).encode() + rb")-[0-9a-f]{8,17}\b")


def made(answer: bytes) -> list[str]:
    """The EC2 ids in an answer to a creation: the new one first. Only that one lags."""
    ids = [found[0].decode() for found in _MADE.finditer(answer)]
    return ids[:1]


def not_there(environ: Mapping[str, Any], id: str) -> Answer:
    """What EC2 says of an id it does not show yet."""
    code = _NOT_FOUND[id.rpartition("-")[0]]
    return _answer(environ, code, 400, f"The ID '{id}' does not exist (injected fault 'lag')")


def refusal(fault: Fault, environ: Mapping[str, Any]) -> Answer:
    """The error that stands for the fault."""
    codes = {**_CODES, **(_EC2_CODES if _service(environ) == "ec2" else {})}
    code, status = codes[fault.kind]
    text = f"{_QUOTA_TEXT}: {fault.message}" if fault.kind == "quota" else fault.message
    return _answer(environ, code, status, text)


def _service(environ: Mapping[str, Any]) -> str:
    found = re.search(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/", str(environ.get("HTTP_AUTHORIZATION", "")))
    return found[1] if found else ""


def _answer(environ: Mapping[str, Any], code: str, status: int, text: str) -> Answer:
    kind = str(environ.get("CONTENT_TYPE", ""))
    service = _service(environ)
    if (
        environ.get("HTTP_X_AMZ_TARGET")
        or "json" in kind
        or service in {"eks", "backup", "elasticfilesystem", "scheduler"}
    ):
        body = json.dumps({"__type": code, "code": code, "message": text, "Message": text}).encode()
        return status, [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-ErrorType", code)], body
    inner = f"<Error><Code>{code}</Code><Message>{escape(text)}</Message></Error>"
    if service == "ec2":
        xml = f"<Response><Errors>{inner}</Errors><RequestID>0</RequestID></Response>"
    elif service == "s3":
        xml = f"<Error><Code>{code}</Code><Message>{escape(text)}</Message><RequestId>0</RequestId></Error>"
    else:
        xml = f"<ErrorResponse>{inner}<RequestId>0</RequestId></ErrorResponse>"
    return status, [("Content-Type", "text/xml")], xml.encode()
