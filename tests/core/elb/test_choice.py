"""Evenness and disruption of the choice of targets: 20 seeds, 100,000 flows each."""

import pytest

from gwlbemu.core.elb import choice

FLOWS, SEEDS = 100_000, 20
# The 99th percentile of max/mean that an ideal hash would have.
LIMITS = {2: 1.008, 3: 1.012, 10: 1.028, 50: 1.080}


@pytest.fixture(scope="module")
def names() -> list[bytes]:
    """TCP flows as clients make them: few addresses, ports counting up."""
    keys = (
        6 << 96 | (0x0A000000 + number % 200) << 64 | (1024 + number // 200) << 48 | 0xC6336407 << 16 | 80
        for number in range(FLOWS)
    )
    return [(0x2356DE92D389839C).to_bytes(8, "big") + key.to_bytes(41, "big") for key in keys]


@pytest.mark.slow
@pytest.mark.contract("FL-15")
def test_new_flows_spread_as_evenly_as_an_ideal_hash_would_and_a_lost_target_moves_no_others(
    names: list[bytes],
) -> None:
    uneven = dict.fromkeys(LIMITS, 0)
    for seed in map(choice.Seed, range(SEEDS)):
        hits = {count: [0] * count for count in LIMITS}
        of_2, of_3, of_10, of_50 = hits.values()
        for name in names:
            # The heaviest of the first 2, 3, 10 and 50 weights; that this is what `heaviest` says of so many targets is
            # the next test.
            weights = choice.weights(seed, name, 50)
            first = weights[0] < weights[1]
            of_2[first] += 1
            of_3[2 if weights[2] > weights[first] else first] += 1
            of_10[weights.index(max(weights[:10]))] += 1
            of_50[weights.index(max(weights))] += 1
        for count, limit in LIMITS.items():
            assert sum(hits[count]) == FLOWS
            uneven[count] += max(hits[count]) * count / FLOWS > limit
    assert all(seeds <= 2 for seeds in uneven.values()), uneven


@pytest.mark.parametrize("count", LIMITS)
def test_the_heaviest_index_is_the_one_with_the_greatest_weight(names: list[bytes], count: int) -> None:
    for name in names[:500]:
        weights = choice.weights(choice.Seed(7), name, count)
        assert choice.heaviest(weights, range(count)) == weights.index(max(weights))
        assert choice.heaviest(weights, [count - 1]) == count - 1


def test_more_members_do_not_change_the_weights_of_the_first(names: list[bytes]) -> None:
    for name in names[:100]:
        assert choice.weights(choice.Seed(7), name, 300)[:7] == choice.weights(choice.Seed(7), name, 7)


@pytest.mark.contract("FL-15")
@pytest.mark.parametrize("count", LIMITS)
def test_losing_a_target_moves_only_its_own_flows_and_a_new_one_only_takes(names: list[bytes], count: int) -> None:
    seed = choice.Seed(1)
    everyone, lost = list(range(count)), count // 2
    survivors = [index for index in everyone if index != lost]
    moved = 0
    for name in names[::10]:
        weights = choice.weights(seed, name, count)
        before, after = choice.heaviest(weights, everyone), choice.heaviest(weights, survivors)
        moved += before != after
        assert before in (after, lost)
        grown = choice.heaviest(choice.weights(seed, name, count + 1), range(count + 1))
        assert grown in (before, count)
    assert 0.8 < moved * count / len(names[::10]) < 1.2
