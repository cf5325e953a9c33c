"""The store that omemo-dr asks its client for: a dictionary of strings, which survives a restart as JSON.

The interface is omemo_dr.state.store.Store; what a method is for is known from its name and signature alone.
"""

import json
from typing import Dict, List, Optional, Tuple

from omemo_dr.const import OMEMOTrust
from omemo_dr.exceptions import InvalidKeyIdException
from omemo_dr.identitykey import IdentityKey
from omemo_dr.identitykeypair import IdentityKeyPair
from omemo_dr.state.prekeyrecord import PreKeyRecord
from omemo_dr.state.sessionrecord import SessionRecord
from omemo_dr.state.signedprekeyrecord import SignedPreKeyRecord
from omemo_dr.state.store import Store
from omemo_dr.structs import IdentityInfo

TABLES = ("own", "pre_keys", "signed_pre_keys", "sessions", "identities")
TRUSTED = (OMEMOTrust.VERIFIED, OMEMOTrust.BLIND)


class Memory(Store):
    """Everything in tables of strings; the keys of devices are "id JID", those of identities "hex JID"."""

    def __init__(self, saved: Optional[str] = None) -> None:
        self.tables: Dict[str, Dict[str, str]] = json.loads(saved) if saved else {name: {} for name in TABLES}
        self.own, self.pre_keys = self.tables["own"], self.tables["pre_keys"]
        self.signed, self.sessions = self.tables["signed_pre_keys"], self.tables["sessions"]
        self.identities = self.tables["identities"]
        # What the calls of one decryption tell its client.
        self.used_pre_key = False
        self.unknown_pre_key = False

    def save(self) -> str:
        return json.dumps(self.tables)

    # -- this device

    def needs_init(self) -> bool:
        return not self.own

    def set_our_identity(self, device_id: int, identity_key_pair: IdentityKeyPair) -> None:
        self.own.update(device=str(device_id), identity=identity_key_pair.serialize().hex())

    def get_identity_key_pair(self) -> IdentityKeyPair:
        return IdentityKeyPair.from_bytes(bytes.fromhex(self.own["identity"]))

    def get_our_device_id(self) -> int:
        return int(self.own["device"])

    # -- identities and trust

    @staticmethod
    def _identity(jid: str, key: IdentityKey) -> str:
        return f"{key.serialize().hex()} {jid}"

    def save_identity(self, recipient_id: str, identity_key: IdentityKey) -> None:
        self.identities.setdefault(self._identity(recipient_id, identity_key), OMEMOTrust.BLIND.name)

    def delete_identity(self, recipient_id: str, identity_key: IdentityKey) -> None:
        self.identities.pop(self._identity(recipient_id, identity_key), None)

    def is_trusted_identity(self, recipient_id: str, identity_key: IdentityKey) -> bool:
        return True  # a session may be begun with everybody; who may be served is is_trusted

    def set_trust(self, recipient_id: str, identity_key: IdentityKey, trust: OMEMOTrust) -> None:
        self.identities[self._identity(recipient_id, identity_key)] = trust.name

    def get_trust_for_identity(self, recipient_id: str, identity_key: IdentityKey) -> Optional[OMEMOTrust]:
        name = self.identities.get(self._identity(recipient_id, identity_key))
        return None if name is None else OMEMOTrust[name]

    def is_trusted(self, recipient_id: str, device_id: int) -> bool:
        key = self.identity_of(recipient_id, device_id)
        return key is not None and self.get_trust_for_identity(recipient_id, key) in TRUSTED

    def set_identity_last_seen(self, recipient_id: str, identity_key: IdentityKey) -> None:
        pass

    def get_identity_infos(self, recipient_ids: "str | List[str]") -> List[IdentityInfo]:
        wanted = [recipient_ids] if isinstance(recipient_ids, str) else recipient_ids
        infos = []
        for name, (jid, device) in self._devices():
            key = self.identity_of(jid, device)
            if jid in wanted and key is not None:
                trust = self.get_trust_for_identity(jid, key) or OMEMOTrust.UNDECIDED
                infos.append(IdentityInfo(active=self._is_active(name), address=jid, device_id=device, label="",
                                          last_seen=None, public_key=key, trust=trust))
        return infos

    # -- pre keys

    def get_pre_key_count(self) -> int:
        return len(self.pre_keys)

    def contains_pre_key(self, pre_key_id: int) -> bool:
        return str(pre_key_id) in self.pre_keys

    def load_pre_key(self, pre_key_id: int) -> PreKeyRecord:
        if not self.contains_pre_key(pre_key_id):
            self.unknown_pre_key = True
            raise InvalidKeyIdException("no such pre key")
        return PreKeyRecord.from_bytes(bytes.fromhex(self.pre_keys[str(pre_key_id)]))

    def load_pending_pre_keys(self) -> List[PreKeyRecord]:
        return [self.load_pre_key(int(number)) for number in self.pre_keys]

    def get_current_pre_key_id(self) -> Optional[int]:
        return max(map(int, self.pre_keys), default=None)

    def store_pre_key(self, pre_key_id: int, pre_key_record: PreKeyRecord) -> None:
        self.pre_keys[str(pre_key_id)] = pre_key_record.serialize().hex()

    def remove_pre_key(self, pre_key_id: int) -> None:
        self.used_pre_key = True
        self.pre_keys.pop(str(pre_key_id), None)

    # -- signed pre keys

    def contains_signed_pre_key(self, signed_pre_key_id: int) -> bool:
        return str(signed_pre_key_id) in self.signed

    def load_signed_pre_key(self, signed_pre_key_id: int) -> SignedPreKeyRecord:
        if not self.contains_signed_pre_key(signed_pre_key_id):
            raise InvalidKeyIdException("no such signed pre key")
        return SignedPreKeyRecord.from_bytes(bytes.fromhex(self.signed[str(signed_pre_key_id)]))

    def load_signed_pre_keys(self) -> List[SignedPreKeyRecord]:
        return [self.load_signed_pre_key(int(number)) for number in self.signed]

    def store_signed_pre_key(self, signed_pre_key_id: int, signed_pre_key_record: SignedPreKeyRecord) -> None:
        self.signed[str(signed_pre_key_id)] = signed_pre_key_record.serialize().hex()

    def get_current_signed_pre_key_id(self) -> int:
        return max(self.load_signed_pre_keys(), key=lambda record: record.get_timestamp()).get_id()

    def get_signed_pre_key_timestamp(self, signed_pre_key_id: int) -> int:
        return self.load_signed_pre_key(signed_pre_key_id).get_timestamp()

    def remove_signed_pre_key(self, signed_pre_key_id: int) -> None:
        self.signed.pop(str(signed_pre_key_id), None)

    def remove_old_signed_pre_keys(self, timestamp: int) -> None:
        pass  # no device of a test grows as old

    # -- sessions: "1" or "0" for active, and the record

    @staticmethod
    def _device(jid: str, device: int) -> str:
        return f"{device} {jid}"

    def _devices(self) -> List[Tuple[str, Tuple[str, int]]]:
        split = ((name, name.split(" ", 1)) for name in self.sessions)
        return [(name, (jid, int(device))) for name, (device, jid) in split]

    def _is_active(self, name: str) -> bool:
        return self.sessions[name][0] == "1"

    def _set_active(self, name: str, active: bool) -> None:
        self.sessions[name] = ("1" if active else "0") + self.sessions[name][1:]

    def contains_session(self, recipient_id: str, device_id: int) -> bool:
        return self._device(recipient_id, device_id) in self.sessions

    def load_session(self, recipient_id: str, device_id: int) -> SessionRecord:
        stored = self.sessions.get(self._device(recipient_id, device_id))
        return SessionRecord() if stored is None else SessionRecord(serialized=bytes.fromhex(stored[1:]))

    def store_session(self, recipient_id: str, device_id: int, session_record: SessionRecord) -> None:
        self.sessions[self._device(recipient_id, device_id)] = "1" + session_record.serialize().hex()

    def delete_session(self, recipient_id: str, device_id: int) -> None:
        self.sessions.pop(self._device(recipient_id, device_id), None)

    def delete_all_sessions(self, recipient_id: str) -> None:
        for name, (jid, _) in self._devices():
            if jid == recipient_id:
                del self.sessions[name]

    def identity_of(self, jid: str, device: int) -> Optional[IdentityKey]:
        """The key of the session with a device; none without a session."""
        if not self.contains_session(jid, device):
            return None
        return self.load_session(jid, device).get_session_state().get_remote_identity_key()

    def sending_chain(self, jid: str, device: int) -> int:
        """Length of the sending chain of the session with a device."""
        return self.load_session(jid, device).get_session_state().get_sender_chain_key().get_index()

    def get_inactive_sessions_keys(self, recipient_id: str) -> List[IdentityKey]:
        keys = [self.identity_of(jid, device) for name, (jid, device) in self._devices()
                if jid == recipient_id and not self._is_active(name)]
        return [key for key in keys if key is not None]

    def get_active_device_tuples(self) -> List[Tuple[str, int]]:
        return [device for name, device in self._devices() if self._is_active(name)]

    def get_unacknowledged_count(self, recipient_id: str, device_id: int) -> int:
        return self.sending_chain(recipient_id, device_id) if self.contains_session(recipient_id, device_id) else 0

    def set_active_state(self, address: str, devicelist: List[int]) -> None:
        for name, (jid, device) in self._devices():
            if jid == address:
                self._set_active(name, device in devicelist)

    def set_inactive(self, address: str, device_id: int) -> None:
        name = self._device(address, device_id)
        if name in self.sessions:
            self._set_active(name, False)
