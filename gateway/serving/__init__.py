"""The HTTP server: aiohttp around what the other rooms decide."""
