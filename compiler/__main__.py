"""``python -m tilewright``."""

from tilewright.cli import main

raise SystemExit(main())
