"""python-omemo as the other side of a conversation, driven over standard input and output.

This process owns devices (one SessionManager each, with a store in memory, and Twomemo, Oldmemo or both as backends)
and nothing else: the PEP service, the clock and the wire belong to the parent. It is a client like any other: it
exchanges stanzas as strings of XML. What is in a message is its user's: an SCE envelope in omemo:2, the bare text in
the legacy namespace.

The records are those of peer_wire.py. Requests: see the methods of Peer whose names begin with "do_".
"""

import asyncio
import json
import logging
import os
import random
import secrets
import sys
import time
import xml.etree.ElementTree as ET
from typing import Any, Dict, List, Optional, Tuple

import oldmemo
import oldmemo.etree
import omemo
import twomemo
import twomemo.etree
from doubleratchet.recommended.diffie_hellman_ratchet_curve25519 import DiffieHellmanRatchet
from omemo.session_manager import SessionManager
from peer_wire import Record, Wire

TWO = twomemo.twomemo.NAMESPACE
OLD = oldmemo.oldmemo.NAMESPACE
ETREE: Dict[str, Any] = {TWO: twomemo.etree, OLD: oldmemo.etree}
BACKEND: Dict[str, Any] = {TWO: twomemo.Twomemo, OLD: oldmemo.Oldmemo}
SCE = "{urn:xmpp:sce:1}"
BODY = "{jabber:client}body"


# ---------------------------------------------------------------------------------------------- seeds


def seed_everything(seed: str) -> None:
    """Make every draw of the libraries below repeatable. Only for tests, as anybody will see."""
    source = random.Random(seed)
    secrets.token_bytes = lambda n=32: source.randbytes(n)  # type: ignore[assignment]
    secrets.randbelow = source.randrange  # type: ignore[assignment]
    secrets.choice = lambda sequence: sequence[source.randrange(len(sequence))]  # type: ignore[assignment]
    DiffieHellmanRatchet._generate_priv = staticmethod(lambda: source.randbytes(32))  # type: ignore[method-assign]


class Clock:
    """The wall clock of this process, which the parent can move forward: python-omemo reads the age of its keys there."""

    real = time.time
    ahead = 0

    @classmethod
    def set_ahead(cls, seconds: int) -> None:
        cls.ahead = seconds
        time.time = lambda: cls.real() + cls.ahead  # type: ignore[assignment]


# ---------------------------------------------------------------------------------------------- envelope


def wrap(text: str, jid: str) -> bytes:
    envelope = ET.Element(f"{SCE}envelope")
    content = ET.SubElement(envelope, f"{SCE}content")
    ET.SubElement(content, BODY).text = text
    ET.SubElement(envelope, f"{SCE}rpad").text = "x" * random.randrange(1, 200)
    ET.SubElement(envelope, f"{SCE}from").set("jid", jid)
    return ET.tostring(envelope, encoding="utf-8", xml_declaration=False)


def unwrap(plaintext: bytes, jid: str) -> str:
    envelope = ET.fromstring(plaintext)
    if envelope.tag != f"{SCE}envelope" or envelope.find(f"{SCE}rpad") is None:
        raise ValueError("not an SCE envelope of the OMEMO profile")
    sender = envelope.find(f"{SCE}from")
    if sender is None or sender.get("jid") != jid:
        raise ValueError("the envelope's from is not the sender")
    body = envelope.find(f"{SCE}content/{BODY}")
    if body is None:
        raise ValueError("no body in the envelope")
    return body.text or ""


# ---------------------------------------------------------------------------------------------- a device


class Memory(omemo.Storage):
    def __init__(self, data: Optional[Dict[str, Any]] = None) -> None:
        super().__init__()
        self.data: Dict[str, Any] = {} if data is None else data

    async def _load(self, key: str) -> omemo.Maybe[omemo.JSONType]:
        return omemo.Just(json.loads(self.data[key])) if key in self.data else omemo.Nothing()

    async def _store(self, key: str, value: omemo.JSONType) -> None:
        self.data[key] = json.dumps(value)

    async def _delete(self, key: str) -> None:
        self.data.pop(key, None)


class Device:
    """One client of an account: its store, its outbox and its SessionManager."""

    def __init__(self, wire: Wire, jid: str, namespaces: List[str], ask_trust: bool, label: Optional[str]) -> None:
        self.wire, self.jid, self.namespaces, self.ask_trust = wire, jid, namespaces, ask_trust
        self.initial_label = label
        self.data: Dict[str, Any] = {}
        self.saved: Dict[str, Any] = {}
        self.outbox: List[Tuple[str, str]] = []
        self.lose = 0
        self.manager: Optional[SessionManager] = None
        self.backends: Dict[str, Any] = {}

    async def open(self, history: bool) -> None:
        if self.manager is not None:
            await self.manager.shutdown()
        self.backends = {ns: BACKEND[ns](Memory(self.data)) for ns in self.namespaces}
        self.manager = await _manager_class(self).create(
            list(self.backends.values()), Memory(self.data), self.jid, self.initial_label, "undecided"
        )
        if not history:
            await self.manager.after_history_sync()

    async def parse(self, sender: str, xml: str) -> omemo.Message:
        element = ET.fromstring(xml)
        if element.tag == f"{{{OLD}}}encrypted":
            return await oldmemo.etree.parse_message(element, sender, self.jid, self.manager)
        return twomemo.etree.parse_message(element, sender)

    def post(self, jid: str, xml: str) -> None:
        """Hand a message to the wire, unless the parent wants it lost."""
        if self.lose > 0:
            self.lose -= 1
        else:
            self.outbox.append((jid, xml))


def _manager_class(device: Device) -> type:
    """python-omemo wants a subclass whose static methods know the account; so one is made for each device."""

    def xml_of(element: ET.Element) -> str:
        return ET.tostring(element, encoding="unicode")

    def failed(answer: Record, error: type) -> None:
        if "failed" in answer:
            raise error("the parent says so")

    class Manager(SessionManager):
        @staticmethod
        async def _upload_bundle(bundle: omemo.Bundle) -> None:
            xml = xml_of(ETREE[bundle.namespace].serialize_bundle(bundle))
            failed(device.wire.ask("publish_bundle", ns=bundle.namespace, jid=device.jid, device=bundle.device_id,
                                   xml=xml), omemo.BundleUploadFailed)

        @staticmethod
        async def _download_bundle(namespace: str, bare_jid: str, device_id: int) -> omemo.Bundle:
            answer = device.wire.ask("fetch_bundle", ns=namespace, jid=bare_jid, device=device_id)
            failed(answer, omemo.BundleDownloadFailed)
            if "xml" not in answer:
                raise omemo.BundleNotFound("no such item")
            return ETREE[namespace].parse_bundle(ET.fromstring(answer["xml"]), bare_jid, device_id)

        @staticmethod
        async def _delete_bundle(namespace: str, device_id: int) -> None:
            failed(device.wire.ask("delete_bundle", ns=namespace, jid=device.jid, device=device_id),
                   omemo.BundleDeletionFailed)

        @staticmethod
        async def _upload_device_list(namespace: str, device_list: omemo.DeviceList) -> None:
            xml = xml_of(ETREE[namespace].serialize_device_list(device_list))
            failed(device.wire.ask("publish_list", ns=namespace, jid=device.jid, xml=xml), omemo.DeviceListUploadFailed)

        @staticmethod
        async def _download_device_list(namespace: str, bare_jid: str) -> omemo.DeviceList:
            answer = device.wire.ask("fetch_list", ns=namespace, jid=bare_jid)
            failed(answer, omemo.DeviceListDownloadFailed)
            return ETREE[namespace].parse_device_list(ET.fromstring(answer["xml"])) if "xml" in answer else {}

        async def _evaluate_custom_trust_level(self, info: omemo.DeviceInformation) -> omemo.TrustLevel:
            try:
                return omemo.TrustLevel(info.trust_level_name.upper())
            except ValueError as error:
                raise omemo.UnknownTrustLevel(info.trust_level_name) from error

        async def _make_trust_decision(self, undecided: Any, identifier: Optional[str]) -> None:
            for info in sorted(undecided, key=lambda info: (info.bare_jid, info.device_id)):
                level = "trusted"
                if device.ask_trust:
                    level = device.wire.ask(
                        "decide", jid=info.bare_jid, device=info.device_id, identity=info.identity_key.hex()
                    )["level"]
                await self.set_trust(info.bare_jid, info.identity_key, level)

        @staticmethod
        async def _send_message(message: omemo.Message, bare_jid: str) -> None:
            device.post(bare_jid, xml_of(ETREE[message.namespace].serialize_message(message)))

    return Manager


# ---------------------------------------------------------------------------------------------- requests


class Peer:
    """The requests. Each returns the fields of its answer; "name" is the parent's name for a device."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.devices: Dict[str, Device] = {}

    def manager(self, name: str) -> SessionManager:
        manager = self.devices[name].manager
        if manager is None:
            raise RuntimeError("this device was never opened")
        return manager

    async def do_seed(self, seed: str) -> Record:
        """Draw everything from this seed from now on."""
        seed_everything(str(seed))
        random.seed(str(seed))
        return {}

    async def do_device(self, name: str, jid: str, ns: Tuple[str, ...] = (TWO, OLD), ask_trust: Any = 0,
                        history: Any = 0, label: Optional[str] = None) -> Record:
        """A new device. ns: the namespaces it speaks, most preferred first. ask_trust: trust is decided by the parent,
        else everybody is trusted. history: it stays in history synchronisation, as python-omemo starts, until
        "live". label: the label that it is created with."""
        device = self.devices[name] = Device(self.wire, jid, list(ns), bool(int(ask_trust)), label)
        await device.open(bool(int(history)))
        own, _ = await self.manager(name).get_own_device_information()
        return {"device": own.device_id, "identity": own.identity_key.hex()}

    async def do_restart(self, name: str, history: Any = 0) -> Record:
        """Close the device and open it again on what it had stored."""
        await self.devices[name].open(bool(int(history)))
        return {}

    async def do_start_later(self, name: str, seconds: Any) -> Record:
        """The clock goes on, the device is closed and opened again, and its background task does what is due."""
        Clock.set_ahead(Clock.ahead + int(seconds))
        await self.devices[name].open(False)
        await asyncio.sleep(0)
        return {}

    async def do_save(self, name: str) -> Record:
        """Keep a copy of what the device has stored."""
        self.devices[name].saved = dict(self.devices[name].data)
        return {}

    async def do_set_back(self, name: str) -> Record:
        """Close the device and open it again on the copy that was kept."""
        device = self.devices[name]
        device.data = dict(device.saved)
        await device.open(False)
        return {}

    async def do_label(self, name: str, label: Optional[str] = None) -> Record:
        """Set the label of the device, or take it away."""
        await self.manager(name).set_own_label(label)
        return {}

    async def do_labels(self, name: str, jid: str) -> Record:
        """The verified labels of a JID's devices: ids and labels, in two lists of equal length."""
        infos = await self.manager(name).get_device_information(jid)
        labelled = sorted((info.device_id, info.label) for info in infos if info.label is not None)
        return {"device": [device for device, _ in labelled], "label": [label for _, label in labelled]}

    async def do_forget(self) -> Record:
        """Close all devices: the next case begins."""
        for device in self.devices.values():
            if device.manager is not None:
                await device.manager.shutdown()
        self.devices.clear()
        Clock.set_ahead(0)
        return {}

    async def do_encrypt(self, name: str, to: List[str], text: str) -> Record:
        """Encrypt a text for JIDs; the answer has one stanza for each namespace that is needed (none if this device was
        told to lose it) and the devices that could not be served."""
        device = self.devices[name]
        plaintext = {ns: wrap(text, device.jid) if ns == TWO else text.encode() for ns in device.namespaces}
        messages, errors = await self.manager(name).encrypt(frozenset(to), plaintext, device.namespaces)
        keep = device.lose == 0
        device.lose = max(0, device.lose - 1)
        stanzas = [(m.namespace, ET.tostring(ETREE[m.namespace].serialize_message(m), encoding="unicode"))
                   for m in messages]
        stanzas.sort(key=lambda stanza: device.namespaces.index(stanza[0]))
        return {
            "xml": [xml for _, xml in stanzas] if keep else [],
            "error_devices": [f"{e.bare_jid} {e.device_id} {type(e.exception).__name__}" for e in errors],
        }

    async def do_decrypt(self, name: str, sender: str, xml: str) -> Record:
        """Decrypt a stanza. Fields of success: text unless it is an empty message, device, identity, level, and what
        the ratchet carried: key and, in the legacy namespace, tag."""
        device = self.devices[name]
        try:
            message = await device.parse(sender, xml)
            plaintext, info, material = await self.manager(name).decrypt(message)
            answer: Record = {"ok": 1, "device": info.device_id, "identity": info.identity_key.hex(),
                              "level": info.trust_level_name, "key": material.key.hex(),
                              "tag": material.auth_tag.hex()}
            if plaintext is not None:
                answer["text"] = unwrap(plaintext, sender) if message.namespace == TWO else plaintext.decode()
            return answer
        except Exception as error:  # the classes are what the parent wants to know
            answer = {"ok": 0, "class": type(error).__name__, "why": str(error)[:200]}
            if error.__cause__ is not None:
                answer["cause"] = type(error.__cause__).__name__
            return answer

    async def do_outbox(self, name: str) -> Record:
        """Empty messages this device wants sent: pairs of JID and stanza, in two lists of equal length."""
        box, self.devices[name].outbox = self.devices[name].outbox, []
        return {"jid": [jid for jid, _ in box], "xml": [xml for _, xml in box]}

    async def do_lose(self, name: str, count: Any = 1) -> Record:
        """The next messages of this device never reach the wire."""
        self.devices[name].lose += int(count)
        return {}

    async def do_push(self, name: str, ns: List[str], jid: str, xml: str) -> Record:
        """A device list came by PEP; a namespace that this device does not speak is none of its business."""
        if ns[0] in self.devices[name].namespaces:
            devices = ETREE[ns[0]].parse_device_list(ET.fromstring(xml))
            await self.manager(name).update_device_list(ns[0], jid, devices)
        return {}

    async def do_trust(self, name: str, jid: str, identity: str, level: str) -> Record:
        """Judge a key: trusted, distrusted or undecided."""
        await self.manager(name).set_trust(jid, bytes.fromhex(identity), level)
        return {}

    async def do_devices(self, name: str, jid: str) -> Record:
        """What the device knows of a JID's devices: "id identity level active" of each, where active is 1 if it is on
        a list of any namespace."""
        infos = sorted(await self.manager(name).get_device_information(jid), key=lambda info: info.device_id)
        return {"device": [f"{i.device_id} {i.identity_key.hex()} {i.trust_level_name} "
                           f"{int(any(dict(i.active).values()))}" for i in infos]}

    async def do_fingerprint(self, name: str) -> Record:
        """The own identity key as python-omemo shows it to people."""
        own, _ = await self.manager(name).get_own_device_information()
        return {"fingerprint": " ".join(SessionManager.format_identity_key(own.identity_key))}

    async def do_replace(self, name: str, jid: str, device: Any) -> Record:
        """Replace the session with a device: an empty message with a key exchange goes to the outbox."""
        infos = await self.manager(name).get_device_information(jid)
        info = next(info for info in infos if info.device_id == int(device))
        errors = await self.manager(name).replace_sessions(info)
        return {"error": [type(error).__name__ for error in errors.values()]}

    async def do_chain(self, name: str, jid: str, device: Any, ns: List[str]) -> Record:
        """Length of the sending chain with a device; none without a session."""
        infos = await self.manager(name).get_device_information(jid)
        info = next(info for info in infos if info.device_id == int(device))
        return {"length": (await self.manager(name).get_sending_chain_length(info)).get(ns[0])}

    async def do_number(self, name: str, ns: List[str], id: Any) -> Record:
        """One pre key gets this id, and the bundle is published with that pre key alone. It is done in the store,
        since python-omemo only ever counts up from 1."""
        device = self.devices[name]
        stored = f"/{ns[0]}/pre_key_ids"
        ids = json.loads(device.data[stored])
        ids[next(iter(ids))] = int(id)
        device.data[stored] = json.dumps(ids)
        await device.open(False)
        own, _ = await self.manager(name).get_own_device_information()
        bundle = await device.backends[ns[0]].get_bundle(device.jid, own.device_id)
        root = ETREE[ns[0]].serialize_bundle(bundle)
        keys = root.find("{*}prekeys")
        for key in list(keys):
            if id not in (key.get("id"), key.get("preKeyId")):
                keys.remove(key)
        if len(keys) != 1:
            raise RuntimeError("no such pre key")
        xml = ET.tostring(root, encoding="unicode")
        self.wire.ask("publish_bundle", ns=ns[0], jid=device.jid, device=own.device_id, xml=xml)
        return {}

    async def do_history(self, name: str) -> Record:
        """The archive is about to be read: answers wait, used pre keys are kept."""
        self.manager(name).before_history_sync()
        return {}

    async def do_live(self, name: str) -> Record:
        """The archive is read."""
        await self.manager(name).after_history_sync()
        return {}

    async def serve(self) -> None:
        while True:
            request = self.wire.read()
            if request is None:
                return
            command = request.pop("do", "")
            method = getattr(self, f"do_{command}", None)
            if command == "quit":
                self.wire.write({"done": 1})
                return
            try:
                if method is None:
                    raise RuntimeError(f"unknown request {command!r}")
                answer = await method(**request)
            except SystemExit:
                raise
            except Exception as error:
                logging.getLogger(__name__).debug("request %s failed", command, exc_info=True)
                answer = {"failed": type(error).__name__, "why": str(error)[:500]}
            self.wire.write({"done": 1, **answer})


def main() -> None:
    logging.basicConfig(stream=sys.stderr, level=os.environ.get("OMEMO_PEER_LOG", "CRITICAL"))
    asyncio.run(Peer(Wire()).serve())


if __name__ == "__main__":
    main()
