"""What many flows cost: memory each, and work per call."""

import tracemalloc

from gwlbemu.core.gateway.balancer import EXPIRE_BUDGET, Balancer
from tests.core.gateway.core_lab import VPCE_A, node, query

COUNT = 2 * EXPIRE_BUDGET + 100


def fill(balancer: Balancer, packets: list[bytes]) -> None:
    for number, packet in enumerate(packets):
        now = number * 1e-5
        balancer.receive_packet(VPCE_A, packet, now=now)
        balancer.receive_packet(VPCE_A, packet, now=now + 1e-6)


def test_one_call_of_expire_does_no_more_than_its_budget_and_says_that_more_is_left() -> None:
    balancer = node()
    fill(balancer, [query(port) for port in range(1, COUNT + 1)])
    left = []
    while balancer.next_deadline() <= 200.0:
        balancer.expire(now=200.0)
        left.append(balancer.metrics(now=200.0)["ActiveFlowCount"])
    assert left == [COUNT - EXPIRE_BUDGET, COUNT - 2 * EXPIRE_BUDGET, 0]


def test_a_flow_takes_at_most_400_bytes() -> None:
    packets = [query(port) for port in range(1, COUNT + 1)]
    balancer = node()
    fill(balancer, packets[:2])
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    fill(balancer, packets)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert used / COUNT < 400


def test_flows_with_source_ports_of_their_own_do_not_take_more_for_each_length_of_packet() -> None:
    balancer = node(emulation={"source_port": "rfc8926"})
    ports, sizes = range(1, 301), range(0, 400, 4)
    batches = [[query(port, bytes(size)) for port in ports] for size in sizes]
    for packets in batches[:2]:
        balancer.receive_frames(VPCE_A, packets, now=1.0)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for packets in batches:
        balancer.receive_frames(VPCE_A, packets, now=1.0)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len({flow.outer_source_port for flow in balancer.flows(now=1.0)}) > 250
    assert used / len(ports) < 400
