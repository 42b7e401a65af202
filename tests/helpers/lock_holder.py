"""A process that takes the lock of a folder and holds it, all at the word of who started it."""

import os
import sys
import time

from study.storage.lock import LockedError, StudyLock
from study.storage.storage import Storage


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(folder, lease, waits):
    say("ready")
    sys.stdin.readline()
    try:
        lock = StudyLock(Storage(folder), lease=float(lease))
        with lock.hold(wait=waits != "refuse", note=say):
            say("held")
            if waits == "fork" and os.fork() == 0:
                time.sleep(30)
                os._exit(0)
            sys.stdin.readline()
            say(f"lost: {lock.lost}")
            sys.stdin.readline()
    except LockedError as error:
        say(error)


if __name__ == "__main__":
    main(*sys.argv[1:])
