"""``honed``, as its command starts it, by a name that tests/warm knows."""

from __future__ import annotations

from honed.cli.main import main

if __name__ == "__main__":
    main()
