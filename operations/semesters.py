"""Makes the next semester's stack file from one that exists, with addresses, ports and a name of its own.

The file is edited as text at the places where the values stand, so comments, order and style of the original stay.
Secrets (`secure:` values with the file's `encryptionsalt`) stay as they are: the same passphrase or key opens them.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from operations.errors import UserError
from operations.paths import STACKS_DIR

if TYPE_CHECKING:
    from components.semester import Semester

NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,18}[a-z0-9])?")
"""Names of stacks become parts of names of hosts and containers: short, lower case, no dash at the end."""
_FIRST_LOCAL_NETWORK, _FIRST_HTTPS_PORT, _FIRST_REGISTRY_PORT = 88, 8443, 5443
_LAST_PORT = 65535


@dataclass(frozen=True)
class NewSemester:
    """What a new stack file got that its original does not have."""

    path: Path
    domain: str
    cidr: ipaddress.IPv4Network
    https_port: int | None
    registry_port: int | None


def new_semester(
    stack: str, like: str = "demo", *, title: str = "", domain: str = "", stacks_dir: Path = STACKS_DIR
) -> NewSemester:
    """Writes stacks/Pulumi.<stack>.yaml and checks it. Raises UserError or SemesterError; then nothing was written."""
    from components.plan import plan
    from components.semester import load_stack_file

    path = stacks_dir / f"Pulumi.{stack}.yaml"
    _check_names(stack, like, path, stacks_dir)
    original = stacks_dir / f"Pulumi.{like}.yaml"
    model = load_stack_file(original)
    others = list(_others(stacks_dir))
    domain = domain or _domain_like(model, stack, like)
    cidr = _free_network(model, others)
    values: dict[tuple[str, ...], str] = {
        ("title",): _quoted(title or f"Semesterhub {stack}"),
        ("domain",): domain,
        ("network", "cidr"): str(cidr),
    }
    https_port = registry_port = None
    if model.cloud == "local":
        taken = {port for other in others for port in (other.local.https_port, other.local.registry_port)}
        https_port = _free_port(_FIRST_HTTPS_PORT, taken)
        registry_port = _free_port(_FIRST_REGISTRY_PORT, {*taken, https_port})
        values |= {("local", "https_port"): str(https_port), ("local", "registry_port"): str(registry_port)}
        values |= _own_fallback(model, others, stack, domain, cidr)
    text = _without_introduction(original.read_text(encoding="utf-8"), stack)
    text = _with_values(text, values)
    text = text.replace(model.hub_url, f"https://{domain}" + (f":{https_port}" if https_port else ""))
    with _draft(text, stacks_dir, stack) as draft:
        plan(load_stack_file(draft))
        try:
            os.link(draft, path)  # fails when somebody else made the same semester meanwhile
        except FileExistsError:
            raise UserError(f"{path.name} exists already. Edit it, or choose another name.") from None
    return NewSemester(path, domain, cidr, https_port, registry_port)


def _own_fallback(
    model: Semester, others: list[Semester], stack: str, domain: str, cidr: ipaddress.IPv4Network
) -> dict[tuple[str, ...], str]:
    """A local semester's second machine and name server: at addresses, ports, with keys of the new semester."""
    if model.fallback is None:
        return {}
    here = f".semesterhub/fallback/{stack}"
    known = [other.fallback for other in others if other.fallback]
    values: dict[tuple[str, ...], str] = {
        ("fallback", "host"): str(next(cidr.hosts())),
        ("fallback", "port"): str(_free_port(model.fallback.port, {fallback.port for fallback in known})),
        ("fallback", "ssh_key"): f"{here}/id_ed25519",
    }
    if model.fallback.dns and model.fallback.dns.provider == "rfc2136":
        taken = {f.dns.port for f in known if f.dns and f.dns.provider == "rfc2136"}
        values |= {
            ("fallback", "dns", "port"): str(_free_port(model.fallback.dns.port, taken)),
            ("fallback", "dns", "zone"): domain,
            ("fallback", "dns", "key_file"): f"{here}/dns.key",
        }
    return values


def _check_names(stack: str, like: str, path: Path, stacks_dir: Path) -> None:
    if not NAME.fullmatch(stack):
        raise UserError(
            f"--stack {stack!r} cannot be a stack's name. Allowed: lower-case letters, digits and -, at most 20, "
            "a letter first and no - at the end. Choose a name such as fa26."
        )
    if path.exists():
        raise UserError(f"{path.name} exists already. Edit it, or choose another name.")
    found = sorted(file.name.removeprefix("Pulumi.").removesuffix(".yaml") for file in stacks_dir.glob("Pulumi.*.yaml"))
    if like not in found:
        raise UserError(f"--like {like!r}: there is no such stack. There are: {', '.join(found) or 'none'}.")


def _others(stacks_dir: Path) -> Iterator[Semester]:
    """Every semester that can be read; a broken file keeps its owner from `up`, not everybody from a new semester."""
    from components.semester import SemesterError, load_stack_file

    for file in sorted(stacks_dir.glob("Pulumi.*.yaml")):
        with contextlib.suppress(SemesterError):
            yield load_stack_file(file)


def _domain_like(model: Semester, stack: str, like: str) -> str:
    if model.cloud == "local" and model.domain.endswith(".localhost"):
        return f"{stack}.localhost"
    first, _, rest = model.domain.partition(".")
    return f"{first.replace(like, stack)}.{rest}" if like in first else f"{stack}.{model.domain}"


def _free_network(model: Semester, others: Iterable[Semester]) -> ipaddress.IPv4Network:
    """The next network of the same size that no other semester uses, its own bridge and Swarm's ingress included."""
    taken = [model.network.bridge_cidr, ipaddress.IPv4Network("10.0.0.0/16")]
    taken += [network for other in others for network in (other.network.cidr, other.network.bridge_cidr)]
    prefix = model.network.cidr.prefixlen
    step = max(1, 2 ** (16 - prefix)) if prefix < 16 else 1
    for second in [*range(_FIRST_LOCAL_NETWORK, 256), *range(1, _FIRST_LOCAL_NETWORK)]:
        if second % step == 0:
            candidate = ipaddress.IPv4Network(f"10.{second}.0.0/{prefix}")
            if not any(candidate.overlaps(network) for network in taken):
                return candidate
    raise UserError(
        f"no network 10.x.0.0/{prefix} is left that no other stack file uses. Remove stack files of past semesters, "
        "or write the new file by hand with another semesterhub:network.cidr."
    )


def _free_port(first: int, taken: set[int]) -> int:
    return next(port for port in range(first, _LAST_PORT + 1) if port not in taken)


def _quoted(text: str) -> str:
    """A text as YAML that can only be read as this text."""
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=1000).strip()


def _without_introduction(text: str, stack: str) -> str:
    """The first comment of the original speaks of the original."""
    said = f"# The semester {stack}: `./hub up --stack {stack}`. Every key is explained in docs/reference.md."
    return re.sub(r"(?m)^# The .*semester.*$", lambda _found: said, text, count=1)


def _with_values(text: str, values: dict[tuple[str, ...], str]) -> str:
    """Puts each value where the old one stands; a key that is not there is added at the end of its mapping."""
    for keys, value in values.items():
        text = _with_value(text, (f"semesterhub:{keys[0]}", *keys[1:]), value)
    return text


def _with_value(text: str, keys: tuple[str, ...], value: str) -> str:
    node = next(node for key, node in _pairs(yaml.compose(text, Loader=yaml.SafeLoader)) if key == "config")
    for depth, name in enumerate(keys):
        inner = next((child for key, child in _pairs(node) if key == name), None)
        if inner is None:
            return _added(text, node, keys[depth:], value)
        node = inner
    return text[: node.start_mark.index] + value + text[node.end_mark.index :]


def _pairs(node: yaml.Node | None) -> list[tuple[str, yaml.Node]]:
    return [(str(key.value), value) for key, value in node.value] if isinstance(node, yaml.MappingNode) else []


def _added(text: str, mapping: yaml.Node, keys: tuple[str, ...], value: str) -> str:
    for name in reversed(keys[1:]):
        value = f"{{{name}: {value}}}"
    entry = f"{keys[0]}: {value}"
    start = mapping.start_mark
    if text[start.index] == "{":
        return text[: start.index + 1] + entry + ", " + text[start.index + 1 :]
    # Before the mapping's first key: the end of a block mapping is not marked exactly.
    return text[: start.index] + entry + "\n" + " " * start.column + text[start.index :]


@contextlib.contextmanager
def _draft(text: str, folder: Path, stack: str) -> Iterator[Path]:
    """The file under a name that no `Pulumi.*.yaml` matches; gone afterwards, also after a mistake."""
    handle, name = tempfile.mkstemp(prefix=f".{stack}-", suffix=".yaml", dir=folder, text=True)
    draft = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        draft.chmod(0o644)
        yield draft
    finally:
        draft.unlink(missing_ok=True)
