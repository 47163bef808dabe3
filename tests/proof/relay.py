"""A TCP relay on the loopback: `python -m tests.proof.relay PORT`, the fixed address of servers that take turns.

It reads commands from its standard input and answers each with a line: `to 5433` sends new connections there and cuts
the earlier ones, `cut` cuts all and refuses new ones. It ends with its standard input.
"""

import asyncio
import sys
from contextlib import suppress

HOST = "127.0.0.1"
CHUNK_BYTES = 65536


class Relay:
    """The connections, and the port that new ones go to."""

    def __init__(self) -> None:
        self._port = 0  # 0: refuse
        self._switches = 0
        self._open: set[asyncio.StreamWriter] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        switches = self._switches
        try:
            there_reader, there_writer = await asyncio.open_connection(HOST, self._port or 1)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, there_writer}
        if switches != self._switches:  # it was cut while it was being opened
            for end in ends:
                end.transport.abort()
            return
        self._open |= ends
        copies = [asyncio.create_task(_copy(reader, there_writer)), asyncio.create_task(_copy(there_reader, writer))]
        _, unfinished = await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        for copy in unfinished:
            copy.cancel()
        self._open -= ends
        for end in ends:
            end.transport.abort()

    def switch(self, port: int) -> None:
        self._port = port
        self._switches += 1
        for writer in self._open:
            writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while content := await reader.read(CHUNK_BYTES):
            writer.write(content)
            await writer.drain()


async def main(port: int) -> None:
    relay = Relay()
    await asyncio.start_server(relay.accept, HOST, port)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := (await commands.readline()).decode():
        relay.switch(int(line.removeprefix("to ")) if line.startswith("to ") else 0)
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
