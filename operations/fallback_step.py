"""One step of `fallback/main.tf`: `python -m operations.fallback_step STACK STEP`. Each is safe to repeat.

OpenTofu runs it and shows what it prints; why it failed goes to a file as well, from which `./hub fallback.up` tells it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components import metal
from components.hub_bundle import SECRETS_PATH, SETTINGS_PATH
from operations import bare_machine, fallback_alone, registry_copy, ssh, stacks
from operations.errors import UserError
from operations.failover.sites import RefusedError, Site, Sites, UnreachableError
from operations.fallback_folder import Folder
from operations.images import PROXY_VARIABLES
from operations.registries import Registry
from operations.ssh import Machine

BOOT_TIMEOUT_S, APPLY_TIMEOUT_S, PULL_TIMEOUT_S = 1800, 900, 900
BUNDLE_PATH = "/etc/semesterhub/hub/bundle.json"
READ_SECRETS = """\
import json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
print(json.dumps({name: (folder / name).read_text() for name in sys.argv[2:] if (folder / name).is_file()}))
"""
AUTHORIZED = """\
import os, pathlib, pwd, sys
user, line = sys.argv[1], sys.argv[2]
home = pwd.getpwnam(user)
path = pathlib.Path(home.pw_dir) / ".ssh" / "authorized_keys"
path.parent.mkdir(mode=0o700, exist_ok=True)
kept = [old for old in (path.read_text().splitlines() if path.exists() else []) if not old.endswith(" semesterhub-peer")]
fresh = path.with_name(".authorized_keys.semesterhub")
fresh.write_text("".join(f"{text}\\n" for text in [*kept, *([line] if line else [])]))
fresh.chmod(0o600)
for name in (path.parent, fresh):
    os.chown(name, home.pw_uid, home.pw_gid)
fresh.replace(path)
"""
TEARDOWN = """\
docker ps -aq --filter label=semesterhub.bundle=1 | xargs -r docker rm --force >/dev/null
docker service ls -q --filter label=semesterhub.user 2>/dev/null | xargs -r docker service rm >/dev/null
docker swarm leave --force >/dev/null 2>&1
systemctl disable semesterhub-node.service >/dev/null 2>&1
for table in "INPUT SEMESTERHUB-IN" "DOCKER-USER SEMESTERHUB-FWD"; do
    set -- $table
    iptables -w -D "$1" -j "$2" 2>/dev/null; iptables -w -F "$2" 2>/dev/null; iptables -w -X "$2" 2>/dev/null
done
rm -rf /etc/semesterhub /etc/systemd/system/semesterhub-node.service /usr/local/lib/semesterhub /usr/local/sbin/semesterhub-node \\
    /usr/local/sbin/semesterhub-peer /var/lib/semesterhub/secrets /var/lib/semesterhub/cluster
systemctl daemon-reload >/dev/null 2>&1
true
"""


@dataclass(frozen=True)
class Work:
    """What a step works with. `brief` is what operations/fallback.py wrote down for it."""

    stack: str
    machine: Machine
    brief: Mapping[str, Any]
    tell: Callable[[str], None]

    @contextlib.contextmanager
    def sites(self) -> Iterator[Sites]:
        from operations.failover.context import sites_of

        with sites_of(self.stack, stacks.load(self.stack)) as sites:
            yield sites


def machine(work: Work) -> None:
    """Packages, node agent, Docker, packet filter, registry, Swarm."""
    files = {path: (text.encode(), metal.mode(path)) for path, text in work.brief["files"].items()}
    # First, so that no package asks what to do about a file of its own.
    work.machine.put(files)
    packages = ["docker.io", "docker-registry", "iptables", "procps", "python3", "ca-certificates"]
    proxies = {name: os.environ[name] for name in PROXY_VARIABLES if os.environ.get(name)}
    work.machine.run(bare_machine.prepare_script(packages, proxies), timeout_s=BOOT_TIMEOUT_S, on_line=work.tell)
    work.machine.run(["install", "-d", "-m", "0700", metal.CLUSTER_PATH])
    work.machine.run("systemctl daemon-reload && systemctl enable semesterhub-node.service", timeout_s=60)
    work.machine.run(["semesterhub-node", "boot"], timeout_s=BOOT_TIMEOUT_S, on_line=work.tell)
    identity = f"mkdir -p /var/lib/semesterhub && echo {work.brief['machine_id']} > {bare_machine.ID_FILE}"
    work.machine.run(identity)


def images(work: Work) -> None:
    """The same bytes into the machine's registry, and into its Docker: the first student must not wait for a pull."""
    source = work.brief["source"]
    with work.machine.tunnel(work.brief["registry_port"]) as port:
        target = Registry(f"127.0.0.1:{port}", "", "", lambda _repository: "", scheme="http")
        entered: list[Registry] = []
        for name, digest in work.brief["images"].items():
            if registry_copy.has(target, name, digest):
                continue
            if source["kind"] == "built":
                fallback_alone.push(target, name, work.tell, wanted=digest)
                continue
            if not entered:
                entered.append(enter(source))
            registry_copy.copy(entered[0], f"{source['prefix']}{name}", target, name, digest, work.tell)
    for reference in work.brief["references"].values():
        work.tell(f"pulling {reference.partition('@')[0]}")
        here = work.machine.run(["docker", "image", "inspect", "--format", "-", reference], check=False)
        if here.code:
            work.machine.run(["docker", "pull", "--quiet", reference], timeout_s=PULL_TIMEOUT_S)


def enter(source: Mapping[str, Any]) -> Registry:
    """The registry of the semester's cloud, as the admin. Raises UserError."""
    if source["kind"] == "local":
        return Registry(source["host"], "", "", lambda _repository: "", scheme="http")
    if source["kind"] == "azure":
        from operations.registries import acr

        return acr(source["host"])
    from operations.preflight import aws_clients
    from operations.registries import ecr

    return ecr(aws_clients(stacks.load(source["stack"])))


def secrets(work: Work) -> None:
    """From the cloud's hub VM over standard input; kept as they are while the fallback itself is the active site."""
    names = sorted(work.brief["secrets"])
    if work.brief["alone"]:
        fallback_alone.make_secrets(work.stack, work.machine, names)
        return
    with work.sites() as sites:
        if _active(sites.fallback):
            work.tell("the fallback is the active site: its secrets are the newest")
            return
        try:
            done = sites.cloud.transport.run(["python3", "-c", READ_SECRETS, SECRETS_PATH, *names], timeout_s=60)
            found = json.loads(done.out) if done.code == 0 else {}
        except UnreachableError as away:
            have = work.machine.run(["ls", SECRETS_PATH], check=False).text.split()
            if set(names) <= set(have):
                work.tell("the cloud does not answer; the secrets that are there stay")
                return
            raise UserError(
                "the hub's secrets are on the cloud's hub VM, which does not answer, and not all of them are on "
                f"{work.machine.target.host} yet ({away}).\n"
                f"  Bring the cloud up once: ./hub up --stack {work.stack}, then ./hub fallback.up --stack {work.stack}."
            ) from None
    if missing := sorted(set(names) - set(found)):
        raise UserError(
            f"the cloud's hub VM has no secret {', '.join(missing)} yet: its hub is not deployed.\n  ./hub up --stack {work.stack}"
        )
    work.machine.run(["install", "-d", "-m", "0700", SECRETS_PATH])
    work.machine.put({f"{SECRETS_PATH}/{name}": (value.encode(), 0o600) for name, value in found.items()})


def _active(site: Site) -> bool:
    """Whether a keeper there says that it is the active site; no when there is none yet."""
    try:
        return site.status().get("role") == "active"
    except (UnreachableError, RefusedError):
        return False


def site(work: Work) -> None:
    """Settings, bundle and keeper.json; the containers converge to them."""
    texts = {SETTINGS_PATH: work.brief["settings"], BUNDLE_PATH: work.brief["bundle"]}
    work.machine.put({path: (text.encode(), 0o644) for path, text in texts.items()})
    work.machine.run(["semesterhub-node", "apply"], timeout_s=APPLY_TIMEOUT_S, on_line=work.tell)


def peer(work: Work) -> None:
    """The cloud's keeper is let in for copying alone, and told by which key it knows the machine."""
    key, user = work.brief["peer_key"], work.machine.target.user
    line = metal.peer_line(key, user) if key else ""
    work.machine.run(["python3", "-c", AUTHORIZED, user, line])
    if not key:
        return
    with work.sites() as sites:
        try:
            sites.cloud.keeper("trust", "--host-key", ssh.known_key(work.machine.target))
        except UnreachableError as away:
            raise UserError(
                f"the cloud's keeper could not be told the fallback's host key: {away}\n"
                f"  Copying begins once it knows it: ./hub up --stack {work.stack}, then ./hub fallback.up --stack {work.stack}."
            ) from None


def teardown(work: Work) -> None:
    """All that was brought, but the students' files and the hub's database."""
    work.machine.run(["python3", "-c", AUTHORIZED, work.machine.target.user, ""], check=False)
    work.machine.run(TEARDOWN, timeout_s=300)


STEPS: dict[str, Callable[[Work], None]] = {
    "machine": machine, "images": images, "secrets": secrets, "site": site, "peer": peer, "teardown": teardown,
}  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run one step; 1 and a sentence when it fails."""
    stack, name = arguments
    folder = Folder(stack)

    def tell(text: str) -> None:
        print(text, flush=True)
        with folder.told.open("a", encoding="utf-8") as told:
            told.write(f"{name}: {text}\n")

    try:
        from operations.fallback import ssh_target

        brief = json.loads(folder.brief.read_text("utf-8"))
        with ssh.connect(ssh_target(stack)) as reached:
            tell("begins")
            STEPS[name](Work(stack, reached, brief, tell))
    except UserError as error:
        folder.failure.write_text(f"{error}\n", "utf-8")
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
