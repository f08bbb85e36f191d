"""The key of a service with tenants, from where its configuration says that it is kept."""

from __future__ import annotations

import os
from pathlib import Path

from actors.errors import ConfigError
from actors.tenants import Key
from router.config import TenantsConfig


def key_of(config: TenantsConfig) -> Key | None:
    """Return the key of a service; None where it has no tenants. Raises ConfigError where the key is not there."""
    return read_key(config) if config.enabled else None


def read_key(config: TenantsConfig) -> Key:
    """Return the key of a service, as it is kept on this machine. Raises ConfigError where there is none."""
    if config.key_file is not None:
        try:
            return Key(Path(config.key_file).expanduser().read_bytes().strip())
        except OSError as error:
            why = error.strerror or error
            raise ConfigError(f"tenants.key_file {config.key_file}: cannot be read: {why}") from None
    secret = os.environ.get(config.key_env)
    if not secret:
        raise ConfigError(
            f"tenants.key_env: the environment variable {config.key_env} is not set here; set it on every machine that "
            "may run a router, or name a file there with tenants.key_file"
        )
    return Key(secret.encode())
