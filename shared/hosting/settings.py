"""Settings of every service, from environment variables that begin with `KEHU_`."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared import folders

DEFAULT_PORTS = {"intake": 8101, "dedup": 8102, "profile": 8103, "analytics": 8104, "privacy": 8105}


class Settings(BaseSettings):
    """What a service needs to know about its surroundings; validated at start."""

    model_config = SettingsConfigDict(env_prefix="KEHU_", extra="ignore", frozen=True)

    kafka_bootstrap_servers: str = Field("127.0.0.1:9092", description="Comma-separated host:port list of Kafka brokers.")
    mongodb_uri: str = Field("mongodb://127.0.0.1:27017/?replicaSet=kehu", description="MongoDB connection string; a replica set is needed.")
    namespace: str = Field("", description="Prefix of every topic, consumer group and database, e.g. `staging_`.", pattern=r"^[a-z0-9_]{0,24}$")
    data_folder: Path = Field(default_factory=folders.data_folder, description="Where the embedded servers, logs and keys live.")
    key_folder: Path | None = Field(None, description="Key files; default `<data_folder>/keys`. Keep it out of data backups.")
    environment: Literal["development", "production"] = Field("development", description="In production, /docs needs a principal.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int | None = Field(None, ge=0, le=65535, description="Port to listen on; default by service, 8101 to 8105.")
    access_jwks_url: str | None = Field(None, description="Where the issuer of tokens publishes its keys; default: the local issuer key file.")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    instance: str = Field(default_factory=lambda: secrets.token_hex(4), description="Names this process among its replicas.")

    @property
    def keys(self) -> Path:
        """The folder of key files."""
        return self.key_folder or self.data_folder / "keys"

    def port_of(self, service: str) -> int:
        """The port this service listens on."""
        return DEFAULT_PORTS[service] if self.port is None else self.port
