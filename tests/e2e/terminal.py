"""A program on a terminal of its own: what a person would see and type."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z~]")


class Terminal:
    def __init__(self, argv, env, columns=100, lines=30):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(argv[0], argv, env)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.data = b""  # everything that came so far
        self.seen = 0    # where the next expect() begins to look
        self.status = None

    def _read(self, timeout):
        """False at the end of the output."""
        ready, _, _ = select.select([self.fd], [], [], timeout)
        if not ready:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.data += data
        return bool(data)

    def send(self, text):
        os.write(self.fd, text if isinstance(text, bytes) else text.encode())

    def expect(self, text, timeout=30):
        """Waits until `text` appears after what was expected before; what stood in front of it."""
        wanted, end = text.encode(), time.monotonic() + timeout
        while True:
            at = self.data.find(wanted, self.seen)
            if at >= 0:
                before = self.data[self.seen:at]
                self.seen = at + len(wanted)
                return before.decode("utf-8", "replace")
            if time.monotonic() > end or not self._read(0.05):
                raise AssertionError(f"{text!r} did not come; there was {self.data[self.seen:]!r}")

    def expect_prompt(self):
        """Waits for the prompt of a chat; what stood in front of it. The editor sets the terminal just before it
        shows the prompt, so what is sent afterwards is read by it."""
        before = self.expect("\x1b[?2004h")
        self.expect(">")
        return before

    def wait(self, timeout=30):
        """Waits for the end; the exit code."""
        end = time.monotonic() + timeout
        while self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                raise AssertionError(f"still running; there was {self.data[self.seen:]!r}")
            else:
                self._read(0.02)
        while self._read(0):
            if not select.select([self.fd], [], [], 0)[0]:
                break
        return self.status

    def rest(self):
        return self.data[self.seen:].decode("utf-8", "replace")

    def close(self):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.status = -signal.SIGKILL
        os.close(self.fd)


def plain(text):
    """Without escape sequences and carriage returns."""
    return ESCAPES.sub("", text).replace("\r", "")
