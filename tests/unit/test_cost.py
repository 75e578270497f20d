"""What counting costs."""

from otel_bridge.metrics.cost import Cost


def test_one_long_count_of_a_store_that_stood_still_does_not_make_the_next_wait() -> None:
    cost = Cost()
    for _ in range(3):
        cost.took(0.01)
    cost.took(27.0)
    assert cost.seconds < 0.2
    cost.took(0.01)
    assert cost.seconds == 0.01


def test_what_keeps_costing_much_is_believed_soon() -> None:
    cost = Cost()
    for _ in range(8):
        cost.took(10.0)
    assert cost.seconds == 10.0
