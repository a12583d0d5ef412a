"""Two thousand requests made up from the OpenAPI document: no fault of ours, no reply that it does not foresee."""

import pytest

from tests.running_server import RunningServer
from tests.schema_attack import SETTINGS, attack, attack_what_exists, prepare


def test_no_request_that_can_be_made_up_brings_a_reply_that_is_not_documented(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with RunningServer(tmp_path_factory.mktemp("attacked") / "data", **SETTINGS) as server:
        prepare(server)
        inside = attack_what_exists(server, examples=12, seed=1, seconds=120)
        assert not inside.failed, inside.report
        everywhere = attack(server, examples=2, seed=1, seconds=120)
        assert not everywhere.failed, everywhere.report

        assert inside.cases + everywhere.cases >= 2000
        assert server.is_ready()
        assert '"level":"error"' not in server.log.read_text()
