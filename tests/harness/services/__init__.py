"""Real servers on loopback, for tests: installed, started, killed, and started again on the same data.

`kinds.py` has the table of servers; this file knows processes and where things are kept. Standard library
only, so that `tests/services` runs before anything is installed.
"""

from .kinds import SERVICES, Trouble
from .running import Services

__all__ = ["SERVICES", "Services", "Trouble"]
