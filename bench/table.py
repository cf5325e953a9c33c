"""Makes the table of scripts/bench: reads lines "peer {json}" of several rounds, prints the medians, writes JSON.

    table.py RAW OUT
"""

import json
import statistics
import sys

OURS = "libomemo"
WHAT = {
    "x3dh_active": "key exchange, begun (signature verified) and first key encrypted",
    "x3dh_passive": "key exchange, received and first key decrypted",
    "encrypt_key": "encrypt a key on an existing session",
    "decrypt_key": "decrypt a key on an existing session",
    "ping_pong": "a key there and back, a ratchet step each",
    "skip_1000": "decrypt with 1,000 skipped keys",
    "bundle_100": "own bundle of 100 pre keys",
    "session_store": "serialise a session",
    "session_load": "load a session",
    "message_1": "message to 1 device",
    "message_10": "message to 10 devices",
    "message_100": "message to 100 devices",
    "message_1000": "message to 1,000 devices",
    "message_10000": "message to 10,000 devices",
    "first_message_1": "first message to 1 device",
    "first_message_10": "first message to 10 devices",
    "first_message_100": "first message to 100 devices",
    "first_message_1000": "first message to 1,000 devices",
    "first_message_10000": "first message to 10,000 devices",
}

# What is held to a limit of its own, not to a peer.
LIMITS = {
    "room_200_round_trips_for_lists": "room of 200 with outdated lists: round trips in which lists come",
    "room_200_round_trips_for_bundles_alone": "the same: round trips in which only bundles come",
    "room_10000_known_first_decrypt_us": "semi-anonymous room, 10,000 known JIDs: first message, microseconds",
    "room_10000_known_first_decrypt_loads": "the same: loads of the store",
    "room_10000_known_decrypt_us": "the same: a later message, microseconds",
    "room_10000_known_decrypt_loads": "the same: loads of the store",
    "room_10000_known_unknown_sender_us": "the same: a message of a stranger, microseconds",
    "room_10000_known_unknown_sender_loads": "the same: loads of the store",
    "read_direct_us_each": "1,000 messages read, nothing kept: microseconds a message",
    "read_direct_commits_each": "the same: commits a message",
    "read_direct_bytes_each": "the same: bytes written a message",
    "read_acknowledged_us_each": "1,000 messages read, kept and acknowledged: microseconds a message",
    "read_acknowledged_commits_each": "the same: commits a message",
    "read_acknowledged_bytes_each": "the same: bytes written a message",
    "read_beside_9000_kept_us_each": "1,000 messages read and kept beside 9,000 others: microseconds a message",
    "read_beside_9000_kept_commits_each": "the same: commits a message",
    "read_beside_9000_kept_bytes_each": "the same: bytes written a message",
    "catch_up_1000_us_each": "catch-up of 1,000 messages of 50 senders, each with a commit: microseconds a message",
    "catch_up_1000_commits_each": "the same: commits a message",
    "catch_up_1000_end_ms": "the same: the end with all answers, milliseconds",
    "catch_up_1000_answers": "the same: empty messages sent",
    "message_per_device_10000_by_100": "per device, message to 10,000 devices by message to 100 devices, in turns",
}
# Per device: how many times as much a message to the first may cost as one to the second, each measured alone. What
# 100 devices need stays in the processor's cache then.
FLAT = [("first_message_10000", "first_message_100", 100, 1.3), ("message_10000", "message_100", 100, 1.3)]


# Peers that do less or something else there: they are shown, marked, and count in no ratio.
NOT_THE_SAME = {
    ("skip_1000", "vodozemac"): "keeps 40 of the 1,000 keys",
    ("bundle_100", "vodozemac"): "has no signed pre key and no signature",
    ("message_1", "libomemo-c"): "encrypts keys only: no payload, no XML, no trust",
    ("message_10", "libomemo-c"): "encrypts keys only: no payload, no XML, no trust",
    ("message_100", "libomemo-c"): "encrypts keys only: no payload, no XML, no trust",
    ("message_1000", "libomemo-c"): "encrypts keys only: no payload, no XML, no trust",
}


def main():
    samples, limited = {}, {}
    with open(sys.argv[1], encoding="utf-8") as raw:
        for line in raw:
            peer, text = line.split(" ", 1)
            sample = json.loads(text)
            if sample["op"] in LIMITS:
                limited.setdefault(sample["op"], []).append(sample)
                continue
            samples.setdefault(sample["op"], {}).setdefault(peer, []).append(sample["us"])
    unknown = set(samples) - set(WHAT)
    if unknown:
        sys.exit(f"unknown operations: {unknown}")

    rows = []
    for op in (op for op in WHAT if op in samples):
        medians = {peer: round(statistics.median(values), 3) for peer, values in samples[op].items()}
        ours = medians.pop(OURS, None)
        same = [us for peer, us in medians.items() if (op, peer) not in NOT_THE_SAME]
        ratio = round(ours / min(same), 3) if ours is not None and same else None
        rows.append({"op": op, "ours_us": ours, "peers": medians, "ratio_to_best_peer": ratio})
    held = [
        {"what": what, "value": round(statistics.median(one["value"] for one in limited[op]), 2), "limit": limited[op][0]["limit"]}
        for op, what in LIMITS.items()
        if op in limited
    ]
    ours = {row["op"]: row["ours_us"] for row in rows}
    for many, few, times, limit in FLAT:
        if ours.get(many) and ours.get(few):
            what = f"per device, {WHAT[many]} by {WHAT[few]}"
            held.append({"what": what, "value": round(ours[many] / times / ours[few], 2), "limit": limit})
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        json.dump({"compared": rows, "limits": held}, out, indent=1)
        out.write("\n")

    peers = sorted({peer for row in rows for peer in row["peers"]})
    form = lambda value: "-" if value is None else f"{value:,.1f}"
    table = [["microseconds, median", OURS, *peers, "ratio to best"]]
    mark = lambda op, peer: "*" if (op, peer) in NOT_THE_SAME else ""
    for row in rows:
        ratio = "-" if row["ratio_to_best_peer"] is None else f"{row['ratio_to_best_peer']:.2f}"
        table.append([WHAT[row["op"]], form(row["ours_us"]), *(form(row["peers"].get(peer)) + mark(row["op"], peer) for peer in peers), ratio])
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        print("  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))))
    print("\nheld to a limit:")
    for one in held:
        mark = "" if one["value"] <= one["limit"] else "  OVER"
        print(f"  {one['what']}: {one['value']:,} (at most {one['limit']:,}){mark}")
    print("\n* not the same work, left out of the ratio:")
    for (op, peer), why in NOT_THE_SAME.items():
        print(f"  {WHAT[op]}, {peer}: {why}")
    print("libomemo-c loads and stores its record in every call, as its interface wants; libomemo's keys are measured without.")
    print("No device has answered before \"message to\": with libomemo and python-omemo every key carries its key exchange.")


main()
