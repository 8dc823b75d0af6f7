"""Where the command begins: from what Python and our packages bring, whatever the current directory or PYTHONPATH hold.

Imports nothing that Python has not loaded by itself before it has put them in their place.
"""

import os
import sys


def main() -> int:
    """Run the command of the process's arguments and return its exit code (see `gwlbemu.cli.main`).

    A signal that ends a command is heard from here on, also while modules are loaded; when the command is over it
    changes nothing more: the process does nothing after this but exit.
    """
    sys.path[:] = demoted(sys.path, os.environ.get("PYTHONPATH", ""))
    import signal

    told: list[int] = []

    def interrupt(number: int, _frame: object) -> None:
        told.append(number)
        raise KeyboardInterrupt

    ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    heard = [each for each in ends if signal.getsignal(each) != signal.SIG_IGN]
    try:
        for number in heard:
            signal.signal(number, interrupt)
        from gwlbemu.cli.main import main

        return main()
    except (KeyboardInterrupt, Exception) as error:
        if not told and not isinstance(error, KeyboardInterrupt):
            raise  # with `told` it may be what Python has made of an interrupt (in __set_name__)
        from contextlib import suppress

        with suppress(OSError):  # nobody reads it
            os.write(2, b"interrupted\n")
        return 130  # as gwlbemu.cli.main has it
    finally:
        for number in heard:
            signal.signal(number, signal.SIG_IGN)


def demoted(path: list[str], python_path: str) -> list[str]:
    """Return `path` with the current directory and the folders of PYTHONPATH behind all others, none left out.

    A `json.py` there is then nobody's json; what only PYTHONPATH has, such as gwlbemu itself, is still found.
    """
    users = {os.path.abspath(each) for each in ("", *filter(None, python_path.split(os.pathsep)))}
    last = [each for each in path if os.path.abspath(each) in users]
    return [each for each in path if each not in last] + last
