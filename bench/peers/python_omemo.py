"""python-omemo's backend for urn:xmpp:omemo:2, measured. Prints one JSON object a line: {"op": name, "us": median}.

Works on the backend, below the session manager: what is measured is the protocol and a store in memory, without
anything that asks the network. That is the least that a python-omemo client spends.
"""

import asyncio
import json
import statistics
import sys
import time

import omemo
import twomemo

BUDGET = float(sys.argv[1]) if len(sys.argv) > 1 else 0.2  # seconds for each operation


class Memory(omemo.Storage):
    """The store the library's own tests use: a dictionary."""

    def __init__(self):
        super().__init__(True)
        self.data = {}

    async def _load(self, key):
        return omemo.Just(self.data[key]) if key in self.data else omemo.Nothing()

    async def _store(self, key, value):
        self.data[key] = value

    async def _delete(self, key):
        self.data.pop(key, None)


class Side:
    """One device."""

    def __init__(self, jid, device):
        self.jid, self.device = jid, device
        self.backend = twomemo.Twomemo(Memory())

    async def bundle(self):
        if await self.backend.get_num_visible_pre_keys() == 0:
            await self.backend.generate_pre_keys(100)
        return await self.backend.get_bundle(self.jid, self.device)


async def measure(op, action, least=3, most=2000, setup=None):
    """The median time of `action`, which gets what `setup` made outside the measured time."""
    samples, spent = [], 0.0
    while len(samples) < least or (spent < BUDGET and len(samples) < most):
        given = await setup() if setup else None
        start = time.perf_counter()
        await action(given)
        samples.append(time.perf_counter() - start)
        spent += samples[-1]
    print(json.dumps({"op": op, "us": round(statistics.median(samples) * 1e6, 3)}), flush=True)


async def connected(alice, bob):
    """A session in both directions, confirmed on either side."""
    _, plain = await alice.backend.encrypt_plaintext(b"x")
    session_a, first = await alice.backend.build_session_active(bob.jid, bob.device, await bob.bundle(), plain)
    session_b, _ = await bob.backend.build_session_passive(alice.jid, alice.device, session_a.key_exchange, first)
    reply = await bob.backend.encrypt_key_material(session_b, plain)
    await alice.backend.decrypt_key_material(session_a, reply)
    return session_a, session_b, plain


async def main():
    alice, bob = Side("alice@example.org", 1), Side("bob@example.org", 2)
    bundle = await bob.bundle()
    await alice.bundle()
    _, plain = await alice.backend.encrypt_plaintext(b"x" * 100)

    async def active(_):
        return await alice.backend.build_session_active(bob.jid, bob.device, bundle, plain)

    await measure("x3dh_active", active)

    async def passive(made):
        session, first = made
        await bob.backend.build_session_passive(alice.jid, alice.device, session.key_exchange, first)

    await measure("x3dh_passive", passive, setup=lambda: active(None))

    session_a, session_b, plain = await connected(alice, bob)

    async def encrypt(_):
        return await alice.backend.encrypt_key_material(session_a, plain)

    await measure("encrypt_key", encrypt, most=400)
    session_a, session_b, plain = await connected(alice, bob)

    async def decrypt(message):
        await bob.backend.decrypt_key_material(session_b, message)

    await measure("decrypt_key", decrypt, setup=lambda: encrypt(None))

    async def ping_pong(_):
        await bob.backend.decrypt_key_material(session_b, await alice.backend.encrypt_key_material(session_a, plain))
        await alice.backend.decrypt_key_material(session_a, await bob.backend.encrypt_key_material(session_b, plain))

    await measure("ping_pong", ping_pong)

    state = {}

    async def skipping():
        state["a"], state["b"], key = await connected(alice, bob)
        for _ in range(1000):
            await alice.backend.encrypt_key_material(state["a"], key)
        return await alice.backend.encrypt_key_material(state["a"], key)

    async def skip(message):
        await bob.backend.decrypt_key_material(state["b"], message)

    await measure("skip_1000", skip, most=5, setup=skipping)

    async def fresh():
        side = Side("carol@example.org", 3)
        await side.backend.get_num_visible_pre_keys()
        return side

    async def make_bundle(side):
        await side.bundle()

    await measure("bundle_100", make_bundle, setup=fresh)

    session_a, session_b, plain = await connected(alice, bob)

    async def store(_):
        await alice.backend.store_session(session_a)

    await measure("session_store", store)

    async def load(_):
        await alice.backend.load_session(bob.jid, bob.device)

    await measure("session_load", load)

    made = 0
    for count in (1, 10, 100, 1000):
        while made < count:
            device = 1000 + made
            session, _ = await alice.backend.build_session_active(bob.jid, device, bundle, plain)
            await alice.backend.store_session(session)
            made += 1

        async def message(_):
            _, key = await alice.backend.encrypt_plaintext(b"x" * 100)
            for device in range(1000, 1000 + count):
                session = await alice.backend.load_session(bob.jid, device)
                await alice.backend.encrypt_key_material(session, key)
                await alice.backend.store_session(session)

        await measure(f"message_{count}", message, most=200)


asyncio.run(main())
