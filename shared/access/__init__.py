"""Access: who is calling, and may they. Channels show write keys, people and services signed tokens; the default is no."""

from shared.access.guard import Access, Guard, checks_access
from shared.access.issuer_keys import LocalIssuer
from shared.access.principal import CHANNEL_PERMISSIONS, Principal
from shared.access.roles import PERMISSIONS, ROLES, Permission, Role, permissions_of
from shared.access.tokens import LIFETIME_SECONDS, LIFETIME_SECONDS_MAX, mint_token
from shared.access.write_keys import hash_write_key, is_write_key, new_write_key

__all__ = [
    "CHANNEL_PERMISSIONS",
    "LIFETIME_SECONDS",
    "LIFETIME_SECONDS_MAX",
    "PERMISSIONS",
    "ROLES",
    "Access",
    "Guard",
    "LocalIssuer",
    "Permission",
    "Principal",
    "Role",
    "checks_access",
    "hash_write_key",
    "is_write_key",
    "mint_token",
    "new_write_key",
    "permissions_of",
]
