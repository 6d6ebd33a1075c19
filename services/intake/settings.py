"""Intake's own settings, from environment variables that begin with `KEHU_INTAKE_`."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class IntakeSettings(BaseSettings):
    """Validated at start."""

    model_config = SettingsConfigDict(env_prefix="KEHU_INTAKE_", frozen=True)

    body_kept_days: int = Field(
        7,
        ge=7,
        le=90,
        description="How long sealed bodies stay at the door, in days: as long as the topics keep records, e.g. 14. Quarantine as well.",
    )
