"""Runs a Python module as `python -m` does, but from nothing that the user's current directory holds.

    python -P -E /path/to/gwlbemu/programs/start.py [--user=ID] FOLDER MODULE [ARGUMENT...]

`gwlbemu` and `appliances` are those that this file belongs to, whatever else of that name could be found; the standard
library is Python's own. FOLDER (or "": none) is looked in last, for a module that a user keeps beside his topology. ID
is the user that a module of ours becomes when it has opened everything (`ports.privileges`).
"""

import os
import runpy
import sys
from importlib.util import module_from_spec, spec_from_file_location


def _fix(name: str, folder: str) -> None:
    """Import the package `name` from `folder`, so that no other of that name is ever looked for."""
    spec = spec_from_file_location(name, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder])
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)


def main() -> None:
    """Run the module that the command line names, as `__main__` and with the arguments behind its name."""
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    _fix("gwlbemu", ours)
    _fix("appliances", os.path.join(os.path.dirname(ours), "appliances"))
    if sys.argv[1].startswith("--user="):
        from gwlbemu.ports import privileges

        privileges.become(int(sys.argv.pop(1).removeprefix("--user=")))
    folder, module = sys.argv[1:3]
    if folder:
        sys.path.append(folder)
    del sys.argv[1:3]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
