"""The errors a user can meet; anything else that is raised is a bug and may crash."""


class GwlbemuError(Exception):
    """Base of every error that is reported to the user as one clear sentence."""


class WireError(GwlbemuError):
    """Bytes that are not what they claim to be; in the packet path it is caught in one place and becomes a Drop."""


class TopologyError(GwlbemuError):
    """The user's file is wrong: the text names the file, the key and what was expected."""


class SettingError(GwlbemuError):
    """An attribute or a call that AWS would refuse; `code` is AWS's error code, such as TargetGroupNotFound."""

    def __init__(self, message: str, code: str = "ValidationError") -> None:
        super().__init__(message)
        self.code = code


class NetError(GwlbemuError):
    """The machine refused: the text says what was being tried and what the kernel answered."""


class LabError(GwlbemuError):
    """A lab is not in the state that the command needs (already up, not up, a process is dead)."""
