"""A semester in an AWS account: VPC, homes on EFS, hub VM, and nodes for Swarm or Kubernetes.

Written as one run from the ground up: key, network, storage, images and secrets; then the machines, each with the rights
that the lines before have given a name. `components/aws/<part>.py` holds one component each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from components import clock, cloud_init, cost, history, hub_bundle, images_lock
from components.aws import alarms, policies, secrets
from components.aws.addons import Addons, AddonsArgs
from components.aws.backups import Backups, BackupsArgs
from components.aws.budget import Budget, BudgetArgs
from components.aws.bundle import Bundle, BundleArgs
from components.aws.dns import Dns, DnsArgs
from components.aws.encryption import Encryption, EncryptionArgs
from components.aws.endpoints import Endpoints, EndpointsArgs
from components.aws.firewall import Firewall, FirewallArgs
from components.aws.hub import STATE_DEVICE, Hub, HubArgs
from components.aws.identity import Identity, IdentityArgs
from components.aws.kubernetes import Cluster, ClusterArgs, cluster_name
from components.aws.kubernetes_nodes import NodePools, NodePoolsArgs
from components.aws.machine_image import machine_image
from components.aws.network import Network, NetworkArgs
from components.aws.nodes import HOOK, NodeGroup, NodeGroupArgs, group_name
from components.aws.provider import provider
from components.aws.registry import Registry, RegistryArgs
from components.aws.schedules import Schedules, SchedulesArgs
from components.aws.scope import Scope
from components.aws.storage import Storage, StorageArgs
from components.cloud_nodes import node_config
from components.cloud_sizes import hub_size
from components.hub_bundle import HUB_IMAGES, course_images
from components.plan import Plan
from components.schedule import Schedule, schedule
from components.semester import Semester
from components.tags import tags

ZONES = 2


@dataclass(frozen=True)
class Ground:
    """What both orchestrators build on."""

    scope: Scope
    semester: Semester
    plan: Plan
    schedule: Schedule
    images: dict[str, str]
    """Image name -> reference by digest."""
    image_id: str
    zones: list[str]
    opts: pulumi.ResourceOptions
    ask: pulumi.InvokeOptions
    key: Encryption
    wire: Network
    walls: Firewall
    disks: Storage
    registry: Registry
    secrets: secrets.Secrets

    @property
    def before_machines(self) -> list[pulumi.Resource]:
        """What any machine needs while it boots, besides rights of its own."""
        return [*self.wire.routes_out, *self.walls.rules, *self.disks.mount_targets]

    def user_data(self, role: str, **more: str) -> pulumi.Output[str]:
        """Of a machine of ours, base64 of gzip."""
        return self.disks.homes_host.apply(
            lambda host: cloud_init.encoded(
                cloud_init.user_data(
                    node_config(
                        self.semester,
                        self.plan,
                        role,
                        secret_store=f"ssm:{self.scope.region}:{self.scope.parameters}",
                        homes=f"nfs4:{host}:/",
                        bundle=f"s3://{self.scope.bucket}/{self.scope.bundle_key}",
                        registry=self.scope.registry,
                        state_device=STATE_DEVICE,
                        **more,
                    )
                )
            )
        )


def build(stack: str, semester: Semester, plan: Plan) -> dict[str, Any]:
    """Declare the semester's resources; the stack's outputs."""
    ground = _ground(stack, semester, plan)
    scope, opts = ground.scope, ground.opts
    kubernetes = semester.orchestrator == "kubernetes"
    identity = _hub_identity(ground)
    cluster = _cluster(ground, identity) if kubernetes else None
    bundle = Bundle(
        "bundle",
        BundleArgs(
            scope=scope,
            bucket=ground.disks.bucket,
            text=_bundle_text(ground, cluster),
            bucket_ready=ground.disks.bucket_ready,
        ),
        opts,
    )
    hub = Hub(
        "hub",
        HubArgs(
            scope=scope,
            instance_type=hub_size(semester).name,
            image_id=ground.image_id,
            zone=ground.zones[0],
            subnet_id=ground.wire.public_subnet_ids[0],
            private_ip=plan.hub_ip,
            security_group_id=ground.walls.hub,
            profile_name=identity.profile_name,
            key_arn=ground.key.key_arn,
            user_data=ground.user_data("hub"),
            protect_disk=semester.homes.protect,
            before=[*ground.before_machines, identity.rights, *ground.secrets.parameters, bundle.written]
            + (cluster.access if cluster else []),
        ),
        opts,
    )
    node_group = _pods(ground, cluster) if cluster else _swarm(ground, [*hub.ready, bundle.written])
    name_servers = _watch(ground, hub)
    Backups(
        "backups",
        BackupsArgs(
            scope=scope,
            snapshots=semester.homes.snapshots,
            timezone=semester.term.timezone.key,
            key_arn=ground.key.key_arn,
            resources=[ground.disks.homes_arn, hub.disk_arn],
            protect=semester.homes.protect,
        ),
        opts,
    )
    outputs: dict[str, Any] = {
        "hub_url": semester.hub_url,
        "hub_host": semester.domain,
        "hub_address": hub.public_ip,
        "hub_instance": hub.instance_id,
        "admin_user": semester.admins[0],
        "node_group": node_group,
        "nodes": {
            "min": semester.nodes.min,
            "desired": ground.schedule.base_nodes,
            "max": semester.nodes.max,
        },
        "homes": ground.disks.homes,
        "bucket": ground.disks.bucket,
        "images": {name: reference.rpartition("@")[2] for name, reference in ground.images.items()},
        "repositories": ground.registry.urls,
        "monthly_cost_usd": cost.exported(cost.monthly_cost(semester, plan)),
    }
    if cluster is not None:
        outputs["cluster"] = cluster.name
    if name_servers is not None:
        outputs["name_servers"] = name_servers
    if semester.fallback is not None and semester.fallback.domain is not None:
        outputs["fallback_url"] = f"https://{semester.fallback.domain}"
    return outputs


def zones(ask: pulumi.InvokeOptions) -> list[str]:
    """The region's first two availability zones that need no opt-in, in the order of their names."""
    found = aws.get_availability_zones(
        state="available", filters=[{"name": "opt-in-status", "values": ["opt-in-not-required"]}], opts=ask
    )
    return sorted(found.names)[:ZONES]


def _ground(stack: str, semester: Semester, plan: Plan) -> Ground:
    assert plan.subnets is not None and semester.region is not None  # the model and the plan see to both
    own_tags = tags(stack, semester)
    cloud = provider(semester, own_tags)
    opts, ask = pulumi.ResourceOptions(providers=[cloud]), pulumi.InvokeOptions(provider=cloud)
    account = semester.account or aws.get_caller_identity(opts=ask).account_id
    scope = Scope(stack=stack, region=semester.region, account=account, tags=own_tags)
    names = (*HUB_IMAGES, *course_images(semester))
    chosen = zones(ask)
    key = Encryption("encryption", EncryptionArgs(scope=scope, retain=semester.homes.protect), opts)
    wire = Network(
        "network",
        NetworkArgs(
            scope=scope,
            cidr=str(plan.cluster_cidr),
            subnets=plan.subnets,
            zones=chosen,
            key_arn=key.key_arn,
            kubernetes=semester.orchestrator == "kubernetes",
        ),
        opts,
    )
    walls = Firewall(
        "firewall",
        FirewallArgs(
            scope=scope,
            vpc_id=wire.vpc_id,
            orchestrator=semester.orchestrator,
            admin_cidrs=[str(cidr) for cidr in semester.network.admin_cidrs],
        ),
        opts,
    )
    Endpoints(
        "endpoints",
        EndpointsArgs(
            scope=scope,
            vpc_id=wire.vpc_id,
            subnet_ids=wire.private_subnet_ids,
            route_table_ids=wire.route_table_ids,
            security_group_id=walls.endpoints,
            orchestrator=semester.orchestrator,
        ),
        opts,
    )
    disks = Storage(
        "storage",
        StorageArgs(
            scope=scope,
            subnet_ids=wire.private_subnet_ids,
            security_group_id=walls.homes,
            key_arn=key.key_arn,
            protect=semester.homes.protect,
        ),
        opts,
    )
    return Ground(
        scope=scope,
        semester=semester,
        plan=plan,
        schedule=schedule(semester, plan),
        images=images_lock.references(semester, scope.images, names),
        image_id=machine_image(scope.partition, ask),
        zones=chosen,
        opts=opts,
        ask=ask,
        key=key,
        wire=wire,
        walls=walls,
        disks=disks,
        registry=Registry("registry", RegistryArgs(scope=scope, names=names, key_arn=key.key_arn), opts),
        secrets=secrets.Secrets(
            "secrets", secrets.SecretsArgs(scope=scope, semester=semester, key_arn=key.key_arn), opts
        ),
    )


def _machine_rights(ground: Ground) -> list[policies.Statement]:
    """What hub VM and workers both may."""
    scope = ground.scope
    return [
        policies.session_manager(),
        policies.read_bundle(scope, ground.disks.bucket_arn),
        policies.decrypt(scope, ground.key.key_arn, "s3", "ssm"),
        *policies.pull_images(list(ground.registry.arns.values())),
    ]


def _hub_identity(ground: Ground) -> Identity:
    scope = ground.scope
    rights = [*_machine_rights(ground), policies.read_parameters(scope, "*"), *_backup_rights(ground)]
    if ground.semester.orchestrator == "swarm":
        rights.append(policies.write_parameter(scope, secrets.JOIN_TOKEN))
    else:
        rights.append(policies.describe_cluster(scope.arn("eks", f"cluster/{cluster_name(scope)}")))
    return Identity(
        "hub-identity",
        IdentityArgs(scope=scope, part="hub", description="The hub VM", rights=rights),
        ground.opts,
    )


def _backup_rights(ground: Ground) -> list[policies.Statement]:
    """Of the hub VM on the bucket that takes its copies: the stack's own, or another one in Amazon's S3."""
    scope, chosen = ground.scope, ground.semester.homes.snapshots.repository
    if chosen is None:
        return policies.keep_backups(scope, ground.disks.bucket_arn, history.S3_PREFIX, ground.key.key_arn)
    place = history.s3_place(chosen)
    if place is None:
        return []
    bucket, prefix = place
    return policies.keep_backups(scope, f"arn:{scope.partition}:s3:::{bucket}", prefix, None)


def _own_backups(scope: Scope) -> history.OwnPlace:
    return history.OwnPlace(history.s3_repository(scope.region, scope.dns_suffix, scope.bucket))


def _bundle_text(ground: Ground, cluster: Cluster | None) -> pulumi.Output[str]:
    """What the machines follow; with Kubernetes, where its API answers and where the homes are."""
    scope = ground.scope
    if cluster is None:
        return ground.secrets.revision.apply(
            lambda revision: hub_bundle.current(
                scope.stack,
                ground.semester,
                ground.plan,
                ground.images,
                secrets_revision=revision,
                own_backups=_own_backups(scope),
            )
        )
    found = pulumi.Output.all(
        revision=ground.secrets.revision,
        api_url=cluster.endpoint,
        ca_certificate=cluster.ca_certificate,
        homes=ground.disks.homes,
        students=ground.disks.students,
    )
    return found.apply(
        lambda made: hub_bundle.current(
            scope.stack,
            ground.semester,
            ground.plan,
            ground.images,
            kubernetes={
                "api_url": made["api_url"],
                "ca_certificate": made["ca_certificate"],
                "cluster_name": cluster_name(scope),
                "region": scope.region,
                "homes": {"driver": "efs.csi.aws.com", "volume_handle": f"{made['homes']}::{made['students']}"},
            },
            secrets_revision=made["revision"],
            own_backups=_own_backups(scope),
        )
    )


def _swarm(ground: Ground, hub: list[pulumi.Resource]) -> pulumi.Output[str]:
    """Workers of a Swarm and their calendar; the group's name."""
    scope, semester, plan = ground.scope, ground.semester, ground.plan
    group = group_name(scope)
    identity = Identity(
        "worker-identity",
        IdentityArgs(
            scope=scope,
            part="worker",
            description="Workers of the Swarm",
            rights=[
                *_machine_rights(ground),
                policies.read_parameters(scope, secrets.JOIN_TOKEN),
                policies.finish_draining(scope, group),
            ],
        ),
        ground.opts,
    )
    nodes = NodeGroup(
        "nodes",
        NodeGroupArgs(
            scope=scope,
            instance_type=plan.workers.instance_type,
            image_id=ground.image_id,
            subnet_ids=ground.wire.private_subnet_ids,
            security_group_id=ground.walls.nodes,
            profile_arn=identity.profile_arn,
            key_arn=ground.key.key_arn,
            user_data=ground.user_data("worker", node_group=group, lifecycle_hook=HOOK),
            nodes_min=semester.nodes.min,
            nodes_max=semester.nodes.max,
            nodes_first=ground.schedule.nodes_at(clock.now()),
            drain_timeout_s=semester.nodes.drain_timeout_s,
            before=[*ground.before_machines, identity.rights, *hub],
        ),
        ground.opts,
    )
    Schedules("calendar", SchedulesArgs(group=nodes.name, schedule=ground.schedule, now=clock.now()), ground.opts)
    return nodes.name


def _cluster(ground: Ground, hub: Identity) -> Cluster:
    return Cluster(
        "cluster",
        ClusterArgs(
            scope=ground.scope,
            subnet_ids=ground.wire.private_subnet_ids,
            admin_cidrs=ground.semester.network.admin_cidrs,
            key_arn=ground.key.key_arn,
            hub_role_arn=hub.role_arn,
            hub_security_group_id=ground.walls.hub,
        ),
        ground.opts,
    )


def _pods(ground: Ground, cluster: Cluster) -> pulumi.Output[str]:
    """Node groups of the cluster, their addons and their calendar; the students' group's name."""
    semester, plan = ground.semester, ground.plan
    addons = Addons(
        "addons",
        AddonsArgs(scope=ground.scope, cluster=cluster.cluster, issuer=cluster.issuer),
        ground.opts,
    )
    pools = NodePools(
        "nodes",
        NodePoolsArgs(
            scope=ground.scope,
            cluster=cluster.cluster,
            subnet_ids=ground.wire.private_subnet_ids,
            security_group_ids=[cluster.security_group_id, ground.walls.nodes],
            key_arn=ground.key.key_arn,
            instance_type=plan.workers.instance_type,
            nodes_min=semester.nodes.min,
            nodes_max=semester.nodes.max,
            nodes_first=ground.schedule.nodes_at(clock.now()),
            before=[*addons.network, *ground.before_machines],
        ),
        ground.opts,
    )
    addons.complete([pools.system])
    Schedules("calendar", SchedulesArgs(group=pools.group, schedule=ground.schedule, now=clock.now()), ground.opts)
    return pools.students.node_group_name


def _watch(ground: Ground, hub: Hub) -> pulumi.Output[Any] | None:
    """Name, health check, alarms and budget; name servers of a zone of the stack's own."""
    scope, semester, opts = ground.scope, ground.semester, ground.opts
    name = Dns("dns", DnsArgs(scope=scope, semester=semester, public_ip=hub.public_ip, ask=ground.ask), opts)
    topic = alarms.Topic("topic", alarms.TopicArgs(scope=scope, addresses=alarms.addresses(semester)), opts)
    alarms.Alarms(
        "alarms",
        alarms.AlarmsArgs(
            scope=scope,
            topic_arn=topic.arn,
            instance_id=hub.instance_id,
            health_check_id=name.health_check_id,
        ),
        opts,
    )
    if semester.budget is not None:
        Budget("budget", BudgetArgs(scope=scope, limit=semester.budget, topic_arn=topic.arn), opts)
    return name.name_servers
