"""``python -m jobs``: sets itself up in a fresh clone, then is the command line of Nightlift."""

import sys

from jobs.runtime import bootstrap

if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    try:
        bootstrap.ensure(words[0] if words else "")
    except bootstrap.CannotSetUp as problem:
        sys.stderr.write("error: %s\n" % problem)
        sys.exit(3)
    from jobs.runtime.cli import main

    main()
