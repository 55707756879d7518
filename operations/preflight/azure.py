"""Checks of an Azure subscription: who one is, cores and other limits against the plan, machine types, images, the zone."""

from __future__ import annotations

import re
from collections import Counter

from components.cloud_sizes import SYSTEM_NODE_SIZE, SYSTEM_NODES, hub_size
from components.plan import Plan
from components.plan_nodes import INSTANCE_TYPES
from components.semester import Semester
from operations.preflight.arm import Arm, ArmError
from operations.preflight.finding import Finding, enough, failed, passed, unknown
from operations.preflight.questions import NotKnownError

SUBSCRIPTIONS, COMPUTE, NETWORK, STORAGE, DNS, SKUS = (
    "2022-12-01",
    "2024-07-01",
    "2024-05-01",
    "2023-05-01",
    "2018-05-01",
    "2021-07-01",
)
"""API versions."""
FEATURES = "2021-07-01"
"""API version of Microsoft.Features."""
HOST_ENCRYPTION = "EncryptionAtHost"
PROVIDERS = ("Microsoft.Compute", "Microsoft.Network", "Microsoft.Storage", "Microsoft.KeyVault", "Microsoft.ManagedIdentity",
             "Microsoft.ContainerRegistry", "Microsoft.Insights", "Microsoft.Authorization")  # fmt: skip
ADDRESSES_NEEDED = 2
"""Of the hub VM and the NAT gateway."""
ACCOUNTS_NEEDED = 3
"""Storage accounts: homes, operations, backups."""


def who(semester: Semester, arm: Arm) -> Finding:
    """Who is signed in, and whether they reach the stack's subscription."""
    check = "credentials"
    try:
        name = arm.who()
        found = arm.get(f"/subscriptions/{semester.account}", SUBSCRIPTIONS)
    except ArmError as error:
        if error.status in (403, 404):
            return failed(
                check,
                f"who is signed in does not reach the subscription {semester.account}: {error}",
                f"`az account set --subscription {semester.account}`, sign in as somebody who may, or correct semesterhub:account",
            )
        return failed(check, f"Azure does not know who you are: {error}", "sign in with `az login`")
    said = f"{name} in {found.get('displayName', '')} ({semester.account})"
    state = str(found.get("state", "Enabled"))
    if state != "Enabled":
        return failed(check, f"{said}: the subscription is {state}", "let its owner enable it")
    return passed(check, said)


def providers(semester: Semester, arm: Arm) -> Finding:
    """Whether the subscription has the resource providers registered that the semester's resources belong to."""
    wanted = [*PROVIDERS, *(["Microsoft.ContainerService"] if semester.orchestrator == "kubernetes" else [])]
    missing = []
    try:
        for name in wanted:
            found = arm.get(f"/subscriptions/{semester.account}/providers/{name}", "2021-04-01")
            if found.get("registrationState") != "Registered":
                missing.append(name)
    except ArmError as error:
        return unknown("resource providers", f"they cannot be read: {error}", "let your role read the subscription")
    if missing:
        commands = "; ".join(f"az provider register --namespace {name}" for name in missing)
        return failed("resource providers", f"not registered: {', '.join(missing)}", f"`{commands}`")
    return passed("resource providers", f"{len(wanted)} registered")


def host_encryption(semester: Semester, arm: Arm) -> Finding:
    """Whether the subscription may have disks encrypted on their host, as every machine here asks for (learn.microsoft.com/azure/
    virtual-machines/disks-enable-host-based-encryption-portal): without the feature Azure refuses the first machine."""
    check = "host encryption"
    path = f"/subscriptions/{semester.account}/providers/Microsoft.Features/providers/Microsoft.Compute/features/{HOST_ENCRYPTION}"
    remedy = (
        f"`az feature register --namespace Microsoft.Compute --name {HOST_ENCRYPTION}`, and when it is registered (minutes) "
        "`az provider register --namespace Microsoft.Compute`"
    )
    try:
        state = str((arm.get(path, FEATURES).get("properties") or {}).get("state", ""))
    except ArmError as error:
        return unknown(check, f"the feature {HOST_ENCRYPTION} cannot be read: {error}", remedy)
    if state == "Registered":
        return passed(check, f"the feature {HOST_ENCRYPTION} is registered")
    if state in ("Pending", "Registering"):
        return failed(check, f"the feature {HOST_ENCRYPTION} is being registered", "wait some minutes, then ask again")
    return failed(check, f"the feature {HOST_ENCRYPTION} is not registered ({state or 'no state'})", remedy)


def quotas(semester: Semester, planned: Plan, deployed: bool, arm: Arm) -> list[Finding]:
    """The region's limits against the semester's peak. `deployed`: the stack is there, so what it uses is in use already,
    and only the workers that may still come are new."""
    region, base = semester.region, f"/subscriptions/{semester.account}/providers"
    remedy = (
        f"ask for more in the portal (Quotas) or with `az quota update` for {region}; it is often granted within a day"
    )
    needed = _cores(semester, planned, deployed)
    found: list[Finding] = []
    try:
        listed = arm.all(f"{base}/Microsoft.Compute/locations/{region}/usages", COMPUTE)
    except ArmError as error:
        return [unknown("quota: cores", f"the limits cannot be read: {error}", remedy)]
    usages = {str(usage["name"]["value"]).lower(): usage for usage in listed}
    for name, cores in (("cores", sum(needed.values())), *sorted(needed.items())):
        usage = usages.get(name.lower())
        limit, used = (float(usage["limit"]), int(usage["currentValue"])) if usage else (None, 0)
        found.append(enough(f"quota: {name}", limit=limit, used=used, needed=cores, unit="cores", remedy=remedy))
    if deployed:
        return found
    others = (
        ("Microsoft.Network", NETWORK, "publicipaddresses", ADDRESSES_NEEDED, "public addresses"),
        ("Microsoft.Network", NETWORK, "virtualnetworks", 1, "virtual network"),
        ("Microsoft.Storage", STORAGE, "storageaccounts", ACCOUNTS_NEEDED, "storage accounts"),
    )
    for namespace, version, name, count, unit in others:
        try:
            listed = arm.all(f"{base}/{namespace}/locations/{region}/usages", version)
        except ArmError as error:
            found.append(unknown(f"quota: {unit}", f"the limit cannot be read: {error}", remedy))
            continue
        usage = next((u for u in listed if str(u["name"]["value"]).lower() == name), None)
        limit, used = (float(usage["limit"]), int(usage["currentValue"])) if usage else (None, 0)
        found.append(enough(f"quota: {unit}", limit=limit, used=used, needed=count, unit=unit, remedy=remedy))
    return found


def _cores(semester: Semester, planned: Plan, deployed: bool) -> Counter[str]:
    """Cores by the family that Azure counts them in."""
    sizes = {size.name: size.vcpus for size in INSTANCE_TYPES["azure"]}
    worker = planned.workers.instance_type
    needed: Counter[str] = Counter()
    needed[family(worker)] += (planned.workers.count - (semester.nodes.min if deployed else 0)) * sizes[worker]
    if not deployed:
        hub = hub_size(semester)
        needed[family(hub.name)] += hub.vcpus
        if semester.orchestrator == "kubernetes":
            system = SYSTEM_NODE_SIZE["azure"]
            needed[family(system)] += SYSTEM_NODES * sizes[system]
    return needed


def family(size: str) -> str:
    """`Standard_E8as_v5` -> `standardEASv5Family`, as the usages name it."""
    letters, features, version = re.fullmatch(r"Standard_([A-Z]+)\d+([a-z]*)_(v\d+)", size).groups()  # type: ignore[union-attr]
    return f"standard{letters}{features.upper()}{version}Family"


def machine_types(semester: Semester, planned: Plan, arm: Arm) -> Finding:
    """Whether this subscription may use the machines in the region."""
    kinds = {planned.workers.instance_type, hub_size(semester).name}
    if semester.orchestrator == "kubernetes":
        kinds.add(SYSTEM_NODE_SIZE["azure"])
    try:
        listed = arm.all(
            f"/subscriptions/{semester.account}/providers/Microsoft.Compute/skus",
            SKUS,
            **{"$filter": f"location eq '{semester.region}'"},
        )
    except ArmError as error:
        return unknown("machine types", f"they cannot be read: {error}", "let your role read the subscription")
    if not listed:
        return unknown(
            "machine types", f"Azure lists none for {semester.region}", "see `az vm list-skus --location REGION`"
        )
    skus = {sku["name"]: sku for sku in listed if sku.get("resourceType") == "virtualMachines"}
    missing = sorted(kind for kind in kinds if kind not in skus)
    barred = sorted(
        kind
        for kind in kinds - set(missing)
        if any(limit.get("type") == "Location" for limit in skus[kind].get("restrictions") or ())
    )
    if missing or barred:
        said = [f"not in {semester.region}: {', '.join(missing)}"] if missing else []
        said += [f"not for this subscription: {', '.join(barred)}"] if barred else []
        return failed(
            "machine types", "; ".join(said), "choose another semesterhub:nodes.instance_type or region, or ask Azure"
        )
    return passed("machine types", ", ".join(sorted(kinds)))


def machine_image(semester: Semester, image: tuple[str, str, str, str], arm: Arm) -> Finding:
    """Whether the pinned marketplace image is (still) there: (publisher, offer, sku, version)."""
    publisher, offer, sku, version = image
    path = (
        f"/subscriptions/{semester.account}/providers/Microsoft.Compute/locations/{semester.region}/publishers/{publisher}"
        f"/artifacttypes/vmimage/offers/{offer}/skus/{sku}/versions/{version}"
    )
    name = ":".join(image)
    try:
        arm.get(path, COMPUTE)
    except ArmError as error:
        if error.status == 404:
            return failed("machine image", f"{name} is not in {semester.region}",
                          "choose a newer version in components/azure/machines.py (`az vm image list --all` lists them)")  # fmt: skip
        return unknown("machine image", f"it cannot be read: {error}", "let your role read the subscription")
    return passed("machine image", name)


def zone_servers(semester: Semester, group: str, zone: str, arm: Arm) -> frozenset[str]:
    """Name servers of the zone in Azure DNS. NotKnownError when there is none, or when it cannot be read."""
    path = f"/subscriptions/{semester.account}/resourceGroups/{group}/providers/Microsoft.Network/dnsZones/{zone}"
    try:
        found = arm.get(path, DNS)
    except ArmError as error:
        raise NotKnownError(f"no zone {zone} in the resource group {group}: {error}") from None
    return frozenset(str(name).rstrip(".").lower() for name in found["properties"].get("nameServers") or ())
