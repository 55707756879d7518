"""Pulumi's ResourceProvider service over a `Provider`.

Reference for the protocol: `pulumi.provider.experimental.server` and the engine's `provider_plugin.go`. What that
module does not do and this does: unknowns, old inputs, partial failures, cancellation, attaching.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import grpc
from google.protobuf import empty_pb2, struct_pb2

from providers.base.bugs import record_bug
from providers.base.engine import EngineLog
from providers.base.errors import CheckFailure, PartialFailure, ProviderError
from providers.base.handler import Context, Handler, Provider
from providers.base.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2
from providers.base.schema import top_level
from providers.base.values import decode, encode

_Response = TypeVar("_Response")
LONGEST_SHOWN = 200
"""Characters of a refused value that are worth showing: user-data and settings are longer."""

_KINDS = {
    ("add", False): "ADD",
    ("add", True): "ADD_REPLACE",
    ("delete", False): "DELETE",
    ("delete", True): "DELETE_REPLACE",
    ("update", False): "UPDATE",
    ("update", True): "UPDATE_REPLACE",
}


class Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """One process serves one engine; calls come in parallel on a thread pool."""

    def __init__(self, provider: Provider, log: EngineLog) -> None:
        self.provider = provider
        self.log = log
        self.cancel = threading.Event()

    # --- the plugin itself

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return plugin_pb2.PluginInfo(version=self.provider.version)

    def Attach(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.log.connect(request.address)
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.cancel.set()
        return empty_pb2.Empty()

    def GetSchema(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return provider_pb2.GetSchemaResponse(schema="{}")

    def CheckConfig(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        def run() -> Any:
            news, _ = decode(request.news)
            failures = self.provider.check_config(self._context(request), news)
            inputs = struct_pb2.Struct()
            inputs.CopyFrom(request.news)
            inputs.MergeFrom(encode(self.provider.mark()))
            return provider_pb2.CheckResponse(inputs=inputs, failures=_failures(failures, news, frozenset()))

        return self._answer(context, request, run)

    def DiffConfig(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        # A provider of ours keeps nothing from its configuration, so a change never replaces resources.
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        def run() -> Any:
            self.provider.configure(decode(request.args)[0])
            return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

        return self._answer(context, request, run)

    # --- functions

    def Invoke(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        def run() -> Any:
            function = self.provider.function(request.tok)
            if function is None:
                known = ", ".join(f.token for f in self.provider.functions) or "none"
                raise ProviderError(
                    f"the provider `{self.provider.name}` has no function `{request.tok}`. It has: {known}."
                )
            given, secrets = decode(request.args)
            hidden = frozenset(secrets | function.schema.secret_names())
            arguments, wrong = function.schema.check(given, hidden)
            if wrong:
                return provider_pb2.InvokeResponse(failures=_failures(wrong, given, hidden))
            results = function.invoke(Context(urn="", log=self.log, cancel=self.cancel), arguments)
            answer = provider_pb2.InvokeResponse()
            # The protocol's name of this field is no name in Python.
            getattr(answer, "return").CopyFrom(encode(results, function.secret_results))
            return answer

        return self._answer(context, request, run)

    # --- resources

    def Check(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        def run() -> Any:
            handler = self.provider.handler(_token(request))
            if handler is None:
                known = ", ".join(h.token for h in self.provider.handlers)
                raise ProviderError(
                    f"the provider `{self.provider.name}` has no resource type `{_token(request)}`. It has: {known}."
                )
            news, secrets = decode(request.news)
            olds, _ = decode(request.olds)
            hidden = frozenset(secrets | handler.schema.secret_names())
            inputs, failures = handler.check(self._context(request), olds, news, hidden)
            return provider_pb2.CheckResponse(inputs=encode(inputs, hidden), failures=_failures(failures, news, hidden))

        return self._answer(context, request, run)

    def Diff(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        def run() -> Any:
            handler = self._handler(request)
            old_state, _ = decode(request.olds)
            old_inputs, _ = decode(request.old_inputs) if request.HasField("old_inputs") else (old_state, set())
            news, _ = decode(request.news)
            changes = handler.diff(self._context(request), request.id, old_inputs, old_state, news)
            detailed = {
                c.path: provider_pb2.PropertyDiff(
                    kind=provider_pb2.PropertyDiff.Kind.Value(_KINDS[c.kind, c.replace]), inputDiff=True
                )
                for c in changes
            }
            replaces = list(dict.fromkeys(c.top for c in changes if c.replace))
            some, none = provider_pb2.DiffResponse.DIFF_SOME, provider_pb2.DiffResponse.DIFF_NONE
            return provider_pb2.DiffResponse(
                changes=some if changes else none,
                diffs=list(dict.fromkeys(c.top for c in changes)),
                replaces=replaces,
                stables=sorted(handler.stable_outputs),
                deleteBeforeReplace=bool(replaces) and handler.deletes_first(old_inputs, news),
                detailedDiff=detailed,
                hasDetailedDiff=True,
            )

        return self._answer(context, request, run)

    def Create(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        def run() -> Any:
            handler = self._handler(request)
            inputs, secrets = decode(request.properties)
            ctx = self._context(request)
            if request.preview:
                outputs = handler.preview_create(ctx, inputs)
                return provider_pb2.CreateResponse(id="", properties=_state(handler, inputs, outputs, secrets))
            try:
                made = handler.create(ctx, inputs)
            except PartialFailure as failure:
                if not failure.id:
                    raise
                raise _partial(
                    failure, _state(handler, inputs, failure.outputs, secrets), request.properties
                ) from failure
            return provider_pb2.CreateResponse(id=made.id, properties=_state(handler, inputs, made.outputs, secrets))

        return self._answer(context, request, run)

    def Read(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        def run() -> Any:
            handler = self._handler(request)
            inputs, input_secrets = decode(request.inputs)
            state, state_secrets = decode(request.properties)
            seen = handler.read(self._context(request), request.id, inputs, state)
            if seen is None:
                return provider_pb2.ReadResponse()
            inputs.update(seen.inputs)
            secrets = input_secrets | state_secrets
            properties = _state(handler, inputs, seen.outputs, secrets)
            encoded = encode(inputs, input_secrets | handler.schema.secret_names())
            id = seen.id or request.id
            if seen.unhealthy:
                raise _partial(PartialFailure(seen.unhealthy, id=id), properties, encoded)
            return provider_pb2.ReadResponse(id=id, properties=properties, inputs=encoded)

        return self._answer(context, request, run)

    def Update(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        def run() -> Any:
            handler = self._handler(request)
            old_state, old_secrets = decode(request.olds)
            old_inputs, _ = decode(request.old_inputs) if request.HasField("old_inputs") else (old_state, set())
            news, secrets = decode(request.news)
            secrets |= {name for name in old_secrets if name not in news}
            ctx = self._context(request)
            if request.preview:
                outputs = handler.preview_update(ctx, request.id, old_inputs, old_state, news)
                return provider_pb2.UpdateResponse(properties=_state(handler, news, outputs, secrets))
            try:
                outputs = handler.update(ctx, request.id, old_inputs, old_state, news)
            except PartialFailure as failure:
                known = {name: old_state[name] for name in handler.outputs if name in old_state} | failure.outputs
                raise _partial(failure, _state(handler, news, known, secrets), request.news) from failure
            return provider_pb2.UpdateResponse(properties=_state(handler, news, outputs, secrets))

        return self._answer(context, request, run)

    def Delete(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        def run() -> Any:
            state, _ = decode(request.properties)
            inputs, _ = decode(request.old_inputs) if request.HasField("old_inputs") else (state, set())
            self._handler(request).delete(self._context(request), request.id, inputs, state)
            return empty_pb2.Empty()

        return self._answer(context, request, run)

    # --- shared

    def _context(self, request: Any) -> Context:
        return Context(
            urn=request.urn,
            log=self.log,
            preview=bool(getattr(request, "preview", False)),
            timeout_s=float(getattr(request, "timeout", 0.0)),
            cancel=self.cancel,
            random_seed=bytes(getattr(request, "randomSeed", b"")),
        )

    def _handler(self, request: Any) -> Handler:
        handler = self.provider.handler(_token(request))
        if handler is None:
            raise ProviderError(
                f"the state holds a `{_token(request)}`, which this version of the provider `{self.provider.name}` does not know. "
                "Update the checkout, or remove it from the state with `pulumi state delete`."
            )
        return handler

    def _answer(self, context: grpc.ServicerContext, request: Any, run: Callable[[], _Response]) -> _Response:
        """Run a call; an expected failure becomes its message, a bug a short message and a traceback in the log file."""
        try:
            return run()
        except ProviderError as error:
            context.abort(grpc.StatusCode.UNKNOWN, str(error))
        except _Partial as partial:
            context.set_trailing_metadata((("grpc-status-details-bin", partial.status),))
            context.abort(grpc.StatusCode.UNKNOWN, str(partial))
        except Exception as error:  # noqa: BLE001  (every bug must reach the admin as one line)
            where = record_bug(self.provider.name, getattr(request, "urn", ""), error)
            context.abort(
                grpc.StatusCode.INTERNAL,
                f"a bug in the provider `{self.provider.name}`: {type(error).__name__}: {error}. Its details are in {where}.",
            )
        raise AssertionError("unreachable")


class _Partial(Exception):
    """A partial failure on its way to the engine: the status details, encoded."""

    def __init__(self, message: str, status: bytes) -> None:
        super().__init__(message)
        self.status = status


def _partial(failure: PartialFailure, properties: Any, inputs: Any) -> _Partial:
    """Tells the engine: it exists, record it, but it failed (ErrorResourceInitFailed in the status details)."""
    detail = provider_pb2.ErrorResourceInitFailed(
        id=failure.id, properties=properties, reasons=failure.reasons, inputs=inputs
    )
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(failure))
    status.details.add().Pack(detail)
    return _Partial(str(failure), status.SerializeToString())


def _token(request: Any) -> str:
    """The resource's type token: given by newer engines, else in the URN (urn:pulumi:stack::project::parent$type::name)."""
    return str(request.type or request.urn.split("::")[2].rpartition("$")[2])


def _failures(
    failures: Iterable[CheckFailure], news: Mapping[str, Any], hidden: frozenset[str]
) -> list[provider_pb2.CheckFailure]:
    """As the engine wants them. The engine prints the value of the property that a failure names, a secret one as well
    and however long: such a property is named in the reason instead."""
    answer: list[provider_pb2.CheckFailure] = []
    for failure in failures:
        quiet = top_level(failure.property) in hidden or len(str(news.get(failure.property, ""))) > LONGEST_SHOWN
        name, reason = ("", f"`{failure.property}`: {failure.reason}") if quiet else (failure.property, failure.reason)
        answer.append(provider_pb2.CheckFailure(property=name, reason=reason))
    return answer


def _state(handler: Handler, inputs: Mapping[str, Any], outputs: Mapping[str, Any], secrets: set[str]) -> Any:
    """The recorded outputs: inputs and outputs together, secrets marked."""
    return encode({**inputs, **outputs}, secrets | handler.schema.secret_names() | handler.secret_outputs)
