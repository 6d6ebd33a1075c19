"""The services' HTTP APIs as a command speaks to them: with a short-lived token of the installation's own issuer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploy.local.connection import CommandFailed, Connection

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx

    from shared.access import Role

SUBJECT = "kehu-command"
TOKEN_LIFETIME_S = 600


def mint(connection: Connection, roles: Sequence[Role], subject: str = SUBJECT, lifetime_s: int = TOKEN_LIFETIME_S) -> str:
    """A token signed by the local issuer key, which only this account can read.

    Raises:
        CommandFailed: the subject or the lifetime is out of bounds.
    """
    from shared.access import LocalIssuer, mint_token

    try:
        return mint_token(LocalIssuer(connection.key_folder).signing_key(), subject, roles, lifetime_seconds=lifetime_s)
    except ValueError as error:
        raise CommandFailed(str(error)) from error


class ServiceClient:
    """Calls one service. An answer that is no success becomes a `CommandFailed` with the service's own words."""

    def __init__(self, connection: Connection, service: str, roles: Sequence[Role]) -> None:
        import httpx

        if service not in connection.ports:
            raise CommandFailed(f"{service} does not run here; see `kehu status`.")
        self._service = service
        headers = {"authorization": f"Bearer {mint(connection, roles)}"}
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{connection.ports[service]}", headers=headers, timeout=30)

    def __enter__(self) -> ServiceClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, **options: Any) -> Any:
        """The JSON answer."""
        return self._call("GET", path, **options)

    def post(self, path: str, **options: Any) -> Any:
        """The JSON answer."""
        return self._call("POST", path, **options)

    def delete(self, path: str) -> Any:
        """The JSON answer, None when it is empty."""
        return self._call("DELETE", path)

    def _call(self, method: str, path: str, **options: Any) -> Any:
        import httpx

        try:
            answer = self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise CommandFailed(f"{self._service} does not answer ({type(error).__name__}); see `kehu status`.") from error
        if answer.is_success:
            return answer.json() if answer.content else None
        raise self._refused(answer)

    def _refused(self, answer: httpx.Response) -> CommandFailed:
        try:
            body = answer.json()
            message, field = body["message"], f" ({body['field']})" if body.get("field") else ""
            return CommandFailed(f"{self._service}: {message['en']}{field} [{body['code']}]", message["zh"])
        except (ValueError, KeyError, TypeError):
            return CommandFailed(f"{self._service} answered {answer.status_code}")
