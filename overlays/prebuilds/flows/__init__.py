"""The logic of the client.

The logic of the client beyond one HTTP request (retries, pagination, waiting, following a log) is written once, as
plain generators that yield effects (`effects`). An interpreter (`interpreter`) sends each outcome back into the
generator, and two drivers (`drivers`) perform the effects: one in the caller's thread, one in an event loop. So both
clients share one implementation, which is tested without a network or a clock.
"""
