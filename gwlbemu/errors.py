"""The errors a user can meet; anything else that is raised is a bug and may crash.

Each has a code for programs, a sentence for people (`str(error)`, without the code) and the exit code that the command
line ends with.
"""

from __future__ import annotations

from typing import ClassVar

# The error codes of the Elastic Load Balancing v2 API (API reference, the "Errors" of its actions, and common errors).
AWS_CODES = frozenset({
    "ALPNPolicyNotFound", "AllocationIdNotFound", "AvailabilityZoneNotSupported", "CertificateNotFound",
    "DuplicateListener", "DuplicateLoadBalancerName", "DuplicateTagKeys", "DuplicateTargetGroupName",
    "HealthUnavailable", "IncompatibleProtocols", "InvalidConfigurationRequest", "InvalidLoadBalancerAction",
    "InvalidScheme", "InvalidSecurityGroup", "InvalidSubnet", "InvalidTarget", "ListenerNotFound",
    "LoadBalancerNotFound", "OperationNotPermitted", "PriorityInUse", "ResourceInUse", "RuleNotFound",
    "SSLPolicyNotFound", "SubnetNotFound", "TargetGroupAssociationLimit", "TargetGroupNotFound", "TooManyActions",
    "TooManyCertificates", "TooManyListeners", "TooManyLoadBalancers", "TooManyRegistrationsForTargetId",
    "TooManyRules", "TooManyTags", "TooManyTargetGroups", "TooManyTargets",
    "TooManyUniqueTargetGroupsPerLoadBalancer", "TrustStoreNotFound", "UnsupportedProtocol", "ValidationError",
})  # fmt: skip


class GwlbemuError(Exception):
    """Base of every error that is reported to the user: `str(error)` is one clear sentence, `code` a word for programs.

    `code` is AWS's error code where AWS has one (see `AwsError`). `exit_code` is what the command line ends with.
    """

    code: str = "Error"
    exit_code: ClassVar[int] = 3


class WireError(GwlbemuError):
    """Bytes that are not what they claim to be; in the packet path it is caught in one place and becomes a Drop.

    `field`, `got` and `expected` are there where one field is to blame (see `of`), else "".
    """

    code = "InvalidBytes"
    field = got = expected = ""

    @classmethod
    def of(cls, field: str, got: object, expected: object) -> WireError:
        """Return the error about one field: "GENEVE version 1, expected 0"."""
        error = cls(f"{field} {got}, expected {expected}")
        error.field, error.got, error.expected = field, str(got), str(expected)
        return error


class TopologyError(GwlbemuError):
    """The user's file is wrong: the text names the file, the key and what was expected."""

    code = "InvalidTopology"


class SettingError(GwlbemuError):
    """A value that was given does not fit: an option, an argument, a request. `code` tells which kind of mistake."""

    code = "InvalidInput"

    def __init__(self, sentence: str, code: str = "") -> None:
        super().__init__(sentence)
        if code:
            self.code = code


class UnknownNameError(SettingError):
    """A name that nothing in the lab has: an instance, a process, a zone. The text names what there is."""

    code = "UnknownName"


class AwsError(SettingError):
    """A call or an attribute that AWS would refuse; `code` is AWS's error code, such as TargetGroupNotFound."""

    code = "ValidationError"


class NetError(GwlbemuError):
    """The machine refused: the text says what was being tried and what the kernel answered."""

    code = "MachineRefused"
    exit_code = 5


class LostSocketError(NetError):
    """A packet socket that does not work any more: no process of packets can go on without."""

    code = "LostSocket"


class LabError(GwlbemuError):
    """A lab is not in the state that the command needs (already up, not up, a process is dead)."""

    code = "WrongLabState"
    exit_code = 4


class TraceGoneError(LabError):
    """A trace that a node does not have (any more): stopped, or not renewed within its lease."""

    code = "TraceNotFound"


def plain(text: str) -> str:
    """Return text of somebody else as one line that a terminal can be given: whatever is not printable is escaped.

    That is what `str.isprintable` refuses: control characters (ESC, C1, newline), overrides of the writing direction,
    lone surrogates. A packet, a capture, a topology file or an appliance's log must not command the user's terminal,
    nor forge a line.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def plain_lines(text: str) -> str:
    """Return text of several lines, each of them `plain`: for output whose newlines are our own."""
    return text if text.isprintable() else "\n".join(map(plain, text.split("\n")))


def refusal(sentence: str, code: str) -> GwlbemuError:
    """Return the error that a process of the lab answered with: `sentence` and `code` as they came over its socket."""
    for kind in (WireError, TopologyError, NetError, LabError, TraceGoneError, UnknownNameError):
        if kind.code == code:
            return kind(sentence)
    return AwsError(sentence, code) if code in AWS_CODES else SettingError(sentence, code)
