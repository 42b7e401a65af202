"""A process that takes the lock of a folder and holds it, all at the word of who started it."""

import sys

from study.lock import LockedError, StudyLock
from study.storage import Storage


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(folder, lease, waits):
    say("ready")
    sys.stdin.readline()
    try:
        lock = StudyLock(Storage(folder), lease=float(lease))
        with lock.held(wait=waits == "wait", note=say):
            say("held")
            sys.stdin.readline()
            say(f"lost: {lock.lost}")
            sys.stdin.readline()
    except LockedError as error:
        say(error)


if __name__ == "__main__":
    main(*sys.argv[1:])
