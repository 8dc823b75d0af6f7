"""Which addresses may be a target."""

import pytest

from gwlbemu.core.elb.target import check_ip_target
from gwlbemu.errors import SettingError


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("10.9.9.9", True),
        ("100.64.0.1", True),
        ("172.31.0.1", True),
        ("203.0.113.9", True),
        ("198.51.100.1", False),
        ("fd00::1", False),
    ],
)
def test_an_ip_target_is_in_the_vpc_or_private(address: str, good: bool) -> None:
    if good:
        check_ip_target(address, ["203.0.113.0/24"])
    else:
        with pytest.raises(SettingError) as refused:
            check_ip_target(address, ["203.0.113.0/24"])
        assert refused.value.code == "InvalidTarget"
