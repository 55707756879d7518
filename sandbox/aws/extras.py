"""What moto does not know, answered here with the same request and answer shapes: EKS add-ons, access entries and pod
identities, Backup selections, EFS backup policies. Kept in memory, and made again by the journal like all the rest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from moto.moto_api._internal import mock_random

from sandbox.aws import world

Answer = tuple[int, list[tuple[str, str]], bytes]
Moto = Callable[[Mapping[str, Any], bytes], Answer]

STAMP = 1767225600
"""Creation times: always this one, so that a replay and a refresh see the same."""


@dataclass(frozen=True)
class Kind:
    """One kind of thing below a parent, as a REST collection. `wrap` is the key of the thing in answers, `key` the
    member that names it, `listed` the key of the collection's list."""

    path: str
    key: str
    wrap: str
    listed: str
    arn: str
    create: str = "POST"
    update: str = "POST"
    parent: str = ""
    """Path that moto must know, with `{0}` for the first group of `path`."""
    update_suffix: str = ""
    own_id: bool = False
    """The key is drawn here, not given by the caller."""


_EKS_PARENT = "/clusters/{0}"
KINDS = (
    Kind(r"/clusters/([^/]+)/addons", "addonName", "addon", "addons", "addon/{0}/{1}/sandbox", parent=_EKS_PARENT, update_suffix="/update"),
    Kind(r"/clusters/([^/]+)/access-entries", "principalArn", "accessEntry", "accessEntries", "access-entry/{0}/{1}", parent=_EKS_PARENT),
    Kind(
        r"/clusters/([^/]+)/pod-identity-associations", "associationId", "association", "associations",
        "podidentityassociation/{0}/{1}", parent=_EKS_PARENT, own_id=True,
    ),
    Kind(
        r"/clusters/([^/]+)/access-entries/([^/]+)/access-policies", "policyArn", "associatedAccessPolicy",
        "associatedAccessPolicies", "", parent=_EKS_PARENT,
    ),
)  # fmt: skip


def _json(status: int, value: Mapping[str, Any], code: str = "") -> Answer:
    head = [("Content-Type", "application/json"), *([("x-amzn-ErrorType", code)] if code else [])]
    return status, head, json.dumps(value).encode()


def _refused(status: int, code: str, text: str) -> Answer:
    return _json(status, {"__type": code, "code": code, "message": text, "Message": text}, code)


@dataclass
class Extras:
    """The kept things: path of the collection -> key -> the thing."""

    account: str
    kept: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)

    def answer(self, environ: Mapping[str, Any], body: bytes, moto: Moto) -> Answer | None:
        """The answer to a request that is ours, else None."""
        path = str(environ.get("RAW_URI") or environ.get("REQUEST_URI") or environ.get("PATH_INFO", "")).partition("?")[
            0
        ]
        scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/([^/]+)/", str(environ.get("HTTP_AUTHORIZATION", "")))
        region, service = (scope[1], scope[2]) if scope else ("", "")
        method = environ["REQUEST_METHOD"]
        if service == "eks":

            def look(at: str) -> Answer:
                return moto({**environ, "REQUEST_METHOD": "GET", "PATH_INFO": at, "RAW_URI": at}, b"")

            kept = self._eks(method, path, body, region, look)
            return kept if kept is not None else self._with_effects(environ, path, body, region, moto)
        if service == "backup" and (found := re.fullmatch(r"/backup/plans/([^/]+)/selections(?:/([^/]*))?/?", path)):
            return self._selection(method, unquote(found[1]), unquote(found[2] or ""), body)
        if service == "elasticfilesystem" and (
            found := re.fullmatch(r"/2015-02-01/file-systems/([^/]+)/backup-policy", path)
        ):
            return self._efs(method, found[1], body)
        if service == "elasticfilesystem" and method == "DELETE":
            found = re.fullmatch(r"/2015-02-01/file-systems/([^/]+)/policy", path)
            return self._no_policy(region, found[1]) if found else None
        return None

    def _no_policy(self, region: str, file_system: str) -> Answer:
        """moto's own deletion of a file system's policy ends in an internal error."""
        from moto.efs.models import efs_backends

        made = efs_backends[self.account][region].file_systems_by_id.get(file_system)
        if made is None:
            return _refused(404, "FileSystemNotFound", f"File system '{file_system}' does not exist.")
        made.file_system_policy = None
        return 204, [("Content-Length", "0")], b""

    def _with_effects(self, environ: Mapping[str, Any], path: str, body: bytes, region: str, moto: Moto) -> Answer:
        """moto's own answer, with what EKS does besides."""
        method, given = environ["REQUEST_METHOD"], json.loads(body or b"{}")
        if found := re.fullmatch(r"/clusters/([^/]+)/updates", path):  # a new version of the control plane
            from moto.eks.models import eks_backends

            cluster = eks_backends[self.account][region].clusters.get(found[1])
            if cluster is None:
                return _refused(404, "ResourceNotFoundException", f"No cluster found for name: {found[1]}.")
            cluster.version = given["version"]
            return _json(200, {"update": {"id": "sandbox", "status": "Successful", "type": "VersionUpdate"}})
        if found := re.fullmatch(r"/clusters/([^/]+)/node-groups/([^/]+)/update-version", path):
            return self._node_group_version(region, found[1], found[2], given)
        before = world.before_eks(self.account, region, method, path)
        answer = moto(environ, body)
        if answer[0] >= 400:
            return answer
        world.after_eks(self.account, region, method, path, given, before)
        if method == "POST" and re.fullmatch(r"/clusters(/[^/]+/node-groups)?", path):
            name = given["name"] if path == "/clusters" else given["nodegroupName"]
            again = f"{path}/{name}"
            return moto(
                {**environ, "REQUEST_METHOD": "GET", "PATH_INFO": again, "RAW_URI": again, "REQUEST_URI": again}, b""
            )
        if method == "DELETE" and (found := re.fullmatch(r"/clusters/([^/]+)", path)):
            for place in [p for p in self.kept if p.split("//")[-1].split("/")[0] == found[1]]:
                del self.kept[place]
        return answer

    def _node_group_version(self, region: str, cluster: str, name: str, given: dict[str, Any]) -> Answer:
        from moto.eks.models import eks_backends

        made = eks_backends[self.account][region].clusters.get(cluster)
        group = made.nodegroups.get(name) if made else None
        if group is None:
            return _refused(404, "ResourceNotFoundException", f"No node group found for name: {name}.")
        if given.get("launchTemplate"):
            group.launch_template = {**(group.launch_template or {}), **given["launchTemplate"]}
        group.version = given.get("version", group.version)
        group.release_version = given.get("releaseVersion", group.release_version)
        return _json(200, {"update": {"id": "sandbox", "status": "Successful", "type": "VersionUpdate"}})

    def _eks(self, method: str, path: str, body: bytes, region: str, look: Callable[[str], Answer]) -> Answer | None:
        for kind in KINDS:
            found = re.fullmatch(kind.path + r"(?:/([^/]+))?(/update)?/?", path)
            if not found:
                continue
            *parents, key, _ = (unquote(g) if g else "" for g in found.groups())
            parent = look(kind.parent.format(parents[0]))
            if parent[0] >= 400:
                return parent
            account = json.loads(parent[2])["cluster"]["arn"].split(":")[4]
            base = f"arn:aws:eks:{region}:{account}:" + kind.arn if kind.arn else ""
            given = json.loads(body or b"{}")
            return self._rest(kind, method, "//".join([kind.listed, "/".join(parents)]), parents, key, given, base)
        return None

    def _rest(
        self, kind: Kind, method: str, place: str, parents: list[str], key: str, given: dict[str, Any], arn: str
    ) -> Answer:
        things = self.kept.setdefault(place, {})
        if not key and method == "GET":
            return _json(200, {kind.listed: list(things.values()) if kind.own_id or not arn else list(things)})
        if not key:
            if kind.own_id:
                key = given[kind.key] = "a-" + mock_random.get_random_hex(17)
            else:
                key = str(given.get(kind.key, ""))
            if key in things:
                return _refused(409, "ResourceInUseException", f"{kind.wrap} {key} already exists")
            name = {"addon": "addonArn", "accessEntry": "accessEntryArn", "association": "associationArn"}.get(
                kind.wrap
            )
            things[key] = {"clusterName": parents[0], **given, "createdAt": STAMP, "modifiedAt": STAMP}
            if kind.wrap == "addon":
                things[key] |= {"status": "ACTIVE", "health": {"issues": []}}
                things[key].setdefault("addonVersion", "v1.0.0-eksbuild.1")
            if name:
                things[key][name] = arn.format(parents[0], key.rpartition("/")[2])
            return _json(200, {kind.wrap: things[key]})
        if key not in things:
            return _refused(404, "ResourceNotFoundException", f"No {kind.wrap} {key} was found in cluster {parents[0]}")
        if method == "GET":
            return _json(200, {kind.wrap: things[key]})
        if method == "DELETE":
            gone = things.pop(key)
            return _json(200, {kind.wrap: gone})
        things[key] |= {
            name: value for name, value in given.items() if name not in {"clientRequestToken", "resolveConflicts"}
        }
        return _json(200, {kind.wrap: things[key], "update": {"id": "sandbox", "status": "Successful"}})

    def _selection(self, method: str, plan: str, key: str, body: bytes) -> Answer:
        things = self.kept.setdefault(f"selections/{plan}", {})
        if method == "PUT" and not key:
            key = str(mock_random.uuid4())
            chosen = json.loads(body)["BackupSelection"]
            things[key] = {"BackupPlanId": plan, "SelectionId": key, "BackupSelection": chosen, "CreationDate": STAMP}
            return _json(200, {"BackupPlanId": plan, "SelectionId": key, "CreationDate": STAMP})
        if method == "GET" and not key:
            listed = [{**t, "SelectionName": t["BackupSelection"]["SelectionName"]} for t in things.values()]
            return _json(200, {"BackupSelectionsList": listed})
        if key not in things:
            return _refused(400, "InvalidParameterValueException", f"Cannot find Selection {key} of plan {plan}")
        if method == "DELETE":
            del things[key]
            return _json(200, {})
        return _json(200, things[key])

    def _efs(self, method: str, file_system: str, body: bytes) -> Answer:
        things = self.kept.setdefault("backup-policy", {})
        if method == "PUT":
            things[file_system] = json.loads(body)["BackupPolicy"]
        elif file_system not in things:
            return _refused(404, "PolicyNotFound", f"{file_system} has no backup policy")
        return _json(200, {"BackupPolicy": things[file_system]})
