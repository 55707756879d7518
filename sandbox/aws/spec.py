"""How a resource type of the provider `aws` maps to calls of the AWS API: the words in which the tables are written.

A `Spec` says how one type is made, looked at, changed and deleted. Names that agree but for case (`cidrBlock`,
`CidrBlock`) are matched by `sandbox/aws/convert.py` against botocore's model of the call; the tables name only what
differs. What a table does not mention, the stand-in refuses: nothing is accepted and then ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

PROVIDER_DOCS = "https://registry.terraform.io/providers/hashicorp/aws/latest/docs/resources/"
"""The official provider is built on this one; which changes need a new resource comes from its pages and source."""


@dataclass(frozen=True)
class In:
    """An input's value, given to `via` where there is one. Absent inputs are left out of the call."""

    name: str
    via: Callable[[Any], Any] | None = None
    default: Any = None


@dataclass(frozen=True)
class Out:
    """A recorded output's value."""

    name: str


class _Word:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


ID = _Word("ID")
"""The resource's id."""
TAGS = _Word("TAGS")
"""All tags, as the list of keys and values that most services take."""
TAG_MAP = _Word("TAG_MAP")
"""All tags as a map."""
TAG_KEYS = _Word("TAG_KEYS")
"""Keys of the tags to take away."""
ACCOUNT = _Word("ACCOUNT")
TOKEN = _Word("TOKEN")
"""A unique text, the same for each repetition of one creation."""


@dataclass(frozen=True)
class Call:
    """One call of the API.

    `take`: inputs that go in under their own names (matched but for case and plural), separated by spaces; `a=B` names
    the parameter. `more`: parameters as a template of `In`, `Out`, `ID`, …; what comes out empty is left out.
    `names`: nested names that differ, `input.path` -> member. `each`: an input that is a list: one call an item, which
    is `In("item")` in the template. `when`: an input that must be given (and not false) for the call to be made.
    """

    service: str
    operation: str
    more: Mapping[str, Any] = field(default_factory=dict)
    take: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    when: str = ""
    missing: tuple[str, ...] = ()
    """Error codes that mean: it is not there. For looks: nothing found; for deletions: done."""
    each: str = ""


Step = Call | Callable[[Any], Any]
"""A call, or a function of the running call's scope (sandbox/aws/engine.py) where one call does not do."""


@dataclass(frozen=True)
class Look:
    """One call that shows the resource, or a part of it. `path`: JMESPath to the part in the answer, or a function of
    answer and scope; `under`: the key under which the part is put ("" for the resource itself)."""

    call: Call
    path: str | Callable[[Any, Any], Any]
    under: str = ""


@dataclass(frozen=True)
class Update:
    """Calls that bring a change of `inputs` (separated by spaces) into being. `create`: also made right after the
    creation, where one of the inputs is given."""

    inputs: str
    calls: tuple[Step, ...]
    create: bool = False


@dataclass(frozen=True)
class Tagging:
    """How tags are changed. They are read at `path` of what `Look` shows, as a list of keys and values or as a map."""

    set: Call | None
    unset: Call | None
    path: str = "Tags"


Refusal = Callable[[Any, Mapping[str, Any]], str | None]
"""Gets the running call's scope (see sandbox/aws/engine.py) and the inputs; returns what is wrong, or None."""


@dataclass(frozen=True)
class Spec:
    """One resource type. See the module's text.

    `id`: JMESPath in the creation's answer, or a template such as `{role}/{name}` of inputs. `seen`: input -> JMESPath
    in what the look shows, a function of it, or None for what cannot be seen. `outputs`: output -> the same.
    `force_new`: inputs (or paths in them) whose change needs a new resource. `kept`: inputs that only the provider
    itself uses. `defaults`: inputs filled in when absent. `computed`: inputs that the service chooses when absent.
    `volatile`: outputs that an update changes. `refuse_create`, `refuse_delete`: what moto accepts wrongly.
    `before_delete`: calls before the deletion, each when it applies.
    """

    type: str
    docs: str
    create: Step
    id: str | Callable[[Any, Any], str]
    looks: tuple[Look, ...]
    delete: Step | None
    updates: tuple[Update, ...] = ()
    tagging: Tagging | None = None
    force_new: str = ""
    seen: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    kept: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    computed: str = ""
    volatile: str = ""
    autoname: str = ""
    """The input that gets a generated name when it is absent (and `namePrefix` gives its beginning)."""
    autoname_max: int = 255
    check: Callable[[Mapping[str, Any]], list[tuple[str, str]]] | None = None
    """Gets the inputs (unknowns in them); returns what is wrong as (property, reason)."""
    check_change: Callable[[Mapping[str, Any], Mapping[str, Any]], list[tuple[str, str]]] | None = None
    """The same for what counts only when it changes: gets the inputs before ({} for a new resource) and now."""
    converts: tuple[Callable[[Any], Any], ...] = ()
    """Functions of the scope that put inputs into the API's form: also run when inputs are checked, unknowns in them."""
    refuse_create: tuple[Refusal, ...] = ()
    refuse_delete: tuple[Refusal, ...] = ()
    before_delete: tuple[Step, ...] = ()
    gone: Callable[[Mapping[str, Any]], bool] | None = None
    """Whether what the look shows is as good as gone (`terminated`, `deleted`)."""
    forces: Callable[[Mapping[str, Any], Mapping[str, Any]], set[str]] | None = None
    """Inputs whose change needs a new resource only sometimes: gets old and new inputs."""
    global_service: bool = False

    @property
    def kind(self) -> str:
        """`Vpc` of `aws:ec2/vpc:Vpc`."""
        return self.type.rpartition(":")[2]


def words(text: str) -> tuple[str, ...]:
    """The names in a text."""
    return tuple(text.split())
