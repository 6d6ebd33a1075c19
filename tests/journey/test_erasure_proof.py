"""The proof of an erasure as a user runs it: `kehu erase --prove`, `kehu sweep`, `kehu certificate`, on real servers with traces kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread

import pytest
from typer.testing import CliRunner, Result

from deploy.local.cli import app
from deploy.local.stack import Stack
from deploy.local.throwaway_stack import running_stack
from tests.journey.house import House
from tests.journey.people import Person

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


@contextmanager
def trace_keeper(folder: Path) -> Iterator[str]:
    """An OTLP endpoint that keeps whatever it is sent, as it came, in files."""
    numbers = count()

    class Keeper(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            (folder / f"{next(numbers)}.otlp").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Keeper) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traces")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, traces: Path) -> Iterator[Stack]:
    with (
        trace_keeper(traces) as endpoint,
        running_stack(tmp_path_factory.mktemp("proof"), {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "200"}) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def house(stack: Stack) -> Iterator[House]:
    opened = House(stack)
    yield opened
    opened.close()


def kehu(stack: Stack, *arguments: object, typed: str | None = None) -> Result:
    environment = {"KEHU_DATA_FOLDER": str(stack.places.root), "KEHU_KAFKA_BOOTSTRAP_SERVERS": None, "KEHU_MONGODB_URI": None}
    return CliRunner().invoke(app, [str(each) for each in arguments], input=typed, env=environment)


def known(house: House, *people: Person) -> list[str]:
    """The people's customer ids, once every service is done with them."""
    submission_ids = [house.submit_all(person.life()) for person in people]
    house.wait_until_settled([each for ids in submission_ids for each in ids])
    return [house.customers_of(ids)[0] for ids in submission_ids]


def test_an_erasure_is_proved_from_the_command_line_while_a_neighbour_who_shares_a_value_stays(house: House, stack: Stack, traces: Path) -> None:
    # given: two people who live in one place
    person, neighbour = Person(), Person()
    neighbour = Person(address=person.address)
    customer, kept = known(house, person, neighbour)
    # when
    result = kehu(stack, "erase", customer, "--prove", "--yes", "--folder", f"traces={traces}")
    print(result.output)
    # then
    assert result.exit_code == 0, result.output
    assert "PROVED" in result.stdout
    assert "of this person only   15 values" in result.stdout
    assert "NOT" not in result.stdout
    assert "of others as well     1 values: fields.address" in result.stdout
    assert "equal a recomputation" in result.stdout
    assert list(traces.iterdir())
    assert [canary for canary in person.canaries if canary in result.output] == []
    assert house.look_up("steward", person.phone) == []
    assert [each["customer_id"] for each in house.look_up("steward", neighbour.phone)] == [kept]
    # and: nobody can prove it twice
    again = kehu(stack, "erase", customer, "--prove", "--yes")
    assert again.exit_code == 1


def test_a_sweep_finds_who_is_there_and_not_who_is_not_and_prints_no_value(house: House, stack: Stack, tmp_path: Path) -> None:
    # given
    living, stranger = Person(), Person()
    known(house, living)
    (tmp_path / "values").write_text("\n".join([*living.canaries, ""]), encoding="utf-8")
    # when
    found = kehu(stack, "sweep", "--values", tmp_path / "values")
    nothing = kehu(stack, "sweep", typed=f"{stranger.phone}\n{stranger.mailbox}\n\n")
    short = kehu(stack, "sweep", "--values", "-", typed="abc\n")
    # then
    assert (found.exit_code, nothing.exit_code) == (4, 0), (found.output, nothing.output)
    assert f"{len(living.canaries)} of {len(living.canaries)} values found" in found.stdout
    assert "opened by a key that is left, in" in found.stdout
    assert "0 of 2 values found" in nothing.stdout
    for canary in (*living.canaries, *stranger.canaries):
        assert canary not in found.output + nothing.output
    assert short.exit_code == 1


def test_a_certificate_is_fetched_and_verified_on_the_command_line(house: House, stack: Stack, tmp_path: Path) -> None:
    # given
    [customer] = known(house, Person())
    request = house.open_request("erasure", customer)
    house.wait_for_request(request, "closed")
    # when
    shown = kehu(stack, "certificate", "show", request)
    saved = kehu(stack, "certificate", "download", request, tmp_path / "proof.json")
    verified = kehu(stack, "certificate", "verify", tmp_path / "proof.json")
    # then
    assert request in shown.stdout
    assert saved.exit_code == 0, saved.output
    assert "VALID" in verified.stdout
    assert customer in verified.stdout
