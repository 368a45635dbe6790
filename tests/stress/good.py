"""The session that must not suffer: a frame every 50 ms, each answered before the next is sent. Writes a line an answer: when it
was sent (the machine's monotonic clock, s) and how long it took (ms). Ends with an error if an answer is missing or wrong.

`python good.py ADDRESS FILE [--kill-me]`
"""

import sys
import time

import grpc
from h2 import pb, small_frame
from contract import rpc

PACE_S = 0.05


def main(address: str, file: str):
    import queue

    requests = queue.SimpleQueue()
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(address, options=options) as channel, open(file, "w", buffering=1) as times:
        replies = rpc.SegmenterStub(channel).Stream(iter(requests.get, None))
        requests.put(pb.StreamRequest(open=pb.SessionOptions(name="good")))
        assert next(replies).WhichOneof("reply") == "opened"
        turn = time.monotonic()
        for id in range(1 << 40):
            sent = time.monotonic()
            requests.put(small_frame(id, side=256))
            reply = next(replies).frame
            assert reply.id == id and len(reply.segmentation.instances) == 9, reply
            times.write(f"{sent} {1e3 * (time.monotonic() - sent)}\n")
            turn = max(turn + PACE_S, time.monotonic())
            time.sleep(turn - time.monotonic() if turn > time.monotonic() else 0)


if __name__ == "__main__":
    main(*sys.argv[1:3])
