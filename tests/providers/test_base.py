"""The shared base: a provider of toy resources, called over gRPC as the engine calls it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import grpc
import pytest

from operations.paths import ROOT
from providers.base import (
    ANY,
    UNKNOWN,
    Context,
    Created,
    Field,
    Function,
    Handler,
    Observed,
    PartialFailure,
    Provider,
    ProviderError,
    Schema,
)
from providers.base.engine import EngineLog
from providers.base.proto import (
    engine_pb2,
    engine_pb2_grpc,
    plugin_pb2,
    provider_pb2,
    provider_pb2_grpc,
    status_pb2,
)
from providers.base.schema import ListOf, MapOf, differences
from providers.base.server import build_server
from providers.base.values import decode, encode

pytestmark = pytest.mark.unit

URN = "urn:pulumi:demo::semesterhub::toy:index:Thing::a-thing"
UNKNOWN_STRING = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

PART = Schema({"path": Field(str, "a path"), "size": Field(int, "MiB", default=1)})


class Thing(Handler):
    token: ClassVar[str] = "toy:index:Thing"
    schema: ClassVar[Schema] = Schema(
        {
            "name": Field(
                str, "its name", replace=True, check=lambda v: None if v.islower() else f"{v!r}: write small letters."
            ),
            "size_mib": Field(
                int, "MiB", default=64, check=lambda v: None if v >= 8 else f"{v} MiB is too little; at least 8."
            ),
            "share": Field(float, "a share", default=1.0),
            "on": Field(bool, "whether it is on", default=True),
            "parts": Field(ListOf(PART), "parts", default=[]),
            "labels": Field(MapOf(str), "labels", default={}),
            "token": Field(
                str,
                "a password",
                default="",
                secret=True,
                check=lambda v: None if len(v) != 3 else "has 3 characters; take more.",
            ),
        }
    )
    outputs: ClassVar[tuple[str, ...]] = ("address", "key")
    secret_outputs: ClassVar[frozenset[str]] = frozenset({"key"})
    stable_outputs: ClassVar[frozenset[str]] = frozenset({"address"})
    delete_before_replace: ClassVar[bool] = True

    def __init__(self) -> None:
        self.real: dict[str, dict[str, Any]] = {}
        self.seen: list[tuple[str, Any]] = []

    def create(self, ctx: Context, inputs: Mapping[str, Any]) -> Created:
        self.seen.append(("create", dict(inputs)))
        ctx.status("making it")
        ctx.warn("a warning")
        if inputs["name"] == "refused":
            raise ProviderError("refused: the quota is used up. Ask for more.")
        if inputs["name"] == "bug":
            raise KeyError("boom")
        if inputs["name"] == "slow":
            ctx.sleep(30)
        self.real[inputs["name"]] = dict(inputs)
        if inputs["name"] == "half":
            raise PartialFailure(["not healthy", "at all"], id="half", outputs={"address": "10.0.0.9"})
        return Created(inputs["name"], {"address": "10.0.0.1", "key": "k"})

    def read(self, ctx: Context, id: str, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> Observed | None:
        real = self.real.get(id)
        if real is None:
            return None
        unhealthy = ("ill",) if real.get("ill") else ()
        return Observed({"address": "10.0.0.1", "key": "k"}, {"size_mib": real["size_mib"]}, unhealthy)

    def update(
        self,
        ctx: Context,
        id: str,
        old_inputs: Mapping[str, Any],
        old_state: Mapping[str, Any],
        news: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        self.seen.append(("update", (dict(old_inputs), dict(old_state), dict(news))))
        if news["size_mib"] == 99:
            raise PartialFailure("half updated")
        return {"address": old_state["address"], "key": "k2"}

    def delete(self, ctx: Context, id: str, inputs: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        self.real.pop(id, None)


class Lookup(Function):
    token: ClassVar[str] = "toy:index:lookup"
    schema: ClassVar[Schema] = Schema({"name": Field(str, "its name"), "filters": Field(ANY, "filters", default=None)})
    secret_results: ClassVar[frozenset[str]] = frozenset({"key"})

    def invoke(self, ctx: Context, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        if arguments["name"] == "nobody":
            raise ProviderError("there is no `nobody`.")
        return {"found": arguments["name"], "filters": arguments.get("filters"), "key": "k"}


class Engine(engine_pb2_grpc.EngineServicer):
    """The engine's side of logging."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def Log(self, request: Any, context: Any) -> Any:
        self.messages.append(request)
        return provider_pb2_grpc.google_dot_protobuf_dot_empty__pb2.Empty()


class Rig:
    def __init__(self, stub: Any, thing: Thing, engine: Engine, servicer: Any) -> None:
        self.stub, self.thing, self.engine, self.servicer = stub, thing, engine, servicer

    def check(self, **news: Any) -> tuple[dict[str, Any], dict[str, str]]:
        answer = self.stub.Check(provider_pb2.CheckRequest(urn=URN, type=Thing.token, news=encode(news)))
        return decode(answer.inputs)[0], {f.property: f.reason for f in answer.failures}

    def diff(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> Any:
        # The stored outputs differ on purpose: they must not matter.
        state = encode({**old, "address": "x", "size_mib": 12345})
        return self.stub.Diff(
            provider_pb2.DiffRequest(
                id="a", urn=URN, type=Thing.token, olds=state, old_inputs=encode(old), news=encode(new)
            )
        )

    def create(self, secrets: tuple[str, ...] = (), *, preview: bool = False, **inputs: Any) -> Any:
        full = {**self.check(name="x")[0], **inputs}
        return self.stub.Create(
            provider_pb2.CreateRequest(urn=URN, type=Thing.token, properties=encode(full, secrets), preview=preview)
        )


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setenv("SEMESTERHUB_LOGS_DIR", str(tmp_path))
    engine = Engine()
    engine_server = grpc.server(ThreadPoolExecutor(4))
    engine_pb2_grpc.add_EngineServicer_to_server(engine, engine_server)
    engine_port = engine_server.add_insecure_port("127.0.0.1:0")
    engine_server.start()
    thing = Thing()
    server, port, servicer = build_server(
        Provider("toy", "1.2.3", (thing,), (Lookup(),)), EngineLog(f"127.0.0.1:{engine_port}")
    )
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Rig(provider_pb2_grpc.ResourceProviderStub(channel), thing, engine, servicer)
    server.stop(None)
    engine_server.stop(None)


def partial(error: grpc.RpcError) -> Any:
    """The ErrorResourceInitFailed in an error's details, as the engine finds it."""
    metadata = dict(error.trailing_metadata() or ())  # pyright: ignore[reportAttributeAccessIssue]
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    detail = provider_pb2.ErrorResourceInitFailed()
    assert status.details[0].Unpack(detail)
    return detail


def test_values_survive_the_wire() -> None:
    values = {"s": "x", "i": 3, "f": 2.5, "b": True, "l": [1, {"k": "v"}], "u": UNKNOWN, "n": {"deep": [UNKNOWN]}}
    assert decode(encode(values)) == (values, set())
    assert decode(encode({"a": {"b": "c"}, "d": 1}, ["a"])) == ({"a": {"b": "c"}, "d": 1}, {"a"})
    assert decode(encode({"a": None})) == ({}, set())


def test_every_unknown_of_the_engine_is_known() -> None:
    from pulumi.runtime import rpc

    struct = encode(
        {"a": rpc.UNKNOWN, "b": "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7", "c": ["6a19a0b0-7e62-4c92-b797-7f8e31da9cc2"]}
    )
    assert decode(struct)[0] == {"a": UNKNOWN, "b": UNKNOWN, "c": [UNKNOWN]}


def test_secrets_inside_a_property_make_it_secret_as_the_sdk_writes_them() -> None:
    from pulumi.runtime import rpc

    struct = encode({"outer": {"inner": {rpc._special_sig_key: rpc._special_secret_sig, "value": "s"}}, "open": 1})
    assert decode(struct) == ({"outer": {"inner": "s"}, "open": 1}, {"outer"})


def test_protocol_modules_agree_with_the_sdk() -> None:
    """Both copies may live in one process, and a message of one is read by the other."""
    from pulumi.runtime.proto import provider_pb2 as sdk

    sent = sdk.CheckFailure(property="a", reason="b").SerializeToString()
    assert provider_pb2.CheckFailure.FromString(sent).reason == "b"


def test_check_fills_in_defaults(rig: Rig) -> None:
    inputs, failures = rig.check(name="a", parts=[{"path": "/x"}], share=2)
    assert failures == {}
    assert inputs == {
        "name": "a",
        "size_mib": 64,
        "share": 2,
        "on": True,
        "parts": [{"path": "/x", "size": 1}],
        "labels": {},
        "token": "",
    }


@pytest.mark.parametrize(
    ("inputs", "property", "says"),
    [
        ({}, "name", "`name` is missing: its name"),
        ({"name": "A"}, "name", "'A': write small letters."),
        ({"name": 3}, "name", "must be a text, but 3 was given"),
        ({"name": "a", "size_mib": "64"}, "size_mib", "must be a whole number, but '64' was given"),
        ({"name": "a", "size_mib": 1.5}, "size_mib", "must be a whole number"),
        ({"name": "a", "size_mib": True}, "size_mib", "must be a whole number"),
        ({"name": "a", "size_mib": 4}, "size_mib", "4 MiB is too little"),
        ({"name": "a", "on": 1}, "on", "must be true or false"),
        ({"name": "a", "share": "x"}, "share", "must be a number"),
        ({"name": "a", "size_mb": 64}, "size_mb", "unknown property `size_mb`. Did you mean `size_mib`?"),
        ({"name": "a", "zzz": 64}, "zzz", "Known are: name, size_mib"),
        ({"name": "a", "parts": {}}, "parts", "must be a list"),
        ({"name": "a", "parts": [{"path": "/", "sise": 2}]}, "parts[0].sise", "Did you mean `size`?"),
        ({"name": "a", "parts": [{"path": "/"}, {}]}, "parts[1].path", "`path` is missing"),
        ({"name": "a", "labels": {"k": 1}}, "labels.k", "must be a text"),
    ],
)
def test_check_refuses_with_path_value_and_remedy(rig: Rig, inputs: dict[str, Any], property: str, says: str) -> None:
    _, failures = rig.check(**inputs)
    assert says in failures[property]
    assert len(failures) == 1


def test_check_never_shows_a_secret(rig: Rig) -> None:
    # The engine prints the value of a property that a failure names: a secret one is named in the reason only.
    said = rig.check(name="a", token=77)[1]
    assert list(said) == [""] and said[""].startswith("`token`: must be a text") and "77" not in said[""]
    long = rig.check(name="X" * 300)[1]
    assert list(long) == [""] and long[""].startswith("`name`: ")
    answer = rig.stub.Check(
        provider_pb2.CheckRequest(
            urn=URN, type=Thing.token, news=encode({"name": "a", "size_mib": "hush"}, ["size_mib"])
        )
    )
    assert answer.failures[0].property == "" and "hush" not in answer.failures[0].reason
    nested = rig.stub.Check(
        provider_pb2.CheckRequest(
            urn=URN, type=Thing.token, news=encode({"name": "a", "parts": [{"path": 4711}]}, ["parts"])
        )
    )
    assert nested.failures[0].property == "" and "4711" not in nested.failures[0].reason


def test_check_accepts_unknowns_anywhere(rig: Rig) -> None:
    inputs, failures = rig.check(name=UNKNOWN, size_mib=UNKNOWN, parts=[{"path": UNKNOWN}], labels=UNKNOWN)
    assert failures == {}
    assert inputs["size_mib"] is UNKNOWN and inputs["parts"] == [{"path": UNKNOWN, "size": 1}]


def test_inputs_marked_secret_stay_secret(rig: Rig) -> None:
    answer = rig.stub.Check(provider_pb2.CheckRequest(urn=URN, type=Thing.token, news=encode({"name": "a"}, ["name"])))
    assert decode(answer.inputs)[1] == {"name", "token"}


def test_unknown_type_is_refused(rig: Rig) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        rig.stub.Check(provider_pb2.CheckRequest(urn=URN.replace("Thing", "Thin"), news=encode({})))
    assert "no resource type `toy:index:Thin`. It has: toy:index:Thing" in caught.value.details()  # pyright: ignore[reportAttributeAccessIssue]


def test_diff_compares_inputs_with_old_inputs(rig: Rig) -> None:
    inputs, _ = rig.check(name="a")
    same = rig.diff(inputs, inputs)
    assert same.changes == provider_pb2.DiffResponse.DIFF_NONE and not same.detailedDiff
    update = rig.diff(inputs, {**inputs, "size_mib": 128, "labels": {"a b": "c"}})
    assert (
        update.changes == provider_pb2.DiffResponse.DIFF_SOME and not update.replaces and not update.deleteBeforeReplace
    )
    assert {k: v.kind for k, v in update.detailedDiff.items()} == {
        "size_mib": provider_pb2.PropertyDiff.UPDATE,
        'labels["a b"]': provider_pb2.PropertyDiff.ADD,
    }
    assert all(d.inputDiff for d in update.detailedDiff.values())
    replace = rig.diff(inputs, {**inputs, "name": "b"})
    assert list(replace.replaces) == ["name"] and replace.deleteBeforeReplace
    assert replace.detailedDiff["name"].kind == provider_pb2.PropertyDiff.UPDATE_REPLACE


def test_diff_with_an_unknown_says_what_could_happen(rig: Rig) -> None:
    inputs, _ = rig.check(name="a")
    assert list(rig.diff(inputs, {**inputs, "name": UNKNOWN}).replaces) == ["name"]
    update = rig.diff(inputs, {**inputs, "size_mib": UNKNOWN})
    assert list(update.diffs) == ["size_mib"] and not update.replaces


def test_diff_names_list_items(rig: Rig) -> None:
    inputs, _ = rig.check(name="a", parts=[{"path": "/x"}, {"path": "/y"}])
    answer = rig.diff(inputs, {**inputs, "parts": [{"path": "/x", "size": 2}]})
    assert set(answer.detailedDiff) == {"parts[0].size", "parts[1]"}
    assert answer.detailedDiff["parts[1]"].kind == provider_pb2.PropertyDiff.DELETE


def test_a_new_property_with_its_default_touches_nothing_old() -> None:
    old = {"name": "a"}
    assert differences(old, {"name": "a", "size_mib": 64}, Thing.schema) == []
    assert [c.path for c in differences(old, {"name": "a", "size_mib": 65}, Thing.schema)] == ["size_mib"]


def test_create_returns_inputs_and_outputs_with_secrets_marked(rig: Rig) -> None:
    made = rig.create(("labels",), name="a", labels={"x": "y"})
    values, secrets = decode(made.properties)
    assert made.id == "a"
    assert values["address"] == "10.0.0.1" and values["labels"] == {"x": "y"} and values["size_mib"] == 64
    assert secrets == {"labels", "token", "key"}
    assert rig.thing.seen[-1][1]["labels"] == {"x": "y"}, "handlers get plain values"


def test_create_in_a_preview_touches_nothing(rig: Rig) -> None:
    made = rig.create(preview=True, name="a", size_mib=UNKNOWN)
    values, _ = decode(made.properties)
    assert (
        values["address"] is UNKNOWN
        and values["key"] is UNKNOWN
        and values["size_mib"] is UNKNOWN
        and values["name"] == "a"
    )
    assert rig.thing.seen == []


def test_expected_failure_is_its_message(rig: Rig) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        rig.create(name="refused")
    assert caught.value.details() == "refused: the quota is used up. Ask for more."  # pyright: ignore[reportAttributeAccessIssue]


def test_bug_is_one_line_with_its_traceback_in_a_file(rig: Rig, tmp_path: Path) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        rig.create(name="bug")
    said = caught.value.details()  # pyright: ignore[reportAttributeAccessIssue]
    assert said.startswith("a bug in the provider `toy`: KeyError: 'boom'") and "\n" not in said
    log = tmp_path / "provider-toy.log"
    assert str(log) in said
    assert "Traceback" in log.read_text() and URN in log.read_text()


def test_half_made_resource_is_recorded(rig: Rig) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        rig.create(name="half")
    detail = partial(caught.value)
    assert (detail.id, list(detail.reasons)) == ("half", ["not healthy", "at all"])
    values, secrets = decode(detail.properties)
    assert values["address"] == "10.0.0.9" and values["name"] == "half" and "token" in secrets
    assert decode(detail.inputs)[0]["name"] == "half"


def read(rig: Rig, id: str, inputs: Mapping[str, Any]) -> Any:
    request = provider_pb2.ReadRequest(
        id=id, urn=URN, type=Thing.token, inputs=encode(inputs), properties=encode(inputs)
    )
    return rig.stub.Read(request)


def test_read_sees_drift_loss_and_illness(rig: Rig) -> None:
    rig.create(name="a")
    inputs, _ = rig.check(name="a")
    assert decode(read(rig, "a", inputs).inputs)[0] == inputs
    rig.thing.real["a"]["size_mib"] = 8
    drifted = read(rig, "a", inputs)
    assert decode(drifted.inputs)[0]["size_mib"] == 8 and decode(drifted.properties)[0]["size_mib"] == 8
    assert decode(drifted.properties)[1] == {"key", "token"}
    rig.thing.real["a"]["ill"] = True
    with pytest.raises(grpc.RpcError) as caught:
        read(rig, "a", inputs)
    assert partial(caught.value).id == "a" and list(partial(caught.value).reasons) == ["ill"]
    del rig.thing.real["a"]
    assert read(rig, "a", inputs).id == ""


def update(rig: Rig, old: Mapping[str, Any], new: Mapping[str, Any], *, preview: bool = False) -> Any:
    state = encode({**old, "address": "10.0.0.1", "key": "k"}, ["key"])
    request = provider_pb2.UpdateRequest(
        id="a", urn=URN, type=Thing.token, olds=state, old_inputs=encode(old), news=encode(new), preview=preview
    )
    return rig.stub.Update(request)


def test_update_and_its_preview(rig: Rig) -> None:
    inputs, _ = rig.check(name="a")
    news = {**inputs, "size_mib": 128}
    seen, _ = decode(update(rig, inputs, news, preview=True).properties)
    assert seen["address"] == "10.0.0.1" and seen["key"] is UNKNOWN and rig.thing.seen == []
    values, secrets = decode(update(rig, inputs, news).properties)
    assert values["key"] == "k2" and values["size_mib"] == 128 and secrets == {"key", "token"}
    old_inputs, old_state, given = rig.thing.seen[-1][1]
    assert (old_inputs["size_mib"], old_state["key"], given["size_mib"]) == (64, "k", 128)


def test_partly_failed_update_is_recorded_with_the_new_inputs(rig: Rig) -> None:
    inputs, _ = rig.check(name="a")
    with pytest.raises(grpc.RpcError) as caught:
        update(rig, inputs, {**inputs, "size_mib": 99})
    detail = partial(caught.value)
    assert decode(detail.inputs)[0]["size_mib"] == 99
    assert decode(detail.properties)[0]["address"] == "10.0.0.1"


def test_cancel_ends_what_runs(rig: Rig) -> None:
    started = time.monotonic()

    def create() -> None:
        with pytest.raises(grpc.RpcError):
            rig.create(name="slow")

    call = threading.Thread(target=create)
    call.start()
    while not rig.thing.seen:
        time.sleep(0.01)
    rig.stub.Cancel(provider_pb2_grpc.google_dot_protobuf_dot_empty__pb2.Empty())
    call.join(5)
    assert not call.is_alive() and time.monotonic() - started < 5


def test_messages_reach_the_engine(rig: Rig) -> None:
    rig.create(name="a")
    status, warning = rig.engine.messages
    assert (status.message, status.ephemeral, status.urn) == ("making it", True, URN)
    assert (warning.message, warning.ephemeral, warning.severity) == ("a warning", False, engine_pb2.WARNING)


def test_attaching_moves_the_messages(rig: Rig) -> None:
    rig.servicer.log = EngineLog()
    rig.create(name="a")
    assert rig.engine.messages == []
    address = "127.0.0.1:1"
    rig.stub.Attach(plugin_pb2.PluginAttach(address=address))
    rig.create(name="b")  # nobody listens there: the work goes on


def test_configuration_is_refused(rig: Rig) -> None:
    answer = rig.stub.CheckConfig(provider_pb2.CheckRequest(urn=URN, news=encode({"region": "x", "version": "1"})))
    assert [f.property for f in answer.failures] == ["region"]
    configured = rig.stub.Configure(provider_pb2.ConfigureRequest(args=encode({})))
    assert configured.acceptSecrets and configured.supportsPreview
    assert rig.stub.GetPluginInfo(provider_pb2_grpc.google_dot_protobuf_dot_empty__pb2.Empty()).version == "1.2.3"


def test_a_function_answers_and_marks_its_secrets(rig: Rig) -> None:
    given = {"name": "a", "filters": [{"anything": 1}, "at all"]}
    answer = rig.stub.Invoke(provider_pb2.InvokeRequest(tok=Lookup.token, args=encode(given)))
    results, secrets = decode(getattr(answer, "return"))
    assert results == {"found": "a", "filters": given["filters"], "key": "k"} and secrets == {"key"}


def test_a_function_refuses_what_it_does_not_know(rig: Rig) -> None:
    answer = rig.stub.Invoke(provider_pb2.InvokeRequest(tok=Lookup.token, args=encode({"nam": "a"})))
    assert {f.property for f in answer.failures} == {"nam", "name"}
    with pytest.raises(grpc.RpcError, match="there is no `nobody`"):
        rig.stub.Invoke(provider_pb2.InvokeRequest(tok=Lookup.token, args=encode({"name": "nobody"})))
    with pytest.raises(grpc.RpcError, match=r"no function `toy:index:other`\. It has: toy:index:lookup"):
        rig.stub.Invoke(provider_pb2.InvokeRequest(tok="toy:index:other", args=encode({})))


def test_check_hands_on_the_seed_for_generated_names(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[bytes] = []

    def check(ctx: Context, *_: Any) -> Any:
        seeds.append(ctx.random_seed)
        return {}, []

    monkeypatch.setattr(rig.thing, "check", check)
    rig.stub.Check(provider_pb2.CheckRequest(urn=URN, type=Thing.token, randomSeed=b"seed"))
    assert seeds == [b"seed"]


PLUGIN = ROOT / "providers" / "localcloud" / "pulumi-resource-localcloud"


def start_plugin(*arguments: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PULUMI_PYTHON_CMD": sys.executable}
    return subprocess.Popen(
        [str(PLUGIN), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )


def test_plugin_prints_its_port_and_serves() -> None:
    process = start_plugin()
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = provider_pb2_grpc.ResourceProviderStub(channel)
            request = provider_pb2.CheckRequest(
                urn="urn:pulumi:demo::p::localcloud:index:Network::n",
                news=encode({"stack": "demo", "name": "net", "cidr": "10.1.2.0/33"}),
            )
            assert "10.1.2.0/33" in stub.Check(request, timeout=30).failures[0].reason
    finally:
        process.terminate()
        process.wait(5)
        process.stdout.close()  # pyright: ignore[reportOptionalMemberAccess]
        process.stderr.close()  # pyright: ignore[reportOptionalMemberAccess]


def test_start_imports_nothing_heavy() -> None:
    """Each costs 0.1 to 0.7 s at every start; they are imported where they are needed."""
    code = "import sys, providers.localcloud.provider; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "grpc" in loaded
    assert not loaded & {"docker", "requests", "pydantic", "rich", "yaml", "http.client", "pulumi", "pulumi.runtime"}


def test_plugin_without_its_engine_ends() -> None:
    process = start_plugin("127.0.0.1:1")
    _, said = process.communicate(timeout=30)
    assert process.returncode != 0 and "no Pulumi engine answers at 127.0.0.1:1" in said
