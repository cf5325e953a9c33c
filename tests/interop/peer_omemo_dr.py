"""omemo-dr, the library of Gajim, as the other side of a conversation, driven over standard input and output.

This process owns devices (an OMEMOSessionManager each, with a store in memory) and nothing else: the PEP service, the
clock and the wire belong to the parent. The library knows no XML and asks for no bundle; what a client does around it
is here, by its public interface alone. It speaks the legacy namespace.

What it does in its own way, as seen from outside: it takes the pre key id 0 for no pre key, in bundles and in key
exchanges; it tells the length of the chain before as one too small; it keeps old sessions; it gives out no key of a
message without payload, neither of those that it sends nor of those that it reads; it sends no heartbeats.

The records are those of peer_wire.py. Requests: see the methods of Peer whose names begin with "do_".
"""

import logging
import os
import random
import secrets
import sys
import xml.etree.ElementTree as ET
from base64 import b64decode, b64encode
from typing import Any, Dict, Iterable, List, Optional, Tuple

# Before the library is loaded, so that it finds nothing else: every draw is the seed's. Only for tests, as anybody sees.
SOURCE = random.Random()
os.urandom = lambda size: SOURCE.randbytes(size)  # type: ignore[assignment]
secrets.token_bytes = lambda nbytes=32: SOURCE.randbytes(nbytes)  # type: ignore[assignment]
secrets.randbelow = SOURCE.randrange  # type: ignore[assignment]
secrets.choice = lambda sequence: sequence[SOURCE.randrange(len(sequence))]  # type: ignore[assignment]

from omemo_dr import exceptions as errors  # noqa: E402
from omemo_dr.const import OMEMOTrust  # noqa: E402
from omemo_dr.identitykey import IdentityKey  # noqa: E402
from omemo_dr.protocol.prekeywhispermessage import PreKeyWhisperMessage  # noqa: E402
from omemo_dr.protocol.whispermessage import WhisperMessage  # noqa: E402
from omemo_dr.session_manager import OMEMOSessionManager  # noqa: E402
from omemo_dr.sessioncipher import SessionCipher  # noqa: E402
from omemo_dr.state.prekeyrecord import PreKeyRecord  # noqa: E402
from omemo_dr.structs import OMEMOBundle, OMEMOConfig, OMEMOMessage, PreKey  # noqa: E402
from peer_omemo_dr_store import Memory  # noqa: E402
from peer_wire import Record, Wire  # noqa: E402

NS = "eu.siacs.conversations.axolotl"
TAG = f"{{{NS}}}"
DAY = 86_400
CONFIG = OMEMOConfig(default_prekey_amount=100, min_prekey_amount=80, spk_archive_seconds=15 * DAY,
                     spk_cycle_seconds=DAY, unacknowledged_count=2000)
LEVELS = {OMEMOTrust.VERIFIED: "trusted", OMEMOTrust.BLIND: "trusted", OMEMOTrust.UNTRUSTED: "distrusted",
          OMEMOTrust.UNDECIDED: "undecided"}


class Failure(Exception):
    """A failure by the name that the parent knows it by, which is python-omemo's."""

    def __init__(self, name: str, cause: Optional[str], why: str) -> None:
        super().__init__(why)
        self.name, self.cause = name, cause


# ---------------------------------------------------------------------------------------------- XML


def xml_of(element: ET.Element) -> str:
    return ET.tostring(element, encoding="unicode")


def add(parent: ET.Element, name: str, data: bytes, **attributes: Any) -> None:
    child = ET.SubElement(parent, TAG + name, {key: str(value) for key, value in attributes.items()})
    child.text = b64encode(data).decode()


def data_of(element: Optional[ET.Element]) -> bytes:
    if element is None or element.text is None:
        raise ValueError("an element without data")
    return b64decode("".join(element.text.split()), validate=True)


def write_list(devices: Iterable[int]) -> str:
    root = ET.Element(TAG + "list")
    for device in sorted(devices):
        ET.SubElement(root, TAG + "device", id=str(device))
    return xml_of(root)


def read_list(xml: str) -> List[int]:
    root = ET.fromstring(xml)
    if root.tag != TAG + "list":
        raise ValueError("not a device list")
    return [int(device.get("id", "")) for device in root.iterfind(TAG + "device")]


def write_bundle(bundle: OMEMOBundle) -> str:
    root = ET.Element(TAG + "bundle")
    add(root, "signedPreKeyPublic", bundle.spk["key"], signedPreKeyId=bundle.spk["id"])
    add(root, "signedPreKeySignature", bundle.spk_signature)
    add(root, "identityKey", bundle.ik)
    keys = ET.SubElement(root, TAG + "prekeys")
    for key in bundle.otpks:
        add(keys, "preKeyPublic", key["key"], preKeyId=key["id"])
    return xml_of(root)


class SeededBundle(OMEMOBundle):
    """One pre key of a bundle is the seed's, too."""

    def pick_prekey(self) -> PreKey:
        return self.otpks[SOURCE.randrange(len(self.otpks))]


def read_bundle(xml: str, device: int) -> OMEMOBundle:
    root = ET.fromstring(xml)
    signed = root.find(TAG + "signedPreKeyPublic")
    if root.tag != TAG + "bundle" or signed is None:
        raise ValueError("not a bundle")
    keys = [PreKey(key=data_of(key), id=int(key.get("preKeyId", "")))
            for key in root.iterfind(f"{TAG}prekeys/{TAG}preKeyPublic")]
    return SeededBundle(device_id=device, ik=data_of(root.find(TAG + "identityKey")), namespace=NS, otpks=keys,
                        spk=PreKey(key=data_of(signed), id=int(signed.get("signedPreKeyId", ""))),
                        spk_signature=data_of(root.find(TAG + "signedPreKeySignature")))


def write_message(message: OMEMOMessage) -> str:
    root = ET.Element(TAG + "encrypted")
    header = ET.SubElement(root, TAG + "header", sid=str(message.sid))
    for device, (data, is_key_exchange) in message.keys.items():
        add(header, "key", data, rid=device, **({"prekey": "true"} if is_key_exchange else {}))
    add(header, "iv", message.iv)
    if message.payload is not None:
        add(root, "payload", message.payload)
    return xml_of(root)


def read_message(xml: str) -> OMEMOMessage:
    root = ET.fromstring(xml)
    header = root.find(TAG + "header")
    if root.tag != TAG + "encrypted" or header is None:
        raise ValueError("not an <encrypted/> of OMEMO")
    keys = {int(key.get("rid", "")): (data_of(key), key.get("prekey") in ("true", "1"))
            for key in header.iterfind(TAG + "key")}
    payload = root.find(TAG + "payload")
    return OMEMOMessage(sid=int(header.get("sid", "")), iv=data_of(header.find(TAG + "iv")), keys=keys,
                        payload=None if payload is None else data_of(payload))


# ---------------------------------------------------------------------------------------------- a device


class Device:
    """One client of an account: its store, its outbox and its session manager."""

    def __init__(self, wire: Wire, jid: str) -> None:
        self.wire, self.jid = wire, jid
        self.outbox: List[Tuple[str, str]] = []
        self.lose = 0
        self.lists: Dict[str, List[int]] = {}
        self.store = Memory()
        self.manager = OMEMOSessionManager(jid, self.store, CONFIG)

    def restart(self) -> None:
        self.manager.destroy()
        self.store = Memory(self.store.save())
        self.manager = OMEMOSessionManager(self.jid, self.store, CONFIG)
        for jid, devices in self.lists.items():
            self.manager.update_devicelist(jid, devices)

    # -- PEP

    def ask(self, question: str, error: str, **fields: Any) -> Record:
        answer = self.wire.ask(question, ns=NS, **fields)
        if "failed" in answer:
            raise Failure(error, None, "the parent says so")
        return answer

    def publish_bundle(self, bundle: OMEMOBundle) -> None:
        self.ask("publish_bundle", "BundleUploadFailed", jid=self.jid, device=bundle.device_id,
                 xml=write_bundle(bundle))

    def join(self) -> None:
        self.publish_bundle(self.manager.get_bundle(NS))
        self.learn(self.jid)

    def learn(self, jid: str) -> None:
        """Ask for a device list that is not known yet."""
        if jid not in self.lists:
            answer = self.ask("fetch_list", "DeviceListDownloadFailed", jid=jid)
            self.update(jid, read_list(answer["xml"]) if "xml" in answer else [])

    def update(self, jid: str, devices: List[int]) -> None:
        """Take a device list; on the own one this device must stand."""
        own = self.manager.get_our_device()
        publish = jid == self.jid and own not in devices
        self.lists[jid] = devices + [own] if publish else devices
        self.manager.update_devicelist(jid, self.lists[jid])
        if publish:
            self.ask("publish_list", "DeviceListUploadFailed", jid=jid, xml=write_list(self.lists[jid]))

    def build(self, jid: str, device: int) -> None:
        """Begin a session by the bundle of a device; one that is there is kept for what is late."""
        answer = self.ask("fetch_bundle", "BundleDownloadFailed", jid=jid, device=device)
        if "xml" not in answer:
            raise Failure("BundleNotFound", None, "no such item")
        self.manager.build_session(jid, read_bundle(answer["xml"], device))

    def build_missing(self, jids: List[str]) -> List[str]:
        """Begin all sessions that are missing for these JIDs and the own one: the devices that cannot be served."""
        lost = []
        for jid in [*jids, self.jid]:
            self.learn(jid)
            for device in sorted(self.manager.get_devices_without_sessions(jid)):
                if (jid, device) != (self.jid, self.manager.get_our_device()):
                    try:
                        self.build(jid, device)
                    except (Failure, ValueError, errors.BundleValidationError) as error:
                        lost.append(f"{jid} {device} {getattr(error, 'name', type(error).__name__)}")
        return lost

    # -- messages

    def encrypt(self, to: List[str], text: str) -> str:
        """One JID is written to as a contact, several as the members of a room."""
        if len(to) == 1:
            message = self.manager.encrypt(to[0], text, groupchat=False)
        else:
            self.manager.set_group_members("room", set(to))
            message = self.manager.encrypt("room", text, groupchat=True)
        if message is None:
            raise Failure("NoEligibleDevices", None, "no device can be served")
        return write_message(message)

    def post_empty(self, jid: str, device: int) -> None:
        message = self.manager.encrypt_key_transport(jid, [device])
        if message is None:
            raise Failure("EncryptionFailed", None, "the library sends no key")
        if self.lose > 0:
            self.lose -= 1
        else:
            self.outbox.append((jid, write_message(message)))

    def transported(self, message: OMEMOMessage, sender: str, before: str) -> bytes:
        """The key in a message without payload, which the manager does not give out: read by the cipher below it, from
        the store as it was before."""
        data, is_key_exchange = message.keys[self.manager.get_our_device()]
        cipher = SessionCipher(Memory(before), sender, message.sid)
        if is_key_exchange:
            return cipher.decrypt_pkmsg(PreKeyWhisperMessage.from_bytes(data))
        return cipher.decrypt_msg(WhisperMessage.from_bytes(data))

    def decrypt(self, sender: str, message: OMEMOMessage) -> Record:
        self.store.used_pre_key = self.store.unknown_pre_key = False
        answer: Record = {"ok": 1, "device": message.sid, "level": "trusted"}
        before = self.store.save() if message.payload is None else ""
        try:
            answer["text"], fingerprint, trust = self.manager.decrypt_message(message, sender)
            answer.update(identity=fingerprint, level=LEVELS[trust])
        except errors.KeyExchangeMessage:
            key = self.transported(message, sender, before)
            answer.update(key=key[:16].hex(), iv=message.iv.hex(), tag=key[16:].hex() or None)
        except errors.MessageNotForDevice as error:
            raise Failure("MessageNotForUs", None, "no key for this device") from error
        except errors.DuplicateMessage as error:
            raise Failure("DecryptionFailed", "DuplicateMessageException", "the library has read it") from error
        except Exception as error:
            name = "KeyExchangeFailed" if self.store.unknown_pre_key else type(error).__name__
            cause = error.__cause__ or error.__context__
            raise Failure(name, cause and type(cause).__name__, f"{error!r} {cause!r}"[:300]) from error
        if self.store.used_pre_key:
            # Somebody began a session: a bundle without the used pre key, and an answer.
            self.publish_bundle(self.manager.get_bundle(NS))
            self.post_empty(sender, message.sid)
        return answer


# ---------------------------------------------------------------------------------------------- requests


class Peer:
    """The requests. Each returns the fields of its answer; "name" is the parent's name for a device."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.devices: Dict[str, Device] = {}

    def do_seed(self, seed: str) -> Record:
        """Draw everything from this seed from now on."""
        SOURCE.seed(seed)
        random.seed(seed)
        return {}

    def do_device(self, name: str, jid: str, ns: List[str]) -> Record:
        """A new device; everybody is trusted until told otherwise."""
        if ns != [NS]:
            raise ValueError("a namespace that omemo-dr does not speak here")
        device = self.devices[name] = Device(self.wire, jid)
        device.join()
        own, identity = device.manager.get_our_identity()
        return {"device": own, "identity": identity.get_fingerprint()}

    def do_restart(self, name: str) -> Record:
        """Close the device and open it again on what it had stored."""
        self.devices[name].restart()
        return {}

    def do_forget(self) -> Record:
        """Close all devices: the next case begins."""
        for device in self.devices.values():
            device.manager.destroy()
        self.devices.clear()
        return {}

    def do_encrypt(self, name: str, to: List[str], text: str) -> Record:
        """Encrypt a text for JIDs; the answer has one stanza (none if this device was told to lose it) and the devices
        that could not be served."""
        device = self.devices[name]
        lost = device.build_missing(to)
        stanza = device.encrypt(to, text)
        keep = device.lose == 0
        device.lose = max(0, device.lose - 1)
        return {"xml": [stanza] if keep else [], "error_devices": lost}

    def do_transport(self, name: str, to: List[str]) -> Record:
        """Encrypt a key of 16 bytes without content. The library draws such a key and tells it to nobody, so this one
        goes through the cipher below."""
        device = self.devices[name]
        device.build_missing(to)
        key, iv = secrets.token_bytes(16), secrets.token_bytes(12)
        message = OMEMOMessage(sid=device.manager.get_our_device(), iv=iv, keys={}, payload=None)
        for jid in to:
            for number in sorted(device.manager.get_devices(jid, without_self=True)):
                sealed = SessionCipher(device.store, jid, number).encrypt(key)
                message.keys[number] = (sealed.serialize(), isinstance(sealed, PreKeyWhisperMessage))
        return {"xml": write_message(message), "key": key.hex(), "iv": iv.hex()}

    def do_decrypt(self, name: str, sender: str, xml: str) -> Record:
        """Decrypt a stanza. Fields of success: text, or key and iv if it is without content; device, level, and the
        identity of who sent content."""
        try:
            return self.devices[name].decrypt(sender, read_message(xml))
        except Failure as failure:
            return {"ok": 0, "class": failure.name, "cause": failure.cause, "why": str(failure)}

    def do_outbox(self, name: str) -> Record:
        """Empty messages this device wants sent: pairs of JID and stanza, in two lists of equal length."""
        box, self.devices[name].outbox = self.devices[name].outbox, []
        return {"jid": [jid for jid, _ in box], "xml": [xml for _, xml in box]}

    def do_lose(self, name: str, count: Any = 1) -> Record:
        """The next messages of this device never reach the wire."""
        self.devices[name].lose += int(count)
        return {}

    def do_push(self, name: str, ns: List[str], jid: str, xml: str) -> Record:
        """A device list came by PEP."""
        self.devices[name].update(jid, read_list(xml))
        return {}

    def do_trust(self, name: str, jid: str, identity: str, level: str) -> Record:
        """Judge a key, given in its Curve25519 form: trusted, distrusted or undecided."""
        trust = next(trust for trust, known in LEVELS.items() if known == level)
        self.devices[name].manager.set_trust(jid, IdentityKey(b"\x05" + bytes.fromhex(identity)), trust)
        return {}

    def do_devices(self, name: str, jid: str) -> Record:
        """What the device knows of a JID's devices: "id identity level active" of each with a session. Identity keys are
        in their Curve25519 form."""
        infos = sorted(self.devices[name].manager.get_identity_infos(jid), key=lambda info: info.device_id)
        return {"device": [f"{info.device_id} {info.public_key.get_fingerprint()} {LEVELS[info.trust]} "
                           f"{int(info.active)}" for info in infos]}

    def do_fingerprint(self, name: str) -> Record:
        """The own identity key as omemo-dr shows it to people, on one line and in small letters."""
        shown = self.devices[name].manager.get_our_fingerprint(formatted=True)
        return {"fingerprint": " ".join(shown.split()).lower()}

    def do_replace(self, name: str, jid: str, device: Any) -> Record:
        """Begin a new session with a device: an empty message with a key exchange goes to the outbox."""
        self.devices[name].build(jid, int(device))
        self.devices[name].post_empty(jid, int(device))
        return {}

    def do_chain(self, name: str, jid: str, device: Any, ns: List[str]) -> Record:
        """Length of the sending chain with a device; none without a session."""
        store = self.devices[name].store
        return {"length": store.sending_chain(jid, int(device)) if store.contains_session(jid, int(device)) else None}

    def do_number(self, name: str, ns: List[str], id: Any) -> Record:
        """One pre key gets this id, and the bundle is published with that pre key alone. It is done in the store,
        since omemo-dr only ever counts up from 1."""
        device = self.devices[name]
        number = next(iter(device.store.pre_keys))
        record = PreKeyRecord.new(int(id), device.store.load_pre_key(int(number)).get_key_pair())
        del device.store.pre_keys[number]
        device.store.store_pre_key(int(id), record)
        bundle = device.manager.get_bundle(NS)
        bundle.otpks = [key for key in bundle.otpks if key["id"] == int(id)]
        if len(bundle.otpks) != 1:
            raise RuntimeError("no such pre key")
        device.publish_bundle(bundle)
        return {}

    def serve(self) -> None:
        while True:
            request = self.wire.read()
            if request is None:
                return
            command = request.pop("do", "")
            if command == "quit":
                self.wire.write({"done": 1})
                return
            method = getattr(self, f"do_{command}", None)
            try:
                if method is None:
                    raise RuntimeError(f"unknown request {command!r}")
                answer = method(**request)
            except Failure as failure:
                answer = {"failed": failure.name, "why": str(failure)}
            except Exception as error:
                logging.getLogger(__name__).debug("request %s failed", command, exc_info=True)
                answer = {"failed": type(error).__name__, "why": str(error)[:500]}
            self.wire.write({"done": 1, **answer})


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=os.environ.get("OMEMO_PEER_LOG", "CRITICAL"))
    Peer(Wire()).serve()
