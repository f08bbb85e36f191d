"""nginx and HAProxy as processes of their own, before gateways. Shared by tests; has no tests of its own."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PATHS = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
PROGRAMS = {name: shutil.which(name, path=PATHS) for name in ("nginx", "haproxy")}
DEADLINE_S = 20.0

# Where nginx keeps bodies; its own places are the system service's.
_NGINX_KEEPS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
_NGINX = """events {{ }}
http {{
  access_log off;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass {url}; {more} }}
    location = /metrics {{ return 404; }}
    {rules}
  }}
}}
"""
_HAPROXY = """global
  maxconn 500
defaults
  mode http
  timeout connect 5s
  timeout client {idle}
  timeout server {idle}
frontend clients
  bind 127.0.0.1:{port}
  {rules}
  default_backend gateways
backend gateways
  server one {address}
"""


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def of_its_own(name: str, url: str, port: int, *, idle: str = "50s", rules: str = "") -> str:
    """Return a configuration with nothing in it but where to go; `idle`: the limit on silence."""
    if name == "nginx":
        more = "" if idle == "50s" else f"proxy_read_timeout {idle};"
        return _NGINX.format(port=port, url=url, more=more, rules=rules)
    return _HAPROXY.format(port=port, address=urlsplit(url).netloc, idle=idle, rules=rules)


def deployed(name: str, urls: Sequence[str], port: int) -> str:
    """Return the file in `deploy`, for these two gateways."""
    text = (DEPLOY / {"nginx": "nginx.conf", "haproxy": "haproxy.cfg"}[name]).read_text()
    for number, url in enumerate(urls):
        place = f"127.0.0.1:{8283 + number}"
        if place not in text:
            raise ValueError(f"{name}: expected {place} in its file")
        text = text.replace(place, urlsplit(url).netloc)
    text = re.sub(r"(listen|bind :?)\s*8080", rf"\g<1> 127.0.0.1:{port}", text).replace("bind : ", "bind ")
    # Of this machine's own: fewer processes and files than a server has.
    text = text.replace("worker_processes auto", "worker_processes 1").replace("65536", "512").replace("60000", "500")
    return re.sub(r"worker_rlimit_nofile.*", "", text).replace("/dev/stdout", "off").replace("off plain", "off")


@asynccontextmanager
async def proxying(name: str, config: str, port: int, folder: Path) -> AsyncIterator[str]:
    """Run a proxy; gives its base URL."""
    program = PROGRAMS[name]
    if program is None:
        raise FileNotFoundError(name)
    file = folder / f"{name}-{port}.conf"
    if name == "nginx":
        places = "".join(f"  {kind}_temp_path {folder}/{kind};\n" for kind in _NGINX_KEEPS)
        config = config.replace("http {\n", "http {\n" + places, 1)
        more = ["-c", str(file), "-p", str(folder), "-g", f"daemon off; pid {folder}/{port}.pid; error_log stderr;"]
    else:
        more = ["-db", "-f", str(file)]
    file.write_text(config)  # some hundred bytes
    process = await asyncio.create_subprocess_exec(
        program, *more, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    if process.stderr is None:
        raise RuntimeError("what the proxy says is not read")
    says = asyncio.create_task(process.stderr.read())
    try:
        await _listens(port, process, says)
        yield f"http://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            (process.terminate if name == "nginx" else process.kill)()  # nginx is several, which its first one ends
        await process.wait()
        await says


async def _listens(port: int, process: asyncio.subprocess.Process, says: asyncio.Task[bytes]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while process.returncode is None:
            with suppress(ConnectionError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.02)  # it says nowhere when it listens
    raise RuntimeError(f"the proxy ended: {(await says).decode()}")
