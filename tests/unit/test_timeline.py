"""The timeline: what the log's position was when."""

from __future__ import annotations

from seqstore.timeline import Timeline


class TestTimeline:
    """Moments are kept in order, and answer on the safe side."""

    def test_what_died_by_a_time_died_at_the_position_of_a_later_moment(self) -> None:
        line = Timeline([(10, 100), (20, 200), (30, 300)])
        assert line.died_by(20) == 200
        assert line.died_by(21) == 300
        assert line.died_by(31) is None

    def test_before_the_first_moment_nothing_was_promised(self) -> None:
        line = Timeline([(10, 100), (15, 100), (20, 200)])
        assert line.died_by(9) is None
        assert line.died_by(10) == line.died_by(15) == 100
        assert line.died_by(16) == 200

    def test_the_age_of_a_position_is_counted_from_before_it(self) -> None:
        line = Timeline([(10, 100), (20, 200)])
        assert line.time_of(100) is None
        assert line.time_of(101) == 10
        assert line.time_of(200) == 10
        assert line.time_of(500) == 20

    def test_a_moment_without_writing_moves_on_the_last_one(self) -> None:
        line = Timeline([(10, 100)])
        assert not line.note(15, 100)
        assert len(line) == 1
        assert line.died_by(15) == 100

    def test_forgetting_keeps_what_questions_need(self) -> None:
        line = Timeline((at, 10 * at) for at in range(1, 11))
        line.forget_before(5)
        assert line.died_by(5) == 50
        assert line.time_of(50) == 4
        assert len(line) < 10
