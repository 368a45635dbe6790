"""Trains the bundled model and makes its files: `python tools/train COMMAND`. See README.md beside this file."""

import sys

from cellnet.commands import main

sys.exit(main())
