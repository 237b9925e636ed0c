"""A TCP proxy in front of a broker's listener, to cut, stall and slow the connections that go through it."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Self

CHUNK_BYTES = 65_536


class Proxy:
    """Forwards 127.0.0.1:``port`` to 127.0.0.1:``target``. A context manager: leaving it closes every connection.

    A broker behind it has to advertise ``port``, or clients would go around it after their first request.

    Attributes:
        forwarded_bytes: how much went through, in both directions.
    """

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.target = target
        self.forwarded_bytes = 0
        self._refusing = False
        self._open = asyncio.Event()
        self._bytes_per_s: float | None = None
        self._delay_s = 0.0
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._run, name=f"proxy {port}", daemon=True)

    # --- what is done to the connections --------------------------------------------------------------------------

    def cut(self) -> None:
        """Close every connection, and each new one at once."""
        self._do(self._cut())

    def stall(self) -> None:
        """Connections stay open, and new ones are accepted; nothing gets through."""
        self._do(self._stall())

    def slow(self, bytes_per_s: float, delay_s: float = 0.0) -> None:
        """From now on each direction of a connection carries so much, and each piece is late."""
        self._do(self._slow(bytes_per_s, delay_s))

    def mend(self) -> None:
        """As if nothing had been."""
        self._do(self._mend())

    # --- the proxy ------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._serve())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(10)

    async def _serve(self) -> None:
        self._open.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._cut()
        self._open.set()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _cut(self) -> None:
        self._refusing = True
        for writer in list(self._writers):
            writer.transport.abort()

    async def _stall(self) -> None:
        self._open.clear()

    async def _slow(self, bytes_per_s: float, delay_s: float) -> None:
        self._bytes_per_s, self._delay_s = bytes_per_s, delay_s

    async def _mend(self) -> None:
        self._refusing, self._bytes_per_s, self._delay_s = False, None, 0.0
        self._open.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        try:
            behind, ahead = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, ahead}
        self._writers |= both
        try:
            await asyncio.gather(self._pump(reader, ahead), self._pump(behind, writer))
        except OSError:
            pass  # the other side sees the end of its connection, as it would without a proxy
        finally:
            self._writers -= both
            for one in both:
                one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(CHUNK_BYTES):
                await self._open.wait()
                if self._bytes_per_s is not None:
                    await asyncio.sleep(self._delay_s + len(data) / self._bytes_per_s)
                writer.write(data)
                await writer.drain()
                self.forwarded_bytes += len(data)
        finally:
            writer.transport.abort()
