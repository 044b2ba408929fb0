"""Native code in a process of its own, so that its faults end that process and not the run (DESIGN §7).

The caller holds a ``Child``; the process runs ``serve`` on an object and answers its methods' calls, one
after the other, until its input ends.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import IO, Any, Self

_LENGTH = struct.Struct("<Q")


class ChildError(RuntimeError):
    """The process ended, or could not answer; the message says how."""


class Child:
    """A process that serves an object; a context manager, which ends it.

    program: the function without arguments that it runs, as ``module:name``. environment: beside this
    process's own. title: what it is, in messages.
    """

    def __init__(self, program: str, environment: Mapping[str, str], title: str) -> None:
        module, name = program.split(":")
        path = os.pathsep.join(p for p in sys.path if p)
        self.title = title
        self.words = tempfile.TemporaryFile()  # noqa: SIM115 (closed in __exit__)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"from {module} import {name}; {name}()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.words,
            env={**os.environ, **environment, "PYTHONPATH": path},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # it has ended already; wait() reaps it
                    pipe.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.words.close()

    def _call(self, method: str, *arguments: Any) -> Any:
        """What the method of the served object returned. ChildError if the process ended before it had
        answered, with the last words it wrote; ``_refused`` where the method raised."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            _send(self.process.stdin, (method, arguments))
            good, answer = _receive(self.process.stdout)
        except (BrokenPipeError, EOFError):
            raise ChildError(self._end()) from None
        if not good:
            raise self._refused(answer)
        return answer

    def _refused(self, answer: str) -> RuntimeError:
        return ChildError(f"{self.title} failed: {answer}")

    def _end(self) -> str:
        code = self.process.wait()
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        self.words.seek(0)
        last = self.words.read().decode(errors="replace").strip().splitlines()[-1:]
        said = f"; its last words: {last[0]}" if last else ""
        return f"the process of {self.title} {how}{said}"


def serve(target: object, told: tuple[type[Exception], ...] = ()) -> None:
    """The child: answers calls of ``target`` until its input ends. Only answers reach its standard output.

    told: errors whose message is the whole answer; of any other the type is said too.
    """
    inlet = os.fdopen(os.dup(0), "rb")
    outlet = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        try:
            method, arguments = _receive(inlet)
        except EOFError:
            return
        try:
            reply = (True, getattr(target, method)(*arguments))
        except told as error:
            reply = (False, str(error))
        except Exception as error:
            reply = (False, f"{type(error).__name__}: {error}")
        _send(outlet, reply)


def _send(pipe: IO[bytes], what: Any) -> None:
    data = pickle.dumps(what, protocol=5)
    pipe.write(_LENGTH.pack(len(data)) + data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> Any:
    """One message. Both ends are this program, so unpickling is safe."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    size = _LENGTH.unpack(head)[0]
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return pickle.loads(data)
