"""uvicorn on a thread of ours, without its ten wake-ups a second."""

import asyncio
import threading
from contextlib import suppress

from uvicorn import Config, Server


class LoopServer(Server):
    """Waits to be told; uvicorn's own loop wakes ten times a second to look."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told: asyncio.Event | None = None

    async def main_loop(self) -> None:
        """Called by uvicorn when it listens."""
        self._loop, self._told = asyncio.get_running_loop(), asyncio.Event()
        await self.on_tick(0)
        self.ready.set()
        if not self.should_exit:
            await self._told.wait()

    def tell_to_exit(self) -> None:
        """From any thread."""
        self.should_exit = True
        if self._loop is not None and self._told is not None:
            with suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._told.set)
