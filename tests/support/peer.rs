//! python-omemo in a process of its own, its devices being endpoints of a `World` like any client.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::NS_2;
use super::world::{Mail, World};

/// What python made of a stanza.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A text, and the level name of its sender.
    Text { text: String, level: String, identity: String },
    /// A message without content.
    Empty,
    /// The class of the exception, and of its cause.
    Failed { class: String, cause: String, why: String },
}

/// The process. One may serve many cases; `begin` forgets the devices of the last.
pub struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    world: World,
    endpoints: BTreeMap<String, (usize, String)>,
    /// Levels for `decide`, for devices that ask; "trusted" where nothing stands.
    pub levels: BTreeMap<u32, String>,
    /// Trust questions so far: who asked is not told.
    pub decided: u64,
}

/// The interpreter of the virtual environment: `OMEMO_PYTHON`, else the one below `target/venv`.
pub fn python() -> PathBuf {
    std::env::var_os("OMEMO_PYTHON")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python"))
}

impl Peer {
    pub fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/peer_twomemo.py");
        let mut child = Command::new(python())
            .arg(script)
            .arg("--json")
            .env("PYTHONHASHSEED", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{}: {error}; scripts/test interop makes it, or set OMEMO_PYTHON", python().display())
            });
        let input = child.stdin.take().expect("its standard input");
        let output = BufReader::new(child.stdout.take().expect("its standard output"));
        Self {
            child,
            input,
            output,
            world: World::new(0),
            endpoints: BTreeMap::new(),
            levels: BTreeMap::new(),
            decided: 0,
        }
    }

    /// A new case: a new world, no devices, all draws from this seed.
    pub fn begin(&mut self, world: &World, seed: u64) {
        self.world = world.clone();
        self.endpoints.clear();
        self.levels.clear();
        self.decided = 0;
        self.request(json!({"do": "forget"}));
        self.request(json!({"do": "seed", "seed": seed.to_string()}));
    }

    // -- the wire to the process

    /// A request, its questions about PEP answered from the world.
    #[track_caller]
    pub fn request(&mut self, request: Value) -> Value {
        self.send(&request);
        loop {
            let mut line = String::new();
            self.output.read_line(&mut line).expect("a record of the peer");
            let record: Value = serde_json::from_str(&line)
                .unwrap_or_else(|error| panic!("the peer died or said {line:?}: {error} after {request}"));
            if record.get("done").is_some() {
                return record;
            }
            let answer = self.answer(&record);
            self.send(&answer);
        }
    }

    fn send(&mut self, record: &Value) {
        let mut line = record.to_string();
        line.push('\n');
        self.input.write_all(line.as_bytes()).and_then(|()| self.input.flush()).expect("the peer reads");
    }

    fn answer(&mut self, question: &Value) -> Value {
        let text = |name: &str| question[name].as_str().unwrap_or_default();
        let device = question["device"].as_u64().and_then(|id| u32::try_from(id).ok()).unwrap_or_default();
        let found = |xml: Option<String>| xml.map_or(json!({"missing": 1}), |xml| json!({"xml": xml}));
        match text("ask") {
            "fetch_list" => found(self.world.list(NS_2, text("jid"))),
            "fetch_bundle" => found(self.world.bundle(NS_2, text("jid"), device)),
            "publish_list" => {
                self.world.publish_list(NS_2, text("jid"), text("xml"));
                json!({"ok": 1})
            }
            "publish_bundle" => {
                self.world.publish_bundle(NS_2, text("jid"), device, text("xml"));
                json!({"ok": 1})
            }
            "delete_bundle" => {
                self.world.delete_bundle(NS_2, text("jid"), device);
                json!({"ok": 1})
            }
            "decide" => {
                self.decided += 1;
                json!({"level": self.levels.get(&device).map_or("trusted", String::as_str)})
            }
            other => panic!("the peer asks {other:?}"),
        }
    }

    #[track_caller]
    fn must(&mut self, request: Value) -> Value {
        let answer = self.request(request.clone());
        assert!(answer.get("failed").is_none(), "{request}: {answer}");
        answer
    }

    // -- devices

    /// A new device, online, with an inbox in the world. Its device id.
    #[track_caller]
    pub fn device(&mut self, name: &str, jid: &str) -> u32 {
        self.join(name, jid, json!({"do": "device", "name": name, "jid": jid}))
    }

    /// The same, but trust is decided by `levels`.
    #[track_caller]
    pub fn careful_device(&mut self, name: &str, jid: &str) -> u32 {
        self.join(name, jid, json!({"do": "device", "name": name, "jid": jid, "ask_trust": 1}))
    }

    /// The same as `device`, but it stays in history synchronisation.
    #[track_caller]
    pub fn device_in_history(&mut self, name: &str, jid: &str) -> u32 {
        self.join(name, jid, json!({"do": "device", "name": name, "jid": jid, "history": 1}))
    }

    #[track_caller]
    fn join(&mut self, name: &str, jid: &str, request: Value) -> u32 {
        let endpoint = self.world.join(jid);
        self.endpoints.insert(name.to_owned(), (endpoint, jid.to_owned()));
        let answer = self.must(request);
        u32::try_from(answer["device"].as_u64().expect("a device id")).expect("of 31 bits")
    }

    /// All lists of the world as if pushed to this device (a device that joins late has missed some).
    #[track_caller]
    pub fn learn(&mut self, name: &str, jid: &str) {
        if let Some(xml) = self.world.list(NS_2, jid) {
            self.must(json!({"do": "push", "name": name, "jid": jid, "xml": xml}));
        }
    }

    /// Close and open on the same store.
    #[track_caller]
    pub fn restart(&mut self, name: &str) {
        self.must(json!({"do": "restart", "name": name}));
    }

    /// The archive is read: queued answers go out.
    #[track_caller]
    pub fn live(&mut self, name: &str) {
        self.must(json!({"do": "live", "name": name}));
        self.flush(name);
    }

    #[track_caller]
    pub fn set_trust(&mut self, name: &str, jid: &str, identity: &[u8], level: &str) {
        self.must(
            json!({"do": "trust", "name": name, "jid": jid, "identity": hex(identity), "level": level}),
        );
    }

    /// A new session with a device; the key exchange goes out as an empty message.
    #[track_caller]
    pub fn replace(&mut self, name: &str, jid: &str, device: u32) {
        let answer = self.must(json!({"do": "replace", "name": name, "jid": jid, "device": device}));
        assert_eq!(answer["errors"], json!([]), "python replaces the session");
        self.flush(name);
    }

    /// The next messages of this device, empty ones too, are lost.
    pub fn lose(&mut self, name: &str, count: u64) {
        self.must(json!({"do": "lose", "name": name, "count": count}));
    }

    /// Length of the sending chain with a device; none without a session.
    pub fn sending_chain(&mut self, name: &str, jid: &str, device: u32) -> Option<u64> {
        self.must(json!({"do": "chain", "name": name, "jid": jid, "device": device}))["length"].as_u64()
    }

    // -- messages

    /// Encrypt; `Err` is the class of the exception.
    pub fn encrypt(&mut self, name: &str, to: &[&str], text: &str) -> Result<Vec<String>, String> {
        self.read_lists(name);
        let answer = self.request(json!({"do": "encrypt", "name": name, "to": to, "text": text}));
        match answer["failed"].as_str() {
            Some(class) => Err(class.to_owned()),
            None => {
                let xml = answer["xml"].as_array().expect("stanzas");
                Ok(xml.iter().filter_map(|xml| xml.as_str().map(str::to_owned)).collect())
            }
        }
    }

    /// Encrypt what must succeed, as one stanza, and do not send it.
    #[track_caller]
    pub fn seal(&mut self, name: &str, to: &[&str], text: &str) -> String {
        let mut stanzas =
            self.encrypt(name, to, text).unwrap_or_else(|class| panic!("python encrypts: {class}"));
        assert_eq!(stanzas.len(), 1, "one namespace, one stanza");
        stanzas.remove(0)
    }

    /// Encrypt and send.
    #[track_caller]
    pub fn say(&mut self, name: &str, to: &[&str], text: &str) {
        let xml = self.seal(name, to, text);
        self.world.post(self.endpoints[name].0, to, &xml);
    }

    /// Decrypt; empty messages that python wants sent are posted.
    pub fn decrypt(&mut self, name: &str, from: &str, xml: &str) -> Heard {
        let answer = self.request(json!({"do": "decrypt", "name": name, "sender": from, "xml": xml}));
        self.flush(name);
        let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
        match (answer["ok"].as_u64(), answer["text"].as_str()) {
            (Some(1), Some(body)) => {
                Heard::Text { text: body.to_owned(), level: text("level"), identity: text("identity") }
            }
            (Some(1), None) => Heard::Empty,
            _ => Heard::Failed { class: text("class"), cause: text("cause"), why: text("why") },
        }
    }

    /// Take everything from the inbox: lists are pushed, stanzas decrypted.
    pub fn receive(&mut self, name: &str) -> Vec<Heard> {
        let mut all = Vec::new();
        while let Some(mail) = self.world.take(self.endpoints[name].0) {
            match mail {
                Mail::DeviceList { jid, xml } => {
                    self.must(json!({"do": "push", "name": name, "jid": jid, "xml": xml}));
                    self.flush(name);
                }
                Mail::Stanza { from, xml } => all.push(self.decrypt(name, &from, &xml)),
            }
        }
        all
    }

    /// Take everything and return the texts. Answers to another device of the account come here as well, and are
    /// passed over.
    #[track_caller]
    pub fn read(&mut self, name: &str) -> Vec<String> {
        self.receive(name)
            .into_iter()
            .filter_map(|heard| match heard {
                Heard::Text { text, .. } => Some(text),
                Heard::Empty => None,
                Heard::Failed { class, .. } if class == "MessageNotForUs" => None,
                Heard::Failed { class, cause, why } => panic!("{name}: {class} ({cause}): {why}"),
            })
            .collect()
    }

    /// Only the pushed lists: they come by another way than stanzas and overtake them.
    fn read_lists(&mut self, name: &str) {
        let endpoint = self.endpoints[name].0;
        let mut stanzas = Vec::new();
        while let Some(mail) = self.world.take(endpoint) {
            match mail {
                Mail::DeviceList { jid, xml } => {
                    self.must(json!({"do": "push", "name": name, "jid": jid, "xml": xml}));
                }
                stanza => stanzas.push(stanza),
            }
        }
        self.world.put_back(endpoint, stanzas);
        self.flush(name);
    }

    /// The address of a device in the world.
    pub fn endpoint(&self, name: &str) -> usize {
        self.endpoints[name].0
    }

    /// Post the empty messages that python wants sent.
    fn flush(&mut self, name: &str) {
        let answer = self.must(json!({"do": "outbox", "name": name}));
        let (jids, stanzas) = (answer["jid"].as_array().cloned(), answer["xml"].as_array().cloned());
        for (jid, xml) in jids.unwrap_or_default().iter().zip(stanzas.unwrap_or_default()) {
            let endpoint = self.endpoints[name].0;
            self.world.post_only(
                endpoint,
                jid.as_str().unwrap_or_default(),
                xml.as_str().unwrap_or_default(),
            );
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
