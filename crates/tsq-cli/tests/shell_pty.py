"""Types into `tsq shell` in a pseudo-terminal, as a person would. Arguments: the binary, a data directory, a directory
for the history. Run by tests/shell.rs, which made the data."""

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time

PATIENCE_S = 120
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r")
CTRL_C, CTRL_D, UP = "\x03", "\x04", "\x1b[A"


class Shell:
    def __init__(self, binary, data, state):
        env = {"TERM": "xterm-256color", "XDG_STATE_HOME": state, "PATH": os.environ["PATH"]}
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execve(binary, [binary, "shell", "-o", "csv", data], env)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
        self.raw = ""
        self.expect("tsq> ")

    def type(self, text):
        os.write(self.terminal, text.encode())

    def run(self, command):
        """A command that says nothing: what comes behind it is typed when it is done."""
        self.type(command + f"; {len(command)} + 0.5\r")
        self.expect(f"Z,{len(command)}.5\n")
        self.expect("tsq> ")

    def expect(self, text):
        """Waits for a text; what is shown behind it is left for the next call."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            shown = ESCAPES.sub("", self.raw)
            if text in shown:
                self.raw = shown.split(text, 1)[1]
                return
            if time.monotonic() > deadline:
                sys.exit(f"{text!r} does not appear in {shown!r}")
            if select.select([self.terminal], [], [], 0.1)[0]:
                try:
                    self.raw += os.read(self.terminal, 65536).decode(errors="replace")
                except OSError:
                    sys.exit(f"the shell ended while {text!r} was expected in {shown!r}")

    def until_it_runs(self):
        """Waits until the line editor has given back the terminal: Ctrl-C is a signal then."""
        deadline = time.monotonic() + PATIENCE_S
        while not termios.tcgetattr(self.terminal)[3] & termios.ISIG:
            if time.monotonic() > deadline:
                sys.exit("the query does not start")
            time.sleep(0.005)

    def leave(self):
        self.type(CTRL_D)
        while True:
            try:
                if not os.read(self.terminal, 65536):
                    break
            except OSError:
                break
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code != 0:
            sys.exit(f"the shell ended with {code}")


def main(binary, data, state):
    shell = Shell(binary, data, state)

    shell.run(".instant 1700000000")
    shell.type("sum(reque\t")
    shell.expect("sum(requests_total")
    shell.type(")\r")
    shell.expect("Z,3\n")
    shell.expect("tsq> ")

    shell.type('requests_total{job="w\t')
    shell.expect('job="web"')
    shell.type("}\r")
    shell.expect("requests_total,web,2023-11-14T22:13:20Z,2\n")
    shell.expect("tsq> ")

    shell.type("max(\r")
    shell.type("requests_total\r")
    shell.type(")\r")
    shell.expect("Z,2\n")
    shell.expect("tsq> ")

    shell.type("up up\r")
    shell.expect("error: 1:4: parse error")
    shell.expect("\n     ^")
    shell.expect("tsq> ")

    shell.type(".range 0 1100000 100; ")
    shell.type("quantile_over_time(0.5, vector(time())[1d:1s])\r")
    shell.until_it_runs()
    shell.type(CTRL_C)
    shell.expect("query was canceled")
    shell.expect("tsq> ")

    shell.run(".instant 1")
    shell.type("not_run(" + CTRL_C)
    shell.expect("tsq> ")
    shell.type("6 * 7\r")
    shell.expect("Z,42\n")
    shell.expect("tsq> ")
    shell.leave()

    shell = Shell(binary, data, state)
    shell.type(UP)
    shell.expect("6 * 7")
    shell.type("\r")
    shell.expect("Z,42\n")
    shell.expect("tsq> ")
    shell.leave()


main(*sys.argv[1:])
