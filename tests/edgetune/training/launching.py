"""The command line in several processes, started as launchers do: by variables of the environment.

Processes are forks of the tests', which has imported everything that takes seconds; real launchers are for few tests.
"""

import os
import signal
import socket
import sys
import time
import traceback
from types import SimpleNamespace

from edgetune.cli import main


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


class Launch:
    """`Launch(folder, 2, "train", …)`: two processes; what each says on stderr goes into a file of its own.

    `own` gives a process other arguments, by rank; `first` is called in each before it begins.
    """

    def __init__(self, folder, count, *arguments, own=None, first=lambda: None, **environment):
        folder.mkdir(parents=True, exist_ok=True)
        self.said = [folder / f"said-{rank}" for rank in range(count)]
        port = str(free_port())
        self.pids = []
        for rank in range(count):
            given = [str(x) for x in (own or {}).get(rank, arguments)]
            variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
            variables |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, **environment}
            self.pids.append(self.forked(self.said[rank], given, variables if count > 1 else environment, first))

    def forked(self, said, arguments, variables, first):
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            os.environ.update({name: str(value) for name, value in variables.items()})
            signal.signal(signal.SIGINT, signal.default_int_handler)
            with said.open("w") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
            sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
            first()
            main(arguments)
            code = 0
        except SystemExit as ending:
            code = int(ending.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)

    def kill(self, rank, number=signal.SIGKILL):
        os.kill(self.pids[rank], number)

    def ended(self, within=200.0):
        """Exit codes by rank, minus the signal of one that was killed; and the seconds that the last one took."""
        began, codes = time.monotonic(), [None] * len(self.pids)
        while None in codes:
            for rank, pid in enumerate(self.pids):
                if codes[rank] is None and (found := os.waitpid(pid, os.WNOHANG))[0]:
                    codes[rank] = os.waitstatus_to_exitcode(found[1])
            if time.monotonic() - began > within:
                for pid, code in zip(self.pids, codes):
                    if code is None:
                        os.kill(pid, signal.SIGKILL)
                raise AssertionError(f"after {within} s only {codes} had ended; they said {self.told()}")
            time.sleep(0.02)
        return SimpleNamespace(codes=codes, seconds=time.monotonic() - began)

    def told(self):
        """Every line of every process."""
        return [line for said in self.said for line in said.read_text("utf-8").splitlines()]
