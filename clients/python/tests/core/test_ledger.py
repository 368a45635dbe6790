"""The account of a session, without a daemon: whatever happens, every frame has one Result, in order."""

import random

import pytest

from cellsegd import Error, Refused
from cellsegd import contract as pb
from cellsegd.ledger import Ledger
from cellsegd.tracks import Tracks


def opened(**fields) -> pb.SessionOpened:
    return pb.SessionOpened(model=pb.Model(name="m", classes=["cell"]), window=4, **fields)


def frame(**fields) -> pb.StreamRequest:
    return pb.StreamRequest(frame=pb.Frame(raw=pb.RawPixels(data=b"x"), **fields))


class Server:
    """Answers what was sent, in order; keeps what it has not answered."""

    def __init__(self, ledger: Ledger):
        self._ledger = ledger
        self.inbox = []
        ledger.opened(opened())

    def take(self):
        request = self._ledger.next_request()
        if request is not None:
            self.inbox.append(request)

    def answer(self, chance: random.Random):
        if not self.inbox:
            return
        request = self.inbox.pop(0)
        if request.HasField("update"):
            self._ledger.changed(pb.SessionChanged(revision=2, why="update"))
        elif request.HasField("frame"):
            reply = pb.FrameReply(id=request.frame.id, revision=1)
            outcome = chance.choice(["segmentation", "dropped", "failed", "draining"])
            if outcome == "draining":
                reply.dropped.reason = "REASON_DRAINING"
            elif outcome == "dropped":
                reply.dropped.reason = "REASON_DEADLINE"
            else:
                getattr(reply, outcome).SetInParent()
            self._ledger.answered(reply)


@pytest.mark.parametrize("latest", [False, True])
def test_every_frame_has_one_result_in_order_whatever_happens(latest):
    for seed in range(300):
        chance = random.Random(seed)
        released = []
        ledger = Ledger(latest, Tracks(), False, released.append)
        server, submitted, results, updates = None, [], [], []
        for _ in range(chance.randint(5, 120)):
            what = chance.choice(["submit"] * 4 + ["take", "answer"] * 4 + ["lose", "open", "update", "cancel", "read"])
            if what == "submit":
                submitted.append(ledger.submit(frame(metadata=pb.FrameMetadata(channel=chance.choice("ab")))))
            elif what == "update":
                updates.append(ledger.update(pb.SessionUpdate()))
            elif what == "cancel" and submitted:
                ledger.cancel(chance.choice(submitted))
            elif what == "read":
                results += ledger.results()
            elif what == "open" and server is None:
                server = Server(ledger)
            elif what == "lose" and server is not None:
                server = None
                ledger.lost()
            elif what == "take" and server is not None:
                server.take()
            elif what == "answer" and server is not None:
                server.answer(chance)
            waiting = ledger.unanswered
            assert waiting == sorted(waiting) and not set(waiting) & {result.id for result in results}
        ledger.give_up(Error("over"))
        results += ledger.results()
        assert [result.id for result in results] == submitted == sorted(submitted)
        assert len(released) == len(submitted), "the pixels of each are let go once"
        assert all(update.done() for update in updates)
        counts = ledger.counts
        assert counts.frames == counts.segmented + counts.measured + counts.dropped + counts.failed == len(submitted)


def test_what_a_draining_daemon_gives_back_goes_to_the_next_one():
    ledger = Ledger(False, None, False)
    server = Server(ledger)
    ids = [ledger.submit(frame()), ledger.submit(frame()), ledger.submit(frame(measure_on=2)), ledger.submit(frame())]
    for _ in ids:
        server.take()
    ledger.answered(pb.FrameReply(id=1, segmentation=pb.Segmentation()))
    ledger.answered(pb.FrameReply(id=2, dropped=pb.Dropped(reason="REASON_DRAINING")))
    ledger.answered(pb.FrameReply(id=3, failed=pb.Failed(message="measure_on 2: no such frame")))
    ledger.answered(pb.FrameReply(id=4, dropped=pb.Dropped(reason="REASON_DRAINING")))
    assert [result.id for result in ledger.results()] == [1] and ledger.unanswered == [2, 3, 4]
    ledger.lost()
    ledger.opened(opened())
    assert [ledger.next_request().frame.id for _ in range(3)] == [2, 3, 4]


def test_a_frame_that_breaks_every_connection_is_given_up():
    ledger = Ledger(False, None, False)
    ledger.submit(frame())
    for attempt in range(5):
        ledger.opened(opened())
        assert ledger.next_request().frame.id == 1, attempt
        ledger.lost()
    (result,) = ledger.results()
    assert result.code == "INTERNAL" and "5 times" in result.reason


def test_the_oldest_update_that_was_read_is_the_one_that_was_refused():
    ledger = Ledger(False, None, False)
    server = Server(ledger)
    first, second = ledger.update(pb.SessionUpdate()), ledger.update(pb.SessionUpdate())
    assert not ledger.update_refused(Refused("no", "INVALID_ARGUMENT")), "none was sent yet"
    server.take()
    server.take()
    assert ledger.update_refused(Refused("no", "INVALID_ARGUMENT"))
    assert isinstance(first.exception(0), Refused) and not second.done()


def test_who_does_not_wait_for_an_update_any_more_harms_nobody():
    ledger = Ledger(False, None, False)
    server = Server(ledger)
    updates = [ledger.update(pb.SessionUpdate()) for _ in range(3)]
    for update in updates:
        server.take()
        assert not update.cancel(), "it is on its way"
    server.answer(random.Random(0))
    assert ledger.update_refused(Refused("no", "INVALID_ARGUMENT"))
    ledger.give_up(Error("over"))
    assert updates[0].result(0) == 2 and isinstance(updates[1].exception(0), Refused) and updates[2].exception(0)


def test_answers_that_nobody_asked_for_end_the_session():
    ledger = Ledger(False, None, False)
    with pytest.raises(Error, match="answered frame 7, but none was next"):
        ledger.answered(pb.FrameReply(id=7))
    ledger.submit(frame(id=3))
    with pytest.raises(ValueError, match="3 is still in flight"):
        ledger.submit(frame(id=3))
    ledger.opened(opened())
    ledger.next_request()
    with pytest.raises(Error, match="answered frame 7, but 3 was next"):
        ledger.answered(pb.FrameReply(id=7))


def test_cells_are_kept_as_they_were_last_seen():
    ledger = Ledger(False, Tracks(pb.Tracking(max_gap=1)), False)
    server = Server(ledger)

    def segmented(ids, drift=None):
        instances = [
            pb.Instance(label=i, track=pb.Track(id=track_id, age=1), rle=pb.CocoRle(counts=b"?1"))
            for i, track_id in enumerate(ids, 1)
        ]
        summary = pb.FrameSummary(drift=drift)
        return {"segmentation": pb.Segmentation(width=4, height=4, instances=instances, summary=summary)}

    def heard(**outcome):
        frame_id = ledger.submit(frame(metadata=pb.FrameMetadata(position="A1")))
        server.take()
        ledger.answered(pb.FrameReply(id=frame_id, **outcome))
        ledger.results()
        resume = ledger.tracks.resume()
        return (
            {} if resume is None else {it.track.id: (it.missing, it.dropped, it.drifted.x_px) for it in resume.series[0].instances}
        )

    assert heard(failed=pb.Failed()) == {}
    assert heard(**segmented([1, 2])) == {1: (0, 0, 0), 2: (0, 0, 0)}
    assert heard(**segmented([2], pb.Drift(x_px=3))) == {1: (1, 0, 3), 2: (0, 0, 0)}
    assert heard(dropped=pb.Dropped()) == {1: (2, 1, 3), 2: (1, 1, 0)}
    # Over max_gap, drops not counted.
    assert heard(**segmented([5], pb.Drift(x_px=1))) == {2: (2, 1, 1), 5: (0, 0, 0)}
    assert ledger.tracks.resume().series[0].next_id == 6
    # Of an earlier session, as long as nothing newer is known.
    earlier = Tracks(pb.Tracking(resume=ledger.tracks.resume()))
    assert earlier.resume() == ledger.tracks.resume()
    ledger.tracks.forget(["A1"])
    assert not ledger.tracks.resume().series[0].instances and ledger.tracks.resume().series[0].next_id == 6
