"""`python -m embedding_collapse`: see `cli`."""

import sys

from .cli import main

sys.exit(main())
