"""Galaxy's own writer of its map (galaxy-app), and nothing else of Galaxy.

``python galaxy_map.py URL`` reads a JSON list a line: the name of a method and what it is called
with. A line on standard output says that it is done.

The writer uses none of what its module imports from the rest of Galaxy, so that is played here:
installed it would be half a gigabyte.
"""

import json
import sys
from types import ModuleType


def play(name, *attributes):
    """Let there be a module *name* with these in it."""
    module = sys.modules[name] = ModuleType(name)
    for attribute in attributes:
        setattr(module, attribute, type(attribute, (), {}))


play("galaxy.exceptions")
play("galaxy.managers.sse_dispatch", "SSEEventDispatcher")
play("galaxy.model", "InteractiveToolEntryPoint", "Job")
play("galaxy.security")
play("galaxy.security.idencoding", "IdAsLowercaseAlphanumEncodingHelper")

from galaxy.managers.interactivetool import InteractiveToolPropagatorSQLAlchemy  # noqa: E402


class InteractiveToolEntryPoint:
    """An entry point, as far as it is written."""

    def __init__(self, values):
        self.__dict__.update(values)


def main(url):
    """Do what standard input says, until its end."""
    writer = InteractiveToolPropagatorSQLAlchemy(url, lambda number: f"k{number:x}")
    for line in sys.stdin:
        method, values = json.loads(line)
        getattr(writer, method)(InteractiveToolEntryPoint(values))
        sys.stdout.write("done\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
