"""The records by which the peers in Python are driven over standard input and output; peer_c_pipe.h has the same in C.

The parent writes one request, a record, and reads records until one has the field "done". Every record before that is
a question (field "ask"), which the parent answers with one record. A record is fields "name length LF bytes LF",
closed by an empty line; a list is a name that comes several times; booleans are 0 and 1.
"""

import sys
from typing import Any, Dict, Optional

Record = Dict[str, Any]


class Wire:
    """Records in and out, and the questions that are asked while a request is worked on."""

    LISTS = {"to", "ns"}

    def __init__(self) -> None:
        self.input, self.output = sys.stdin.buffer, sys.stdout.buffer

    def read(self) -> Optional[Record]:
        record: Record = {}
        while True:
            head = self.input.readline()
            if not head:
                return None
            if head == b"\n":
                return record
            name, length = head.decode().split()
            value = self.input.read(int(length) + 1)[:-1].decode()
            if name in self.LISTS:
                record.setdefault(name, []).append(value)
            else:
                record[name] = value

    def write(self, record: Record) -> None:
        for name, value in record.items():
            for one in value if isinstance(value, list) else [value]:
                if one is not None:
                    data = (str(int(one)) if isinstance(one, bool) else str(one)).encode()
                    self.output.write(f"{name} {len(data)}\n".encode() + data + b"\n")
        self.output.write(b"\n")
        self.output.flush()

    def ask(self, question: str, **fields: Any) -> Record:
        """fetch_list(ns, jid), fetch_bundle(ns, jid, device): answered by xml, or missing, or failed.
        publish_list(ns, jid, xml), publish_bundle(ns, jid, device, xml), delete_bundle(ns, jid, device): by ok, or
        failed. decide(jid, device, identity): by level."""
        self.write({"ask": question, **fields})
        answer = self.read()
        if answer is None:
            sys.exit(0)
        return answer
